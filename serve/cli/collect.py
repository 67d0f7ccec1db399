"""Starts the collectors on a game PC: ``purple-sector collect``."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, takewhile
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import click
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from ingest.collectors.control.command_handler import CommandHandler
from ingest.collectors.control.controllable_sender import ControllableSender
from ingest.collectors.delivery.sender import Sender
from ingest.collectors.delivery.statistics import Statistics
from ingest.collectors.follower import in_background
from ingest.collectors.pacing import Pace, first_timestamp_ms
from ingest.collectors.prefetch import made_ahead
from ingest.collectors.replay_loop import collect as run_collector
from ingest.collectors.replay_loop import stop_on_signals
from ingest.collectors.simulator.circuit import CIRCUITS, Circuit
from ingest.collectors.simulator.driver import driver
from ingest.collectors.simulator.frames import drive, facts
from ingest.collectors.simulator.lap import laps
from ingest.errors import PurpleSectorError
from ingest.settings import CollectorSettings, KafkaSettings
from ingest.telemetry_pb2 import Session, TelemetryFrame
from serve.cli.param_types import Finite
from serve.game_pc.follow import ac, acc
from serve.game_pc.init import doctor, init

if TYPE_CHECKING:
    from analytics.files.recording import Recording

log = structlog.get_logger()

#: The producer sends each frame at once. With 1 ms librdkafka's thread would wake up twice for a
#: frame.
_LIVE_LINGER_MS = 0.0
_FAST_LINGER_MS = 20.0
_ACKNOWLEDGED_WITHIN_S = 30.0
_COMMANDS_EVERY_S = 0.2
#: Time for which a thread keeps the interpreter while others wait for it. With Python's default of
#: 5 ms, a due frame waits several times for the plan of another car's lap: once after each call
#: that released the interpreter.
_SWITCH_S = 0.0005

Stop = Callable[[], bool]
Report = Callable[[Statistics], None]


class OpenSender(Protocol):
    """Opens the sender for the session with the given facts."""

    def __call__(self, session_facts: Session, *, linger_ms: float) -> Sender:
        """Open a sender of the session."""


@click.group()
def collect() -> None:
    """Publish a car's telemetry to Kafka: from a game, a simulation or a recording."""


_speed = click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=Finite(0),
    help="Times real time; 0: as fast as it goes.",
)
_user = click.option("--user", help="Whose session; USER_ID by default.")

for _command in (acc, ac, init, doctor):
    collect.add_command(_command)


@collect.command()
@click.option(
    "--cars",
    default=1,
    show_default=True,
    type=click.IntRange(1, 40),
    help="How many cars; a session each.",
)
@click.option(
    "--circuit",
    "circuit",
    default="aldermoor",
    show_default=True,
    type=click.Choice(tuple(CIRCUITS)),
)
@click.option("--seed", default=1, show_default=True, help="The same seed drives the same laps.")
@click.option(
    "--rate", default=60.0, show_default=True, type=Finite(1, 500), help="Frames per second."
)
@click.option(
    "--laps",
    "lap_count",
    type=click.IntRange(1),
    help="Stop after so many laps; without it, at Ctrl-C.",
)
@_speed
@click.option(
    "--past-laps",
    default=0,
    show_default=True,
    type=click.IntRange(0, 100),
    help="Laps to publish at once, as if driven before.",
)
@_user
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def simulate(
    cars: int,
    circuit: str,
    seed: int,
    rate: float,
    lap_count: int | None,
    speed: float,
    past_laps: int,
    user: str | None,
    quiet: bool,
) -> None:
    """Drive a simulated GT3 car, lap after lap.

    With a speed other than 1 the laps are placed in the past, so that the last one ends now. In
    that case give --laps.
    """
    if speed != 1 and lap_count is None:
        raise click.UsageError("--speed needs --laps: how many laps to drive")
    outing = Outing(CIRCUITS[circuit](), seed, rate, speed, lap_count, past_laps)
    kafka, collector = KafkaSettings.read(), _collector(user)

    def open_sender(session_facts: Session, *, linger_ms: float) -> Sender:
        sender = Sender(kafka, collector, session_facts, linger_ms=linger_ms)
        if not quiet:
            click.echo(f"session {sender.key}: {session_facts.driver} on {session_facts.track}")
        return sender

    with stop_on_signals() as stop, _commands(kafka, collector) as controlled:
        ends = drive_cars(
            outing,
            cars,
            collector.user_id,
            open_sender,
            begun=Instant.now(),
            stop=stop,
            quiet=quiet,
            controlled=controlled,
        )
    if not quiet:
        for statistics in ends:
            click.echo(json.dumps(statistics.as_json()))


@collect.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_speed
@click.option(
    "--now",
    is_flag=True,
    help=(
        "Move it in time, so that it is driven now. Without it, it keeps its own time. A recording"
        " that begins before 2010 is always moved, because its times name no day."
    ),
)
@click.option("--session", default="", help="The session's key; a new one by default.")
@_user
def replay(file: Path, speed: float, now: bool, session: str, user: str | None) -> None:
    """Publish a recorded session from a Parquet or CSV FILE.

    Required columns: timestamp_ms lap_time_ms throttle brake steering speed_kmh gear rpm
    normalized_position lap_number. Optional columns: x_m y_m z_m heading_rad last_lap_time_ms
    sector pit validity. A FILE.json in the same folder may name game, track, car, driver and
    track_length_m.
    """
    from ingest.collectors.replay import replay as frames_of

    recording = _open(file)
    collector = _collector(user)
    metadata = _metadata(recording, session, collector.user_id)
    begun = Instant.now()
    first_ms = _first_timestamp_ms(recording, now=now, speed=speed, now_ms=begun.wall_ms)
    # A recording that is moved to now has each frame due at its own time. The time to open the file
    # does not delay it.
    pace = None if first_ms is None else Pace(first_ms, begun.monotonic_s, speed)
    kafka = KafkaSettings.read()
    sender = Sender(
        kafka, collector, metadata, linger_ms=_LIVE_LINGER_MS if speed == 1 else _FAST_LINGER_MS
    )
    click.echo(
        f"session {sender.key}: {len(recording):,} frames, {recording.duration_s:.0f} s at"
        f" {speed:g} times real time"
    )
    with (
        stop_on_signals() as stop,
        _commands(kafka, collector) as controlled,
        _progress(len(recording)) as report,
    ):
        run_collector(
            frames_of(recording.columns(), first_timestamp_ms=first_ms),
            _commanded(sender, metadata, controlled),
            speed=speed,
            pace=pace,
            stop=stop,
            report=report,
            report_every_s=0.2,
        )
        _close(sender)
        report(sender.statistics)
    click.echo(json.dumps(sender.statistics.as_json()))


def _open(file: Path) -> "Recording":
    from analytics.errors import RecordingError
    from analytics.files.recording import open_recording

    try:
        return open_recording(file)
    except RecordingError as error:
        raise PurpleSectorError(str(error)) from error


def _metadata(recording: "Recording", session: str, user_id: str) -> Session:
    return Session(
        id=session,
        user_id=user_id,
        game=recording.game,
        track=recording.track,
        car=recording.car,
        driver=recording.driver,
        track_length=recording.track_length_m or 0,
        sample_rate=recording.sample_rate_hz or 0,
    )


def _first_timestamp_ms(
    recording: "Recording", *, now: bool, speed: float, now_ms: int
) -> int | None:
    """Return the time of the first frame of a recording that is driven now; None where its own
    times stay.
    """
    from ingest.codec.timestamps import EARLIEST_MS

    if not now:
        if recording.started_at_ms >= EARLIEST_MS:
            return None
        click.echo(
            "its times are before 2010 and do not show on which day it was driven, so it is"
            " driven now"
        )
    return first_timestamp_ms(int(recording.duration_s * 1000), speed=speed, now_ms=now_ms)


@dataclass(frozen=True, slots=True)
class Outing:
    """The settings that all cars of one `simulate` run share."""

    circuit: Circuit
    seed: int
    rate_hz: float
    speed: float
    lap_count: int | None
    past_laps: int

    def started_at_ms(self, seed: int, *, now_ms: int) -> int:
        """Return the time at which the car left the pits: its past laps end now, and no frame is
        ahead of the clock.
        """
        if self.speed != 1 and self.lap_count:
            return first_timestamp_ms(
                self._lap_times_ms(seed, self.lap_count), speed=self.speed, now_ms=now_ms
            )
        return now_ms - self._lap_times_ms(seed, self.past_laps)

    def frames(self, seed: int, started_at_ms: int) -> Iterator[TelemetryFrame]:
        """Yield the frames of the laps to drive."""
        driven = drive(self.circuit, seed=seed, started_at_ms=started_at_ms, rate_hz=self.rate_hz)
        return takewhile(
            lambda frame: self.lap_count is None or frame.lap_number <= self.lap_count, driven
        )

    def _lap_times_ms(self, seed: int, count: int) -> int:
        return sum(lap.time_ms for lap in islice(laps(self.circuit, seed=seed), count))


class Instant(NamedTuple):
    """A moment on both the wall clock and the monotonic clock."""

    wall_ms: int
    monotonic_s: float

    @classmethod
    def now(cls) -> "Instant":
        """Return the present instant of both clocks."""
        return cls(time.time_ns() // 1_000_000, time.monotonic())

    def of_car(self, car: int, *, cars: int, rate_hz: float) -> "Instant":
        """Return the start of ``car`` out of ``cars``: within one step, at equal distances in whole
        ms.

        Games do not compute in step with each other. Cars in step would all send at once and wait
        for each other.
        """
        later_ms = round(1000 * car / (cars * rate_hz))
        return Instant(self.wall_ms + later_ms, self.monotonic_s + later_ms / 1000)


@contextmanager
def _quick_switches() -> Iterator[None]:
    """Shorten the interpreter's switch interval, so that a thread with a due frame runs soon."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def drive_cars(
    outing: Outing,
    cars: int,
    user_id: str,
    open_sender: OpenSender,
    *,
    begun: Instant,
    stop: Stop,
    quiet: bool,
    controlled: list[ControllableSender],
) -> list[Statistics]:
    """Drive ``cars`` cars until ``stop()`` or their last lap, and return the statistics of each
    sender.

    Live, the first car's first frame has the time ``begun``, or its past laps end then. The others
    follow within a step. Each car has its own thread, because a sender belongs to one thread. One
    more thread plans the laps, so that no car waits for the plan of its next lap. The function adds
    the senders to ``controlled``. Raises PurpleSectorError.
    """
    with ThreadPoolExecutor(cars) as pool, ThreadPoolExecutor(1) as planner, _quick_switches():
        driven = [
            pool.submit(
                _drive,
                outing,
                car,
                user_id,
                open_sender,
                planner,
                begun=begun.of_car(car, cars=cars, rate_hz=outing.rate_hz),
                stop=stop,
                quiet=quiet,
                controlled=controlled,
            )
            for car in range(cars)
        ]
        return [d.result() for d in driven]


def _drive(
    outing: Outing,
    car: int,
    user_id: str,
    open_sender: OpenSender,
    planner: Executor,
    *,
    begun: Instant,
    stop: Stop,
    quiet: bool,
    controlled: list[ControllableSender],
) -> Statistics:
    seed = outing.seed + car
    started_at_ms = outing.started_at_ms(seed, now_ms=begun.wall_ms)
    session_facts = facts(
        outing.circuit,
        session_id="",
        user_id=user_id,
        driver=driver(seed).name,
        started_at_ms=started_at_ms,
        rate_hz=outing.rate_hz,
    )
    live = outing.speed == 1
    sender = open_sender(session_facts, linger_ms=_LIVE_LINGER_MS if live else _FAST_LINGER_MS)
    frames = outing.frames(seed, started_at_ms)
    run_collector(
        made_ahead(frames, planner, count=ceil(outing.rate_hz)) if live else frames,
        _commanded(sender, session_facts, controlled),
        speed=outing.speed,
        # Live frames follow the wall clock. The plan of the first lap takes 25 ms, and makes no
        # later frame late.
        pace=Pace(begun.wall_ms, begun.monotonic_s, 1.0) if live else None,
        stop=stop,
        report=(lambda _: None) if quiet else lambda statistics: _log(sender.key, statistics),
    )
    _close(sender)
    return sender.statistics


@contextmanager
def _commands(
    kafka: KafkaSettings, collector: CollectorSettings
) -> Iterator[list[ControllableSender]]:
    """Yield a list whose senders obey the commands for their user and answer them, as a game's
    collector does.
    """
    senders: list[ControllableSender] = []
    handler = CommandHandler(kafka, collector, None, listen_s=_COMMANDS_EVERY_S)

    def pass_on() -> bool:
        handler.pass_on(*senders)
        time.sleep(_COMMANDS_EVERY_S)
        return True

    handler.start()
    try:
        with in_background(pass_on, name="commands"):
            yield senders
    finally:
        handler.close()


def _commanded(
    sender: Sender, facts: Session, controlled: list[ControllableSender]
) -> ControllableSender:
    commanded = ControllableSender(sender, facts)
    controlled.append(commanded)
    return commanded


def _close(sender: Sender) -> None:
    left = sender.close(timeout_s=_ACKNOWLEDGED_WITHIN_S)
    if left is not None:
        raise PurpleSectorError(
            f"session {sender.key}: {left}; the broker did not answer within"
            f" {_ACKNOWLEDGED_WITHIN_S:.0f} s"
        )


def _log(session: str, statistics: Statistics) -> None:
    log.info("collected", session=session, **statistics.as_json())


def _collector(user: str | None) -> CollectorSettings:
    return CollectorSettings.read(**({"user_id": user} if user else {}))


@contextmanager
def _progress(total: int) -> Iterator[Report]:
    with Progress(
        "published",
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task("published", total=total)
        yield lambda statistics: bar.update(task, completed=statistics.frames_published)
