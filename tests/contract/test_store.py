"""The store: each batch once, by the one who owns the partition."""

import threading
import time
from dataclasses import replace

import pgpq
import psycopg
import pyarrow as pa
import pytest

from analytics.model.lap import Lap
from ingest.batching.partition_log import Partition
from ingest.batching.write_batch import FinishedLap, WriteBatch
from ingest.embedded.process import free_ports
from ingest.errors import PartitionTaken, SessionsChanged, StoreRefused, StoreUnavailable
from ingest.settings import DatabaseSettings
from ingest.store.connection import connect
from ingest.store.partition_writer import COPY_FRAMES, PartitionWriter
from ingest.telemetry_pb2 import Session
from tests.service.owner import PARTITION, STARTED_AT_MS, Owner, drove, rows, told
from tests.service.rivals import chunk as rivals_chunk
from tests.waiting import WITHIN_S

SEQUENCES = "SELECT sequence FROM telemetry ORDER BY sequence"
POSITION = "SELECT next_offset, fence FROM partition_offsets"


# --- who owns the partition
# ---------------------------------------------------------------------------------------


def test_first_owner_begins_where_the_log_does(database):
    with PartitionWriter(DatabaseSettings(url=database.url), PARTITION) as store:
        ownership = store.take_over("first", first_offset=17)

    assert (ownership.fence, ownership.next_offset) == (1, 17)


def test_each_owner_raises_the_fence_and_goes_on_where_the_store_stands(database, owner):
    owner.write(*drove("a", 1, 2, 3))
    with PartitionWriter(DatabaseSettings(url=database.url), PARTITION) as store:
        ownership = store.take_over("second", first_offset=0)

    assert (ownership.fence, ownership.next_offset) == (2, 3)
    assert rows(database.url, "SELECT owner FROM partition_offsets") == [("second",)]


def test_partitions_have_owners_of_their_own(database, owner):
    with Owner(database.url, Partition("telemetry", 4)) as other:
        other.write(*drove("b", 1))
        owner.write(*drove("a", 1))

    assert rows(
        database.url, "SELECT partition, next_offset, fence FROM partition_offsets ORDER BY 1"
    ) == [
        (3, 1, 1),
        (4, 1, 1),
    ]


def test_take_over_ends_the_predecessors_connection(database, owner):
    with Owner(database.url):
        assert connections(database.url) == 1
        with pytest.raises(StoreUnavailable):
            owner.write(*drove("a", 1))


def test_take_over_ends_a_predecessor_that_froze_in_a_copy(database):
    """Its rows would come when it wakes; nothing but the end of its connection keeps them out."""
    with Owner(database.url, made=FreezesInCopy) as frozen:
        failures = []
        writing = threading.Thread(
            target=lambda: failures.append(failure_of(frozen.write, *drove("a", 1, 2)))
        )
        writing.start()
        assert frozen.store.froze.wait(WITHIN_S)

        with Owner(database.url) as successor:
            successor.write(*drove("a", 1, 2, 3))
            frozen.store.woken.set()
            writing.join(WITHIN_S)

        assert [type(failure) for failure in failures] == [StoreUnavailable]
        assert rows(database.url, SEQUENCES) == [(1,), (2,), (3,)]


def test_take_over_ends_only_the_connection_at_work_for_the_partition(database):
    """Partitions share connections: one freezes in a COPY, another is only idle."""
    settings = DatabaseSettings(url=database.url)
    with connect(settings, "at work") as at_work, connect(settings, "idle") as idle:
        of_frozen, of_idle = Partition("telemetry", 5), Partition("telemetry", 6)
        frozen, calm = FreezesInCopy(settings, of_frozen), PartitionWriter(settings, of_idle, idle)
        frozen._conn.close()
        frozen._owned, frozen._conn = False, at_work
        failures, fence = [], frozen.take_over("frozen", first_offset=0).fence
        calm.take_over("calm", first_offset=0)
        (session,) = frozen.open_sessions(["a"], {}).values()
        begun = rivals_chunk(session.id, 0, 9)
        write = threading.Thread(
            target=lambda: failures.append(failure_of(frozen.write, begun, fence))
        )
        write.start()
        assert frozen.froze.wait(WITHIN_S)
        with Owner(database.url, of_frozen), Owner(database.url, of_idle):
            frozen.woken.set()
            write.join(WITHIN_S)
            assert [type(failure) for failure in failures] == [StoreUnavailable]
            assert idle.execute("SELECT 1").fetchone() == (1,)


def test_owner_that_was_replaced_may_not_resume(database, owner):
    with (
        Owner(database.url),
        PartitionWriter(DatabaseSettings(url=database.url), PARTITION) as store,
    ):
        failure = failure_of(store.resume, owner.fence)

    assert isinstance(failure, PartitionTaken)
    assert (
        str(failure)
        == "telemetry[3] was taken over by another worker: fence 1 is not in force any more"
    )


def test_write_by_a_replaced_owner_leaves_nothing(database):
    """Also where its connection could not be ended: the store knows only the last one."""
    with (
        Owner(database.url) as replaced,
        Owner(database.url, fence=replaced.fence),
        Owner(database.url) as successor,
    ):
        successor.write(*drove("b", 1))
        replaced.sessions = successor.sessions
        replaced.position = successor.position
        with pytest.raises(PartitionTaken):
            replaced.write(*drove("b", 2, 9), (b"b", b""))

    assert rows(database.url, SEQUENCES) == [(1,)]
    assert rows(database.url, POSITION) == [(1, 2)]
    assert_nothing_in(database.url, "gaps", "dead_letters")


def test_replaced_owner_may_not_even_state_that_it_is_alive(database):
    with (
        Owner(database.url) as replaced,
        Owner(database.url, fence=replaced.fence),
        Owner(database.url),
    ):
        failure = failure_of(replaced.store.beat, replaced.fence)

    assert isinstance(failure, PartitionTaken)


@pytest.mark.parametrize("start", [0, 2, 4])
def test_batch_that_does_not_start_where_the_store_stands_leaves_nothing(database, owner, start):
    owner.write(*drove("a", 1, 2, 3))
    chunk = owner.chunk(*drove("a", 4))
    with pytest.raises(PartitionTaken, match=f"offset {start}"):
        owner.store.write(replace(chunk, start=start), owner.fence)

    assert rows(database.url, SEQUENCES) == [(1,), (2,), (3,)]
    assert rows(database.url, POSITION) == [(3, 1)]


def test_owner_resumes_over_a_new_connection_with_what_is_stored(database, owner):
    owner.write(*drove("a", 1, 2, 5))
    with Owner(database.url, fence=owner.fence) as same:
        chunk = same.write(*drove("a", 2, 5, 6))

    assert (same.fence, same.position) == (1, 6)
    assert (chunk.resent, chunk.gaps) == (2, ())
    assert rows(database.url, SEQUENCES) == [(1,), (2,), (5,), (6,)]


# --- sessions
# --------------------------------------------------------------------------------------------------


def test_session_keeps_the_books_of_its_frames(database, owner):
    for sequences in [(1, 2), (4,), (3,)]:
        owner.write(*drove("a", *sequences))

    ((key, frames, received, first_ms, last_ms, topic, partition),) = rows(
        database.url,
        "SELECT key, frames, received::text, extract(epoch FROM started_at) * 1000,"
        " extract(epoch FROM last_frame_at) * 1000, topic, partition FROM sessions",
    )
    assert (key, frames, received, topic, partition) == ("a", 4, "{[1,5)}", "telemetry", 3)
    assert (first_ms, last_ms) == (STARTED_AT_MS + 16, STARTED_AT_MS + 64)


def test_sequences_that_are_stored_already_change_nothing(database, owner):
    """A worker whose memory is stale must forget it; the store has the last word."""
    owner.write(*drove("a", 1, 2, 3))
    with Owner(database.url, fence=owner.fence) as stale:
        chunk = stale.chunk(*drove("a", 4, 5), *drove("b", 1))
        with Owner(database.url, Partition("telemetry", 4)) as other:
            other.write(*drove("a", 5))
        with pytest.raises(SessionsChanged, match=r"telemetry\[3\].*of 2 sessions only 1"):
            stale.store.write(chunk, stale.fence)

    assert rows(database.url, SEQUENCES) == [(1,), (2,), (3,), (5,)]
    assert rows(database.url, "SELECT key, frames FROM sessions ORDER BY key") == [
        ("a", 4),
        ("b", 0),
    ]
    assert rows(database.url, "SELECT next_offset FROM partition_offsets WHERE partition = 3") == [
        (3,)
    ]


def test_session_that_was_deleted_is_a_change_too(database, owner):
    owner.write(*drove("a", 1))
    chunk = owner.chunk(*drove("a", 2))
    with psycopg.connect(database.url) as conn:
        conn.execute("DELETE FROM sessions")
    with pytest.raises(SessionsChanged):
        owner.store.write(chunk, owner.fence)


def test_session_may_arrive_by_two_partitions(database, owner):
    """A topic that has grown sends the rest of a session elsewhere; what is missing here is stored
    there.
    """
    with Owner(database.url, Partition("telemetry", 4)) as other:
        owner.write(*drove("a", 1, 2))
        other.write(*drove("a", 3, 4))
        owner.write(*drove("a", 5))

    assert rows(database.url, SEQUENCES) == [(1,), (2,), (3,), (4,), (5,)]
    assert rows(database.url, "SELECT frames, received::text FROM sessions") == [(5, "{[1,6)}")]
    assert rows(database.url, "SELECT count(*) FROM gaps WHERE resolved_at IS NULL") == [(0,)]


def test_facts_update_the_session(database, owner):
    owner.write(*drove("a", 1))
    owner.write(
        told(
            "a",
            user_id="jo",
            game="acc",
            track="Imola",
            car="GT3",
            driver="Jo",
            track_length=4909,
            sector_count=3,
            sample_rate=60,
            started_at=STARTED_AT_MS - 1000,
        )
    )

    query = (
        "SELECT user_id, game, track, car, driver, track_length_m, sector_count, sample_rate_hz,"
        " (extract(epoch FROM started_at) * 1000)::bigint, frames FROM sessions"
    )
    assert rows(database.url, query) == [
        ("jo", "acc", "Imola", "GT3", "Jo", 4909, 3, 60, STARTED_AT_MS - 1000, 1)
    ]


def test_unknown_facts_are_null_and_keep_user_and_start(database, owner):
    owner.write(told("a", user_id="jo", started_at=STARTED_AT_MS), *drove("a", 1))
    owner.write(told("a", track="Imola"))

    query = (
        "SELECT user_id, track, track_length_m, sector_count, sample_rate_hz, started_at IS NULL"
        " FROM sessions"
    )
    assert rows(database.url, query) == [("jo", "Imola", None, None, None, False)]


def test_session_without_facts_has_the_user_of_its_records(database, owner):
    owner.store.open_sessions(["a", "b"], {"a": "jo"})

    assert rows(database.url, "SELECT key, user_id FROM sessions ORDER BY key") == [
        ("a", "jo"),
        ("b", ""),
    ]


# --- losses
# --------------------------------------------------------------------------------------------------


def test_missing_sequences_are_a_row_and_late_frames_heal_it(database, owner):
    healed = (
        "SELECT from_sequence, to_sequence, reason, resolved_at IS NOT NULL FROM gaps ORDER BY 1"
    )
    owner.write(*drove("a", 1, 5, 8))
    assert rows(database.url, healed) == [(2, 4, "missing", False), (6, 7, "missing", False)]

    owner.write(*drove("a", 3, 2))
    assert rows(database.url, healed) == [(2, 4, "missing", False), (6, 7, "missing", False)]

    owner.write(*drove("a", 4))
    assert rows(database.url, healed) == [(2, 4, "missing", True), (6, 7, "missing", False)]


def test_what_came_by_another_partition_is_not_missing(database, owner):
    """Its worker does not tell this one; the collector's word on how far it sent the session comes
    here.
    """
    with Owner(database.url, Partition("telemetry", 4)) as other:
        owner.write(*drove("a", 1))
        other.write(*drove("a", 2, 3, 4))
    owner.write(told("a", last_sequence=6))
    assert rows(database.url, "SELECT from_sequence, to_sequence FROM gaps") == [(2, 6)]

    owner.write(told("b", last_sequence=1), *drove("c", 1))
    with Owner(database.url, Partition("telemetry", 5)) as other:
        other.write(*drove("b", 1), *drove("c", 2))
    owner.write(told("c", last_sequence=2), *drove("c", 3))
    assert rows(
        database.url, "SELECT from_sequence, to_sequence, resolved_at IS NULL FROM gaps ORDER BY id"
    ) == [
        (2, 6, True),
        (1, 1, False),
    ]


def test_a_batch_that_goes_on_looks_at_none_of_the_gaps_before_it(database, owner):
    """Each would be held against all that was received: a session that lacks every other frame
    stopped its partition so.
    """
    owner.write(*drove("a", *range(1, 4_001, 2)))
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("ANALYZE gaps")
    before = gaps_looked_at(database.url, owner)
    owner.write(*drove("a", *range(4_000, 4_020)))

    assert gaps_looked_at(database.url, owner) - before < 10


def test_a_batch_of_old_and_new_frames_looks_at_none_of_the_gaps_between_them(database, owner):
    """Frames are sent again while others are being driven. The gap of a frame that is there shows
    who looks: it would be healed.
    """
    owner.write(*drove("a", 1, 3, 4, 5))
    with psycopg.connect(database.url) as conn:
        conn.execute(
            "INSERT INTO gaps (session_id, from_sequence, to_sequence, reason) SELECT id, 4, 4,"
            " 'missing' FROM sessions"
        )
    owner.write(*drove("a", 2, 6))

    assert rows(database.url, "SELECT from_sequence FROM gaps WHERE resolved_at IS NULL") == [(4,)]


def gaps_looked_at(url: str, owner: Owner) -> int:
    """How many rows the server has read of them so far."""
    owner.store._conn.execute("SELECT pg_stat_force_next_flush()")
    ((read,),) = rows(
        url, "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'gaps'"
    )
    return read


def test_offsets_that_retention_took_are_a_row_and_the_position_moves(database, owner):
    owner.write(*drove("a", 1))
    owner.store.skip_lost(owner.fence, 1, 100)

    lost = rows(database.url, "SELECT topic, partition, from_offset, to_offset, reason FROM gaps")
    assert lost == [("telemetry", 3, 1, 99, "retention")]
    assert rows(database.url, POSITION) == [(100, 1)]


def test_replaced_owner_may_not_skip(database):
    with (
        Owner(database.url) as replaced,
        Owner(database.url, fence=replaced.fence),
        Owner(database.url),
    ):
        failure = failure_of(replaced.store.skip_lost, replaced.fence, 0, 100)

    assert isinstance(failure, PartitionTaken)
    assert_nothing_in(database.url, "gaps")


def test_log_that_restarts_is_read_again(database, owner):
    owner.write(*drove("a", 1, 2))
    owner.store.rewind(owner.fence, 2, 0)

    assert rows(database.url, POSITION) == [(0, 1)]
    assert_nothing_in(database.url, "gaps")


def test_a_value_that_is_too_long_for_an_index_is_refused_as_a_value(owner):
    """What the checks of facts forgot: taken for a database that is away, it would be tried for
    ever.
    """
    strange = "".join(chr(0x4E00 + 7919 * n % 20_000) for n in range(3_000))
    chunk = owner.chunk(told("a"))
    session_id = owner.sessions["a"].id
    chunk = replace(chunk, facts=((session_id, Session(game=strange)),))

    with pytest.raises(StoreRefused, match="index") as caught:
        owner.store.write(chunk, owner.fence)
    assert caught.value.for_data


def test_the_longest_facts_that_are_taken_fit_their_index_and_the_records(database, owner):
    longest = {
        name: "".join(chr(0x4E00 + (7919 * n + 1013 * k) % 20_000) for n in range(85))
        for k, name in enumerate(("game", "track", "car", "user_id"))
    }
    chunk = owner.write(told("a", **longest), *drove("a", 1))
    assert chunk.dead_letters == ()
    lap = Lap(
        2,
        STARTED_AT_MS * 1000,
        STARTED_AT_MS * 1000 + 90_500_000,
        90_500,
        None,
        (30_000, 60_500),
        "computed",
        (),
        5430,
        0,
        250.5,
    )
    owner.store.write(
        replace(owner.chunk(), laps=(FinishedLap(owner.sessions["a"].id, "a", lap),)), owner.fence
    )

    assert len(owner.store.judge(owner.sessions["a"].scope, lap.started_at_us)) == 1


def test_dead_letters_keep_every_byte(database, owner):
    every_byte = bytes(range(256))
    owner.write((every_byte, every_byte), (b"a\0b", b"\0"), (None, None), *drove("a", 1))

    letters = rows(
        database.url,
        'SELECT topic, partition, "offset", key, value FROM dead_letters ORDER BY "offset"',
    )
    assert letters == [
        ("telemetry", 3, 0, every_byte, every_byte),
        ("telemetry", 3, 1, b"a\0b", b"\0"),
        ("telemetry", 3, 2, None, None),
    ]
    assert rows(database.url, SEQUENCES) == [(1,)]


def test_a_batch_may_be_garbage_from_end_to_end(database, owner):
    owner.write(*[(b"a", b"\xff" * 40_000)] * 1000)

    assert rows(database.url, "SELECT count(*), sum(length(value)) FROM dead_letters") == [
        (1000, 40_000_000)
    ]
    assert rows(database.url, POSITION) == [(1000, 1)]


# --- laps
# --------------------------------------------------------------------------------------------------


def test_corrected_lap_replaces_the_first_one(database, owner):
    """The official time comes frames later than the lap."""
    (session,) = owner.store.open_sessions(["a"], {}).values()
    lap = Lap(
        2,
        STARTED_AT_MS * 1000,
        STARTED_AT_MS * 1000 + 90_500_000,
        90_500,
        None,
        (30_000, 60_500),
        "computed",
        ("invalid",),
        5430,
        1,
        250.5,
    )
    corrected = replace(
        lap, lap_time_ms=90_501, official_lap_time_ms=90_502, sector_source="game", flags=()
    )
    for place, each in enumerate([lap, corrected]):
        laps = (FinishedLap(session.id, "a", each),)
        owner.store.write(
            WriteBatch(place, place + 1, owner.chunk().frames, laps=laps), owner.fence
        )

    query = (
        "SELECT lap_number, (extract(epoch FROM started_at) * 1000)::bigint, lap_time_ms,"
        " official_lap_time_ms, sector_times_ms, sector_source, flags, frames, gaps, max_speed_kmh"
        " FROM laps"
    )
    assert rows(database.url, query) == [
        (2, STARTED_AT_MS, 90_501, 90_502, [30_000, 60_500], "game", [], 5430, 1, 250.5)
    ]


# --- a database that is away
# --------------------------------------------------------------------------------------


def test_database_that_is_down_is_named_without_its_password():
    (port,) = free_ports(1)
    with pytest.raises(StoreUnavailable) as caught:
        PartitionWriter(
            DatabaseSettings(url=f"postgresql://me:hidden@127.0.0.1:{port}/laps"), PARTITION
        )

    assert f"127.0.0.1:{port}/laps" in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_connection_that_was_cut_is_a_database_that_is_away(database, owner):
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("SELECT pg_terminate_backend(backend_pid, 5000) FROM partition_offsets")

    for call in (lambda: owner.write(*drove("a", 1)), lambda: owner.store.beat(owner.fence)):
        with pytest.raises(StoreUnavailable, match="no database answers"):
            call()


class FreezesInCopy(PartitionWriter):
    """Stops in the middle of its rows until it is woken."""

    def __init__(self, settings: DatabaseSettings, partition: Partition) -> None:
        super().__init__(settings, partition)
        self.froze, self.woken = threading.Event(), threading.Event()

    def _copy_frames(self, frames: pa.Table) -> None:
        encoder = pgpq.ArrowToPostgresBinaryEncoder(frames.schema)
        with self._conn.cursor().copy(COPY_FRAMES) as copy:
            copy.write(encoder.write_header())
            for batch in frames.to_batches():
                copy.write(encoder.write_batch(batch))
            self.froze.set()
            self.woken.wait()
            copy.write(encoder.finish())


def failure_of(call, *arguments) -> Exception | None:
    try:
        call(*arguments)
    except Exception as failure:
        return failure
    return None


def connections(url: str) -> int:
    """Of workers to this database; one that was ended takes a moment to be gone."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name LIKE 'purple-sector telemetry%' AND datname = current_database()"
    )
    deadline = time.monotonic() + WITHIN_S
    while (count := rows(url, query)[0][0]) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    return count


def assert_nothing_in(url: str, *tables: str) -> None:
    for table in tables:
        assert rows(url, f"SELECT count(*) FROM {table}") == [(0,)], table  # noqa: S608
