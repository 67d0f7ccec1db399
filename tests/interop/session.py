"""A session that is known frame by frame, for clients that are not ours, and what the store must
make of it.

The same frames go through our own collector too: what a stranger sent must end up as the same rows
and the same laps.
"""

import itertools
import time
from functools import cache

import psycopg
from psycopg import sql

from analytics.model.channels import FRAMES as STORED
from ingest.collectors.delivery.sender import Sender
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.frames import drive, facts
from ingest.kafka.topics import partition_of
from ingest.settings import CollectorSettings, KafkaSettings
from ingest.telemetry_pb2 import Session, TelemetryFrame
from tests.service.audit import assert_each_frame_once, laps_of, wait_for_frames
from tests.service.owner import rows
from tests.waiting import WITHIN_S

FRAMES = 9_000  # two and a half minutes: a whole lap and a bit
USER = "anna"
PARTITIONS = 10  # of a topic of frames


@cache
def driven() -> tuple[TelemetryFrame, ...]:
    """The frames, numbered; the first ones hold what clients get wrong: a negative gear, and a zero
    below zero.
    """
    started_at_ms = time.time_ns() // 1_000_000 - FRAMES * 1000 // 60 - 60_000
    frames = list(
        itertools.islice(drive(val_sarine(), seed=3, started_at_ms=started_at_ms), FRAMES)
    )
    for number, frame in enumerate(frames, start=1):
        frame.sequence = number
    frames[0].gear = -1
    frames[1].steering = -0.0
    return tuple(frames)


def told(key: str) -> Session:
    """The facts without the user, who is in the headers."""
    return facts(
        val_sarine(),
        session_id=key,
        user_id="",
        driver="Anna",
        started_at_ms=driven()[0].timestamp,
        rate_hz=60,
    )


def send(
    kafka: KafkaSettings, key: str, frames: int = FRAMES, *, protobuf: bool = True
) -> list[TelemetryFrame]:
    """Send it by our own collector; returns what was sent."""
    collector = CollectorSettings(user_id=USER, protobuf_enabled=protobuf)
    sender = Sender(kafka, collector, told(key), linger_ms=20)
    sent = list(driven()[:frames])
    for frame in sent:
        sender.send(frame)
    assert sender.close(timeout_s=WITHIN_S) is None
    return sent


def assert_arrived_whole(database_url: str, key: str, *, as_ours: str) -> None:
    """Session ``key`` is stored as what our collector sent as ``as_ours`` is: its facts, every
    frame, its laps.

    And it came by the partition that the key has for everybody.
    """
    expected = {as_ours: FRAMES, key: FRAMES}
    wait_for_frames(database_url, expected)

    assert_each_frame_once(database_url, expected)
    told_of, partition = told(key), partition_of(key.encode(), PARTITIONS)
    query = "SELECT user_id, game, track, car, driver, partition FROM sessions WHERE key = %s"
    known = (USER, told_of.game, told_of.track, told_of.car, told_of.driver, partition)
    found = rows(database_url, query, [key])
    assert found == [known], f"session {key}: {found}"
    pairs = zip(stored(database_url, key), stored(database_url, as_ours), strict=True)
    different = [pair for pair in pairs if pair[0] != pair[1]]
    assert not different, (
        f"session {key}: {len(different)} rows are not as ours, first {different[0]}"
    )
    laps = laps_of(database_url, key)
    assert any(lap_time_ms for _, _, lap_time_ms, *_ in laps), f"session {key}: no lap was timed"
    assert laps == laps_of(database_url, as_ours), f"session {key}: {laps}"
    letters = rows(database_url, "SELECT key, reason FROM dead_letters")
    assert letters == [], f"dead letters: {letters[:3]}"


def stored(database_url: str, key: str) -> list[str]:
    """The session's rows as text, in which a zero below zero is told from zero, without what names
    the session.
    """
    columns = sql.SQL(", ").join(
        sql.Identifier(name) for name in STORED.names if name != "session_id"
    )
    query = (
        "SELECT ROW({})::text FROM telemetry WHERE session_id = (SELECT id FROM sessions WHERE key"
        " = %s) ORDER BY time"
    )
    with psycopg.connect(database_url) as conn:
        return [row for (row,) in conn.execute(sql.SQL(query).format(columns), [key])]
