"""Follows a game until the PC is off: ``purple-sector collect acc`` and ``ac``. A driver types the
command once.
"""

import gc
import json
import os
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click
import structlog

from ingest.collectors.control.command_handler import CommandHandler
from ingest.collectors.delivery.backlog import Backlog
from ingest.collectors.delivery.sender import Sender
from ingest.collectors.delivery.statistics import Statistics
from ingest.collectors.follower import Follower, follow, in_background
from ingest.collectors.games.interface import Game
from ingest.collectors.replay_loop import STEP_S, stop_on_signals
from ingest.collectors.spool.atomic_files import lock
from ingest.collectors.spool.folder import SpoolFolder
from ingest.collectors.spool.memory import MemorySpool
from ingest.errors import PurpleSectorError, SpoolUnavailable
from ingest.kafka.topics import telemetry_topic
from ingest.logging_setup import start_logging
from ingest.settings import AccSettings, AcSettings, CollectorSettings, KafkaSettings, LogSettings
from ingest.telemetry_pb2 import Session

log = structlog.get_logger()

_user = click.option("--user", help="Who drives; USER_ID by default.")
_log_file = click.option(
    "--log-file",
    type=click.Path(dir_okay=False),
    help="A file for the log, which is rotated; LOG_FILE by default.",
)


@click.command()
@click.option(
    "--broadcast-only",
    is_flag=True,
    help="Without the shared memory: for another machine than the game's. Says what it lacks.",
)
@_user
@_log_file
def acc(broadcast_only: bool, user: str | None, log_file: str | None) -> None:
    """Follow Assetto Corsa Competizione from session to session.

    Waits for the game and for the broker. Frames stay on this disk until the broker has them.
    """
    _collect(open_game("acc", broadcast_only=broadcast_only), user, log_file)


@click.command()
@_user
@_log_file
def ac(user: str | None, log_file: str | None) -> None:
    """Follow Assetto Corsa from session to session.

    Waits for the game and for the broker. Frames stay on this disk until the broker has them.
    """
    _collect(open_game("ac"), user, log_file)


def open_game(name: str, *, broadcast_only: bool = False) -> Game:
    """Return the game with this name on the command line, with its settings. Only its own modules
    are imported.
    """
    if name == "acc":
        from ingest.collectors.games.acc.game import AccGame

        return AccGame(AccSettings.read(), broadcast_only=broadcast_only)
    from ingest.collectors.games.ac.game import AcGame

    return AcGame(AcSettings.read())


def _collect(game: Game, user: str | None, log_file: str | None) -> None:
    if log_file:
        start_logging(LogSettings.read(file=log_file))
    with stop_on_signals() as stop:
        _follow(game, user, stop)


def _follow(game: Game, user: str | None, stop: Callable[[], bool]) -> None:
    kafka, collector = (
        KafkaSettings.read(),
        CollectorSettings.read(**({"user_id": user} if user else {})),
    )
    topic = telemetry_topic(kafka, collector.user_id)  # an invalid name is refused now
    folder = SpoolFolder.of(collector, os.environ)
    backlog, handler = Backlog(kafka, folder), CommandHandler(kafka, collector, folder)
    follower = Follower(game, lambda facts: _open_sender(kafka, collector, folder, facts))
    held = _hold(folder.path, game.name)
    log.info(
        "following",
        game=game.name,
        user=collector.user_id,
        brokers=kafka.brokers,
        topic=topic,
        spool=str(folder.path),
    )
    # Imported objects stay. A search of all of them for garbage takes 12 ms, nearly a frame, every
    # few seconds.
    gc.collect()
    gc.freeze()
    with held or nullcontext(), ExitStack() as stack:
        stack.callback(backlog.close)
        stack.enter_context(in_background(partial(backlog.poll, STEP_S), name="backlog"))
        handler.start()
        stack.callback(handler.close)  # after the end of the last session, which it reports
        stack.callback(follower.close)
        follow(
            follower,
            stop=stop,
            between=partial(handler.pass_on, follower),
            report=lambda statistics: _log(follower, statistics),
        )
    _log(follower, follower.statistics)
    click.echo(json.dumps(follower.statistics.as_json()))


def _hold(folder: Path, game: str) -> BinaryIO | None:
    """Return a lock to hold while the game is followed. Two collectors would make two sessions of
    one drive.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = lock(folder / f"{game}.lock")
    except OSError as refused:  # the start of a session reports a disk that cannot be written to
        log.warning("unknown whether another collector runs", reason=refused.strerror)
        return None
    if held is None:
        raise PurpleSectorError(
            f"another collector follows {game} already, with the same spool, {folder}"
        )
    return held


def _open_sender(
    kafka: KafkaSettings, collector: CollectorSettings, folder: SpoolFolder, facts: Session
) -> Sender:
    try:
        return Sender(kafka, collector, facts, open_spool=folder.begin, shows_clock=True)
    except SpoolUnavailable as refused:
        # A driver is on track: frames in memory are better than no frames.
        log.error("frames of this session are in memory only", reason=str(refused))
        return Sender(
            kafka,
            collector,
            facts,
            open_spool=partial(MemorySpool, for_game=True),
            shows_clock=True,
        )


def _log(follower: Follower, statistics: Statistics) -> None:
    log.info("collected", session=follower.session, unused=follower.unused, **statistics.as_json())
