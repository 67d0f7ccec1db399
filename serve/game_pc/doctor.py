"""Checks whether a game PC can collect now, and advises where it cannot: ``purple-sector collect
doctor``.

Each check reports its result as a Finding, and raises no exception for a fault that it finds. The
checks leave nothing behind.
"""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from ingest.collectors.delivery.broker_clock import clock_trouble, offset_text
from ingest.collectors.games.interface import Game, GameEvent, SessionBegan
from ingest.collectors.spool.cursor import Cursor
from ingest.collectors.spool.folder import SpoolFolder
from ingest.errors import BrokerUnavailable, SettingsError
from ingest.kafka.topics import telemetry_topic
from ingest.settings import CollectorSettings, KafkaSettings
from ingest.telemetry_pb2 import TelemetryFrame
from serve.game_pc.broker_probe import BrokerProbe, Offset, Topic

Level = Literal["ok", "warning", "error"]

_LISTEN_S = 2.0
_BROKER_WITHIN_S = 5.0
_LEAST_FREE_BYTES = 1_000_000_000
_SLOW_SYNC_MS = 100.0
_WHO_MAKES_TOPICS = "whoever runs the broker types `purple-sector topics create` once"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``to_do`` is empty where there is nothing to do."""

    check: str
    level: Level
    seen: str
    to_do: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the finding as a JSON object."""
        return asdict(self)


def check_game(game: Game, name: str, *, listen_s: float = _LISTEN_S) -> Iterator[Finding]:
    """Check whether the game runs, and report its session and frames within ``listen_s``. People
    call it ``name``.
    """
    events: list[GameEvent] = []
    until = time.monotonic() + listen_s
    while (left_s := until - time.monotonic()) > 0:
        events += game.poll(min(0.1, left_s))
    if game.running:
        yield Finding("game", "ok", f"{name} is there{_driven(events, listen_s)}")
    else:
        to_do = "start it, and this again when you sit in a car"
        yield Finding("game", "warning", f"{name} is not there", to_do)
    for kind, count in game.counts.items():
        seen = f"not used: {kind}, {count} times"
        yield Finding("game", "warning", seen, "report it to us if it is more than a few")


def _driven(events: list[GameEvent], listen_s: float) -> str:
    frames = sum(isinstance(one, TelemetryFrame) for one in events)
    began = [one.facts for one in events if isinstance(one, SessionBegan)]
    if not began:
        return "; nobody drives"
    what = ", ".join(filter(None, (began[-1].track, began[-1].car))) or "no facts yet"
    return f": {what}; {frames / listen_s:.0f} frames a second"


def check_broker(kafka: KafkaSettings, collector: CollectorSettings) -> Iterator[Finding]:
    """Check whether frames would arrive, and whether their times would be right."""
    try:
        topic = telemetry_topic(kafka, collector.user_id)
        reach = BrokerProbe(kafka, timeout_s=_BROKER_WITHIN_S)
        sent_s = time.monotonic()
        brokers = reach.brokers()
        took_ms = (time.monotonic() - sent_s) * 1000
        yield Finding(
            "broker", "ok", f"{kafka.brokers} answers in {took_ms:.0f} ms; {brokers} in all"
        )
        yield _topic_of_frames(reach.topic(topic))
        yield _commands(reach.topic(kafka.topic_commands))
        yield _clock(reach, reach.topic(kafka.topic_status_reports))
    except SettingsError as wrong:
        yield Finding("broker", "error", str(wrong), "correct the setting")
    except BrokerUnavailable as away:
        yield Finding(
            "broker",
            "error",
            f"no answer from {away.brokers}: {away.reason}",
            "look at KAFKA_BROKERS and KAFKA_SECURITY_*, at the network and at the firewall",
        )


def _topic_of_frames(topic: Topic) -> Finding:
    if not topic.partitions:
        to_do = f"the first session makes it if it may; else {_WHO_MAKES_TOPICS}"
        return Finding("topic", "warning", f"{topic.name} is not there", to_do)
    if topic.may_write is False:
        return Finding(
            "topic",
            "error",
            f"{topic.name} may not be written to by this user",
            "its owner grants Write on it",
        )
    written = "may be written to" if topic.may_write else "does not show who may write to it"
    return Finding("topic", "ok", f"{topic.name} has {topic.partitions} partitions and {written}")


def _commands(topic: Topic) -> Finding:
    if not topic.partitions:
        seen = (
            f"{topic.name} is not there, or hidden: what the broker loses cannot be requested again"
        )
        return Finding("commands", "warning", seen, f"{_WHO_MAKES_TOPICS}, and grants Read on it")
    return Finding("commands", "ok", f"{topic.name} has {topic.partitions} partitions")


def _clock(reach: BrokerProbe, topic: Topic) -> Finding:
    if not topic.partitions:
        seen = f"not compared with the broker's: {topic.name} is not there, or hidden"
        return Finding("clock", "warning", seen, f"{_WHO_MAKES_TOPICS}, and grants Write on it")
    return clock_finding(reach.clock_offset(topic.name))


def clock_finding(offset: Offset | str) -> Finding:
    """Return the meaning of an offset between our clock and the broker's."""
    if isinstance(offset, str):
        seen = f"not compared with the broker's: {offset}"
        return Finding("clock", "warning", seen, "see that this PC sets its clock by itself")
    # The driver's view: the offset of this PC's clock.
    ahead_ms = -offset.ahead_ms
    seen = f"{offset_text(ahead_ms)}, within {offset.within_ms:.0f} ms"
    if trouble := clock_trouble(ahead_ms, within_ms=offset.within_ms):
        return Finding("clock", trouble.level, f"{seen}: {trouble.frames}", trouble.to_do)
    return Finding("clock", "ok", seen)


def check_disk(folder: Path) -> Iterator[Finding]:
    """Check whether frames can wait on the disk: its free space, and the time until a write is
    safe.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        sync_ms = _sync_ms(folder)
    except OSError as refused:
        failure = f"{folder} cannot be written to: {refused.strerror}"
        yield Finding("disk", "error", failure, "make it writable, or name another folder")
        return
    yield _free_room(folder, free)
    yield _sync_time(sync_ms)


def _free_room(folder: Path, free_bytes: int) -> Finding:
    room = f"{free_bytes / 1e9:.1f} GB free at {folder}"
    if free_bytes >= _LEAST_FREE_BYTES:
        return Finding("disk", "ok", room)
    to_do = "make room: without it, frames are lost while the broker is away"
    return Finding("disk", "warning", room, to_do)


def _sync_time(sync_ms: float) -> Finding:
    seen = f"what is written is safe after {sync_ms:.1f} ms"
    if sync_ms <= _SLOW_SYNC_MS:
        return Finding("disk", "ok", seen)
    to_do = "a power cut loses so much more; name a folder on a quicker disk"
    return Finding("disk", "warning", seen, to_do)


def check_spool(folder: SpoolFolder) -> Finding:
    """Report the sessions that wait on the disk, and those kept there for a resend."""
    kept = list(folder.kept())
    waiting = sum(not Cursor.read(session.folder).drained for session in kept)
    try:
        seen = f"sessions: {len(kept)}, in {folder.used_bytes / 1e6:.1f} MB"
    except OSError as refused:
        failure = f"{folder.path} cannot be read: {refused.strerror}"
        return Finding("spool", "error", failure, "name another folder")
    if waiting:
        seen += f"; not sent to the end: {waiting}, which goes by itself"
    return Finding("spool", "ok", seen)


def _sync_ms(folder: Path) -> float:
    """Return the time of the slowest of a few synced writes. Each has the size of a tenth of a
    second of frames.
    """
    probe = folder / f"doctor-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            return max(_one_sync_s(file) for _ in range(5)) * 1000
    finally:
        probe.unlink(missing_ok=True)


def _one_sync_s(file: BinaryIO) -> float:
    began = time.perf_counter()
    file.write(bytes(1024))
    file.flush()
    os.fsync(file.fileno())
    return time.perf_counter() - began
