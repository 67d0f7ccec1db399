"""Workers on a real broker and a real database: what is lost is written down, what is late is
waited for.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
import structlog
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ingest.batching.partition_log import Partition
from ingest.embedded.postgres import Postgres
from ingest.kafka.topics import create_topics
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.store.removal.deletions import delete_session, erase_deleted
from ingest.store.schema.migrations import migrate
from ingest.telemetry_pb2 import Session, TelemetryFrame, TelemetryMessage
from ingest.workers.worker_threads import WorkerThreads
from tests.bench.records import serialized_session
from tests.contract.topics import settings_of
from tests.service.audit import assert_each_frame_once, wait_for_frames
from tests.service.owner import Record, drove, rows, told
from tests.service.traffic import Field
from tests.waiting import WITHIN_S, wait_until

FRAMES = 300


@pytest.fixture
def settings(kafka) -> Iterator[KafkaSettings]:
    """Topics of the test's own, frames in two partitions."""
    name = f"worker-{uuid.uuid4().hex[:8]}"
    settings = KafkaSettings(
        brokers=kafka.brokers,
        topic_telemetry=name,
        topic_laps=f"{name}-laps",
        consumer_group=f"{name}-group",
    )
    admin = AdminClient({"bootstrap.servers": kafka.brokers})
    for future in admin.create_topics(
        [NewTopic(name, 2, 1), NewTopic(settings.topic_laps, 1, 1)]
    ).values():
        future.result(WITHIN_S)
    yield settings
    for future in admin.delete_topics([name, settings.topic_laps]).values():
        future.result(WITHIN_S)


def test_records_that_retention_took_are_a_row_and_reading_goes_on(kafka, database, settings):
    """The worker was away for longer than the broker keeps what it should have read."""
    publish(settings, drove("a", *range(1, 101)))
    with hosting(settings, database.url):
        wait_for_frames(database.url, {"a": 100})

    publish(settings, drove("a", *range(101, 201)))
    delete_records(settings, before=150)

    with hosting(settings, database.url):
        wait_for_frames(database.url, {"a": 150})
        publish(settings, drove("a", *range(201, 211)))
        wait_for_frames(database.url, {"a": 160})
    query = "SELECT topic, partition, from_offset, to_offset FROM gaps WHERE reason = 'retention'"
    assert rows(database.url, query) == [(settings.topic_telemetry, 0, 100, 149)]
    query = (
        "SELECT from_sequence, to_sequence FROM gaps WHERE reason = 'missing' AND resolved_at IS"
        " NULL"
    )
    assert rows(database.url, query) == [(101, 150)]
    assert rows(database.url, "SELECT received::text FROM sessions") == [("{[1,101),[151,211)}",)]


def test_topic_whose_first_records_are_gone_is_no_loss(kafka, database, settings):
    """Nobody had begun to read it: a new store begins where the log does."""
    publish(settings, drove("a", *range(1, 101)))
    delete_records(settings, before=50)

    with hosting(settings, database.url):
        wait_for_frames(database.url, {"a": 50})

    assert rows(database.url, "SELECT count(*) FROM gaps WHERE reason = 'retention'") == [(0,)]


def test_database_that_is_down_at_the_start_is_waited_for(settings, service_folder):
    with Postgres.start(service_folder / "waited-for", durable=False) as postgres:
        with psycopg.connect(postgres.url) as conn:
            migrate(conn)
        postgres.stop()
        publish(settings, drove("a", *range(1, FRAMES + 1)))

        with hosting(settings, postgres.url) as progress:
            wait_until(lambda: progress(0)["errors"] > 1)
            assert progress(0)["state"] == "waiting"
            assert "no database answers" in progress(0)["last_error"]
            postgres.restart()
            wait_for_frames(postgres.url, {"a": FRAMES})
            wait_until(lambda: progress(0)["state"] == "reading")

        assert_each_frame_once(postgres.url, {"a": FRAMES})


def test_every_other_record_may_be_poison(database, settings):
    frames = drove("a", *range(1, FRAMES + 1))
    poison = [(b"a", b"\xff" + bytes([n % 256, 0])) for n in range(FRAMES)]
    publish(settings, [record for pair in zip(frames, poison, strict=True) for record in pair])

    with hosting(settings, database.url) as progress:
        wait_until(lambda: progress(0)["next_offset"] == 2 * FRAMES)

    letters = rows(database.url, 'SELECT "offset", key, value FROM dead_letters ORDER BY "offset"')
    assert letters == [(2 * n + 1, *record) for n, record in enumerate(poison)]
    assert_each_frame_once(database.url, {"a": FRAMES})


def test_frames_of_a_clock_that_is_ahead_are_stored(database, settings):
    """By topics that are dated by the broker, as they are specified, and by those that keep their
    producers' times.
    """
    six_minutes_ahead_ms = time.time_ns() // 1_000_000 + 6 * 60_000
    publish(settings, drove("a", *range(1, FRAMES + 1), started_at_ms=six_minutes_ahead_ms))
    with hosting(settings, database.url):
        wait_for_frames(database.url, {"a": FRAMES})

    assert_each_frame_once(database.url, {"a": FRAMES})
    assert rows(database.url, "SELECT count(*) FROM dead_letters") == [(0,)]
    ((offset_ms, span_ms),) = rows(
        database.url,
        "SELECT offset_ms, (extract(epoch FROM (SELECT max(time) - min(time) FROM telemetry)) *"
        " 1000)::bigint FROM clock_corrections",
    )
    assert -7 * 60_000 < offset_ms < -5 * 60_000
    assert span_ms == 16 * (FRAMES - 1)


def test_session_that_comes_by_two_partitions_is_stored_once(database, settings):
    """Both workers hold half of it and some of the other half, and store at the same time."""
    frames = drove("a", *range(1, FRAMES + 1))
    third = FRAMES // 3
    with hosting(settings, database.url, partitions=2):
        for start in range(0, FRAMES, 20):
            publish(
                settings,
                [f for f in frames[: 2 * third] if f in frames[start : start + 20]],
                partition=0,
            )
            publish(
                settings,
                [f for f in frames[third:] if f in frames[start : start + 20]],
                partition=1,
            )
        wait_for_frames(database.url, {"a": FRAMES})
        wait_until(
            lambda: not rows(database.url, "SELECT FROM sessions WHERE late_from IS NOT NULL")
        )

    assert_each_frame_once(database.url, {"a": FRAMES})
    assert rows(database.url, "SELECT count(*) FROM dead_letters") == [(0,)]
    assert rows(database.url, "SELECT count(*) FROM gaps WHERE resolved_at IS NULL") == [(0,)]


def test_lap_is_announced_when_it_is_stored(database, settings):
    """Who hears of a lap can ask for it at once."""
    field = Field(cars=1, frames=12_000)
    with hosting(settings, database.url, partitions=2), listening(settings) as next_lap:
        field.publish(settings, "lap")
        heard = next_lap()
        stored = rows(
            database.url,
            "SELECT key, lap_number, lap_time_ms FROM laps JOIN sessions ON sessions.id ="
            " session_id WHERE lap_number = %s",
            [heard.lap.lap_number],
        )

    assert stored == [("lap-0", heard.lap.lap_number, heard.lap.lap_time)]
    assert heard.session_id == heard.lap.session_id == "lap-0"


def test_lap_that_ends_with_its_recording_is_announced(database, settings):
    """No frame after the line would show it: the session falls silent there."""
    frames = [TelemetryFrame.FromString(value) for value in serialized_session(19_000)]
    counted = [frame.lap_number for frame in frames]
    last = counted[-1]
    records = [(b"flag", frame.SerializeToString()) for frame in frames[: counted.index(last)]]
    with hosting(settings, database.url), listening(settings) as next_lap:
        publish(settings, records)
        heard = next_lap()
        while heard.lap.lap_number < last - 1:
            heard = next_lap()

    assert heard.lap.lap_time == pytest.approx(frames[-1].last_lap_time, abs=3)
    assert not heard.lap.flags


def test_flying_lap_has_its_colours_when_it_is_announced(database, settings):
    """Half a second after the record behind the line, on a machine that is not busy: it is logged,
    not judged.
    """
    values = serialized_session(13_000)
    line = next(
        i for i, value in enumerate(values) if TelemetryFrame.FromString(value).lap_number == 3
    )
    records: list[Record] = [(b"a", value) for value in values]
    with hosting(settings, database.url), listening(settings) as next_lap:
        publish(
            settings, [told("a", game="simulator", track="aldermoor", car="gt3"), *records[:line]]
        )
        wait_for_frames(database.url, {"a": line})
        assert next_lap().lap.colour == "", "a lap out of the pits is not judged"
        driven_at = time.monotonic()
        publish(settings, records[line : line + 30])
        heard = next_lap().lap
        took_s = time.monotonic() - driven_at

    assert (heard.lap_number, heard.colour, heard.colour_version) == (2, "purple", 1)
    assert list(heard.sector_colours) == ["purple"] * 3
    structlog.get_logger().info("lap announced", after_s=round(took_s, 3))


def test_laps_that_were_driven_before_their_track_was_reported_are_judged_then(database, settings):
    """The record with the facts was lost, and came when its collector was asked."""
    values = serialized_session(13_000)
    with hosting(settings, database.url):
        publish(settings, [(b"a", value) for value in values[:-10]])
        wait_for_frames(database.url, {"a": len(values) - 10})
        publish(
            settings,
            [told("a", game="simulator", track="aldermoor", car="gt3"), (b"a", values[-1])],
        )
        wait_until(lambda: rows(database.url, "SELECT FROM lap_colours WHERE colour = 'purple'"))


def test_sector_is_reported_with_its_colour_when_it_ends(database, settings):
    """In the middle of a flying lap, by the record behind the sector's line and no later one; the
    lap that ends keeps it.
    """
    values = serialized_session(13_000)
    frames = [TelemetryFrame.FromString(value) for value in values]
    ends = [
        i
        for i, frame in enumerate(frames)
        if frame.lap_number == 2 and frame.sector > frames[i - 1].sector
    ]
    records: list[Record] = [(b"a", value) for value in values]
    took_s, heard = [], []
    with hosting(settings, database.url), listening(settings, of="lap_in_progress") as next_sector:
        publish(
            settings,
            [told("a", game="simulator", track="aldermoor", car="gt3"), *records[: ends[0]]],
        )
        wait_for_frames(database.url, {"a": ends[0]})
        for end, until in zip(ends, [*ends[1:], len(records)], strict=True):
            ended_at = time.monotonic()
            publish(settings, records[end : end + 1])
            heard.append(next_sector().lap_in_progress)
            took_s.append(time.monotonic() - ended_at)
            publish(settings, records[end + 1 : until])
        wait_until(
            lambda: rows(
                database.url, "SELECT sector_colours FROM lap_colours WHERE lap_number = 2"
            )
        )
        ((times,),) = rows(database.url, "SELECT sector_times_ms FROM laps WHERE lap_number = 2")

    assert [(lap.lap_number, list(lap.sector_colours)) for lap in heard] == [
        (2, ["purple"]),
        (2, ["purple"] * 2),
    ]
    assert [list(lap.sector_times) for lap in heard] == [times[:1], times[:2]]
    structlog.get_logger().info("sectors announced", after_s=[round(one, 3) for one in took_s])


def test_group_offset_follows_the_store(database, settings):
    """Dashboards read lag there, of a partition without records too."""
    publish(settings, drove("a", *range(1, FRAMES + 1)))
    with hosting(settings, database.url, partitions=2):
        wait_until(lambda: committed(settings, 0) == FRAMES)
        assert rows(
            database.url, "SELECT next_offset FROM partition_offsets WHERE partition = 0"
        ) == [(FRAMES,)]

    assert committed(settings, 1) == 0


def test_offset_of_the_group_is_not_believed(database, settings):
    """It may have been reset by hand: the store knows what it holds."""
    publish(settings, drove("a", *range(1, FRAMES + 1)))
    with hosting(settings, database.url):
        wait_for_frames(database.url, {"a": FRAMES})
        wait_until(lambda: committed(settings, 0) == FRAMES)
    commit(settings, 0)
    publish(settings, drove("a", FRAMES + 1))

    with hosting(settings, database.url) as progress:
        wait_for_frames(database.url, {"a": FRAMES + 1})
        assert progress(0)["resent"] == 0
    assert_each_frame_once(database.url, {"a": FRAMES + 1})


def test_partition_that_is_not_wanted_any_more_is_left(database, settings):
    host = host_of(settings, database.url)
    both = [Partition(settings.topic_telemetry, n) for n in range(2)]
    try:
        assert set(host.host(both)["partitions"]) == {str(p) for p in both}
        assert set(host.host(both[1:])["partitions"]) == {str(both[1])}
    finally:
        host.stop()


WITHOUT_THESE = """
WITH moved AS (DELETE FROM telemetry RETURNING *) INSERT INTO telemetry_pending SELECT * FROM moved;
DELETE FROM laps;
DELETE FROM lap_colours;
DELETE FROM bests;
UPDATE partition_offsets SET heartbeat = now() - interval '1 hour';
"""


def test_frames_that_wait_for_a_partition_without_a_worker_are_stored_and_timed(database, settings):
    """As after its topic was renamed: no worker reads what it is called now, and no frame of it
    comes again.
    """
    values = serialized_session(13_000)
    facts = told("a", game="simulator", track="aldermoor", car="gt3")
    publish(settings, [facts, *((b"a", value) for value in values)])
    with hosting(settings, database.url):
        wait_for_frames(database.url, {"a": len(values)})
    with psycopg.connect(database.url) as conn:
        conn.execute(WITHOUT_THESE)

    host = host_of(settings, database.url)
    try:
        host.host([Partition(settings.topic_telemetry, 1)])
        purple = "SELECT FROM lap_colours WHERE lap_number = 2 AND colour = 'purple'"
        wait_until(lambda: rows(database.url, purple))
    finally:
        host.stop()
    assert_each_frame_once(database.url, {"a": len(values)})


def test_session_that_is_deleted_while_it_is_driven_stays_deleted(database, settings):
    """Its partition goes on, resent and broken records of it are dropped, and so they are when the
    log is read again from its start.
    """
    values, driven = serialized_session(13_000), {"game": "simulator", "track": "ring", "car": "x"}
    later = serialized_session(13_000, started_at_ms=time.time_ns() // 1_000_000)
    of_a = [told("a", user_id="anna", **driven), *((b"a", value) for value in values)]
    of_b = [told("b", user_id="bob", **driven), *((b"b", value) for value in later)]
    colour_of_b = "SELECT FROM lap_colours WHERE lap_number = 2 AND colour = %s"
    with hosting(settings, database.url) as progress:
        publish(settings, of_a[:-100] + of_b[:-100])
        wait_until(lambda: rows(database.url, colour_of_b, ["green"]))
        with psycopg.connect(database.url, autocommit=True) as conn:
            assert delete_session(conn, "a", "anna")
            publish(settings, [*of_a, (b"a", b"\xff"), *of_b[-100:]])
            wait_for_frames(database.url, {"b": len(later)})
            wait_until(lambda: rows(database.url, "SELECT FROM judgements_due") == [])
            wait_until(lambda: rows(database.url, colour_of_b, ["purple"]))
            erase_deleted(conn)
        end = progress(0)["next_offset"]
    assert_only_b_is_stored(database.url, len(later))

    with psycopg.connect(database.url) as conn:
        conn.execute("UPDATE partition_offsets SET next_offset = 0")
    with hosting(settings, database.url) as progress:
        wait_until(lambda: progress(0)["next_offset"] == end)
        assert progress(0)["errors"] == 0
    assert_only_b_is_stored(database.url, len(later))


def assert_only_b_is_stored(url: str, frames: int) -> None:
    assert rows(url, "SELECT key FROM sessions") == [("b",)]
    assert rows(url, "SELECT count(*) FROM telemetry") == [(frames,)]
    assert rows(url, "SELECT count(DISTINCT session_id) FROM laps") == [(1,)]
    assert rows(url, "SELECT DISTINCT owner FROM bests ORDER BY 1") == [("",), ("bob",)]
    assert rows(url, "SELECT count(*) FROM dead_letters") == [(0,)]
    assert_each_frame_once(url, {"b": frames})


def publish(settings: KafkaSettings, records: list[Record], *, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": settings.brokers, "acks": "all", "linger.ms": 20})
    for key, value in records:
        producer.produce(settings.topic_telemetry, value, key, partition)
    assert producer.flush(WITHIN_S) == 0


def delete_records(settings: KafkaSettings, *, before: int) -> None:
    admin = AdminClient({"bootstrap.servers": settings.brokers})
    for future in admin.delete_records(
        [TopicPartition(settings.topic_telemetry, 0, before)]
    ).values():
        future.result(WITHIN_S)


def host_of(settings: KafkaSettings, database_url: str, **database: int) -> WorkerThreads:
    return WorkerThreads(
        name="test",
        kafka=settings,
        database=DatabaseSettings.read(url=database_url, **database),
        ingest=IngestSettings(batch_max_age_ms=50),
    )


@contextmanager
def hosting(
    settings: KafkaSettings, database_url: str, *, partitions: int = 1
) -> Iterator[Callable[[int], dict[str, object]]]:
    """Workers for the first partitions, until the block ends; answers with the progress of one."""
    host = host_of(settings, database_url)
    hosted = [Partition(settings.topic_telemetry, n) for n in range(partitions)]
    host.host(hosted)
    try:
        yield lambda index: host.host(hosted)["partitions"][str(hosted[index])]
    finally:
        host.stop()


MOVED = """
SELECT user_id, frames, (extract(epoch FROM started_at) * 1000)::bigint,
       (extract(epoch FROM last_frame_at) * 1000)::bigint
  FROM sessions
"""


def test_a_session_of_a_clock_that_is_years_behind_is_moved_and_marked(database, kafka):
    settings = settings_of(kafka.brokers)
    create_topics(settings)  # whose records the broker dates
    now_ms = time.time_ns() // 1_000_000
    then_ms = now_ms - 10 * 365 * 86_400_000
    facts = TelemetryMessage(session=Session(track="Spa", started_at=then_ms)).SerializeToString()
    producer = Producer({"bootstrap.servers": settings.brokers, "acks": "all", "linger.ms": 20})
    values = [facts, *(value for _, value in drove("a", 1, 2, 3, started_at_ms=then_ms))]
    for n, value in enumerate(values):
        shown = [("sentAt", b"%d" % then_ms)] if n < 2 else []
        producer.produce(
            settings.topic_telemetry, value, b"a", 0, headers=[("userId", b"anna"), *shown]
        )
    assert producer.flush(WITHIN_S) == 0
    with hosting(settings, database.url) as progress:
        wait_until(lambda: progress(0)["next_offset"] == 4)

    ((user, frames, started_ms, last_ms),) = rows(database.url, MOVED)
    assert (user, frames) == ("anna", 3)
    assert now_ms <= started_ms < last_ms <= now_ms + WITHIN_S * 1000
    ((first, reason),) = rows(database.url, "SELECT from_sequence, reason FROM clock_corrections")
    assert first == 0
    assert reason.endswith(" s behind the broker's clock")


@contextmanager
def listening(
    settings: KafkaSettings, *, of: str = "lap"
) -> Iterator[Callable[[], TelemetryMessage]]:
    """Hears the laps that are announced, or what is said of those in progress."""
    consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": "listener"})
    consumer.assign([TopicPartition(settings.topic_laps, 0, 0)])

    def next_lap() -> TelemetryMessage:
        while True:
            message = consumer.poll(WITHIN_S)
            assert message is not None, "no lap was announced"
            assert message.error() is None
            said = TelemetryMessage.FromString(message.value())
            if said.HasField(of):
                return said

    try:
        yield next_lap
    finally:
        consumer.close()


@contextmanager
def group(settings: KafkaSettings) -> Iterator[Consumer]:
    consumer = Consumer(
        {"bootstrap.servers": settings.brokers, "group.id": settings.consumer_group}
    )
    try:
        yield consumer
    finally:
        consumer.close()


def committed(settings: KafkaSettings, partition: int) -> int:
    with group(settings) as consumer:
        (place,) = consumer.committed(
            [TopicPartition(settings.topic_telemetry, partition)], timeout=WITHIN_S
        )
    return place.offset


def commit(settings: KafkaSettings, offset: int) -> None:
    with group(settings) as consumer:
        consumer.commit(
            offsets=[TopicPartition(settings.topic_telemetry, 0, offset)], asynchronous=False
        )
