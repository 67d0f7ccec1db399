"""A session whose clock is wrong: its frames are stored, marked, and the same for whoever takes the
partition over.
"""

from contextlib import nullcontext

import psycopg
import pytest

from ingest.telemetry_pb2 import TelemetryFrame
from serve.cli.store_counts import StoreCounts, read_store_counts
from serve.cli.store_status import read_store_status
from tests.bench.records import serialized_session
from tests.service.audit import assert_each_frame_once, laps_of
from tests.service.owner import STARTED_AT_MS, Owner, Record, drove, rows, told

MINUTES_6_MS = 6 * 60_000
SINCE_START = """
SELECT (extract(epoch FROM time) * 1000)::bigint - %s FROM telemetry t JOIN sessions s
    ON s.id = session_id
 WHERE key = 'a' ORDER BY sequence
"""
CORRECTIONS = """
SELECT key, from_sequence, offset_ms, reason FROM clock_corrections c JOIN sessions s
    ON s.id = session_id ORDER BY 1, 2
"""


def wrong(key: str, *sequences: int, by_ms: int = MINUTES_6_MS) -> list[Record]:
    return drove(key, *sequences, started_at_ms=STARTED_AT_MS + by_ms)


def times_of(database) -> list[int]:
    return [ms for (ms,) in rows(database.url, SINCE_START, [STARTED_AT_MS])]


def test_frames_of_a_clock_that_is_ahead_are_stored_and_marked(database, owner):
    facts = told("a", track="Spa", started_at=STARTED_AT_MS + MINUTES_6_MS)
    chunk = owner.write(
        facts, *wrong("a", 1, 2, 3), *drove("b", 1), appended_ms=STARTED_AT_MS + 1000
    )
    owner.write(*wrong("a", 4, 6), appended_ms=STARTED_AT_MS + 1050)

    assert chunk.dead_letters == ()
    assert times_of(database) == [1000, 1016, 1032, 1048, 1080]
    ((key, first, offset_ms, reason),) = rows(database.url, CORRECTIONS)
    assert (key, first, offset_ms) == ("a", 0, 984 - MINUTES_6_MS)
    assert reason == "359 s ahead of the broker's clock"
    query = "SELECT (extract(epoch FROM started_at) * 1000)::bigint FROM sessions WHERE key = 'a'"
    assert rows(database.url, query) == [(STARTED_AT_MS + 984,)], (
        "as long before the first frame as was told"
    )
    assert rows(database.url, "SELECT from_sequence FROM gaps") == [(5,)]


def test_status_counts_the_corrections_and_names_the_last(database, owner):
    with psycopg.connect(database.url, autocommit=True) as conn:
        assert read_store_counts(conn) == StoreCounts()
        owner.write(*wrong("a", 1, 2), *wrong("b", 1), *drove("c", 1), appended_ms=STARTED_AT_MS)
        owner.write(*wrong("a", 3, by_ms=-10_000), appended_ms=STARTED_AT_MS + 90_000)
        counts = read_store_counts(conn)
        lines = read_store_status(conn).lines

    assert (counts.clock_corrections, counts.corrected_sessions, counts.corrected_last) == (
        3,
        2,
        "a",
    )
    assert counts.clock_text in lines
    assert "3 clock corrections in 2 sessions; the last at" in counts.clock_text
    last = "SELECT reason FROM clock_corrections ORDER BY seen_at DESC, from_sequence DESC LIMIT 1"
    assert rows(database.url, last) == [(counts.corrected_why,)]


def test_next_owner_goes_on_as_the_one_before(database, owner):
    """The store decides: what is sent again, later and to another worker, comes to the same
    time.
    """
    owner.write(*wrong("a", 1, 2), appended_ms=STARTED_AT_MS)
    with Owner(database.url) as successor:
        chunk = successor.write(*wrong("a", 2, 3, 4), appended_ms=STARTED_AT_MS + 90_000)

    assert (chunk.resent, chunk.corrections) == (1, ())
    assert times_of(database) == [0, 16, 32, 48]


def test_clock_that_goes_back_while_the_sequences_go_on(database, owner):
    """What is timed live is what a worker that starts anew would time."""
    owner.write(*drove("a", 1, 2, 3), appended_ms=STARTED_AT_MS + 48)
    owner.write(*wrong("a", 4, 5, by_ms=-10_000), appended_ms=STARTED_AT_MS + 80)
    with Owner(database.url) as successor:
        successor.write(*wrong("a", 6, by_ms=-10_000), appended_ms=STARTED_AT_MS + 96)

    assert times_of(database) == [16, 32, 48, 64, 80, 96]
    assert [c[:3] for c in rows(database.url, CORRECTIONS)] == [("a", 4, 10_000)]


@pytest.mark.parametrize("restarted", [False, True])
def test_frame_after_a_jump_follows_by_the_sessions_own_step(database, owner, restarted):
    """A worker that takes over knows the step that its predecessor saw: viewers see the same."""

    def at_10_hz(n: int, off_ms: int = 0) -> Record:
        time_ms = STARTED_AT_MS + 100 * n + off_ms
        frame = TelemetryFrame(timestamp=time_ms, sequence=n, lap_number=1, speed=200, rpm=7000)
        return b"a", frame.SerializeToString()

    owner.write(*map(at_10_hz, (1, 2, 3)), appended_ms=STARTED_AT_MS + 300)
    with Owner(database.url) if restarted else nullcontext(owner) as successor:
        successor.write(at_10_hz(4, -9_000), appended_ms=STARTED_AT_MS + 400)

    assert times_of(database) == [100, 200, 300, 400]


def test_laps_of_a_wrong_clock_are_those_of_a_right_one(database, owner):
    frames, part = 13_000, 1_000
    values = serialized_session(frames)
    owner.write(*((b"right", value) for value in values))
    ((first_ms,),) = rows(
        database.url,
        "SELECT (extract(epoch FROM started_at) * 1000)::bigint FROM sessions WHERE key = 'right'",
    )
    for start in range(0, frames, part):
        # The broker's clock is an hour behind the game's.
        sent = [(b"wrong", value) for value in values[start : start + part]]
        owner.write(*sent, appended_ms=first_ms - 3_600_000 + start * 16)

    assert rows(database.url, "SELECT count(*) FROM clock_corrections") == [(1,)]
    assert [lap[2] for lap in laps_of(database.url, "wrong")] == [
        lap[2] for lap in laps_of(database.url, "right")
    ]
    assert_each_frame_once(database.url, {"right": frames, "wrong": frames})


def test_small_step_back_is_timed_again(database, owner):
    """The network sets clocks by milliseconds: the lap engine looks at no frame before one that it
    has seen.
    """
    owner.write(*drove("a", 1, 2, 3))
    chunk = owner.write(*wrong("a", 4, 5, by_ms=-40))

    assert [late.session_key for late in chunk.late] == ["a"]
    assert chunk.corrections == ()
