"""Dead letters on a real broker and a real store: a flood, and records that are sent again."""

import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ingest.batching.partition_log import Partition
from ingest.batching.write_batch import DeadLetter
from ingest.control.dead_letter_replay import Filter, dead_letters, not_kept, replay
from ingest.errors import TopicUnavailable
from ingest.settings import DeadLetterQuota, KafkaSettings
from ingest.store.dead_letters import save_dead_letters
from serve.cli.dead_letters import dead_letters as command
from serve.cli.store_status import read_store_status
from tests.service.owner import drove, rows
from tests.service.test_worker import host_of, hosting, publish
from tests.waiting import WITHIN_S, wait_until


@pytest.fixture
def settings(kafka) -> Iterator[KafkaSettings]:
    name = f"letters-{uuid.uuid4().hex[:8]}"
    settings = KafkaSettings(
        brokers=kafka.brokers, topic_telemetry=name, topic_laps=f"{name}-laps", consumer_group=name
    )
    admin = AdminClient({"bootstrap.servers": kafka.brokers})
    for future in admin.create_topics(
        [NewTopic(name, 1, 1), NewTopic(settings.topic_laps, 1, 1)]
    ).values():
        future.result(WITHIN_S)
    yield settings
    for future in admin.delete_topics([name, settings.topic_laps]).values():
        future.result(WITHIN_S)


def good(sequence: int) -> bytes:
    ((_, value),) = drove("a", sequence, started_at_ms=time.time_ns() // 1_000_000)
    return value or b""


def make_letter(
    database_url: str, settings: KafkaSettings, offset: int, value: bytes, reason: str
) -> None:
    """What an older version refused, and this one can read."""
    with psycopg.connect(database_url) as conn:
        conn.execute(
            'INSERT INTO dead_letters (topic, partition, "offset", key, value, reason, user_id)'
            " VALUES (%s, 0, %s, %s, %s, %s, %s)",
            [settings.topic_telemetry, offset, b"a", value, reason, "anna"],
        )


def test_what_is_good_now_is_stored_and_what_is_not_is_reported_again(database, settings):
    publish(settings, [(b"a", b"\xff\xff\x01"), (b"a", good(1))])
    with (
        hosting(settings, database.url) as progress,
        psycopg.connect(database.url, autocommit=True) as conn,
    ):
        wait_until(lambda: progress(0)["next_offset"] == 2)
        make_letter(database.url, settings, 1, good(2), "time: 360 s ahead of the clock here")
        outcomes = replay(
            settings, conn, dead_letters(conn, Filter(), limit=10), again=False, within_s=WITHIN_S
        )
        second = replay(
            settings, conn, dead_letters(conn, Filter(), limit=10), again=False, within_s=WITHIN_S
        )

    assert [(o.letter.offset, o.what) for o in outcomes] == [
        (0, "dead letter again"),
        (1, "stored"),
    ]
    assert outcomes[0].detail == "decode: not valid protobuf"
    assert rows(database.url, "SELECT received::text FROM sessions") == [("{[1,3)}",)]
    assert {o.what for o in second} == {"left"}, "none is sent for ever"
    assert rows(database.url, 'SELECT "offset", replayed_offset FROM dead_letters ORDER BY 1') == [
        (0, 2),
        (1, 3),
        (2, None),
    ]
    assert headers_at(settings, 3) == {
        "sessionId": b"a", "userId": b"anna", "encoding": b"protobuf", "resent": b"1",
        "replayed": f"{settings.topic_telemetry}[0]@1".encode(),
    }  # fmt: skip


def test_a_replayed_record_has_the_headers_that_it_came_with(database, settings):
    own = [("userId", b"anna"), ("trace", b"\x00\xff"), ("empty", None)]
    producer = Producer({"bootstrap.servers": settings.brokers, "acks": "all", "linger.ms": 20})
    for value, headers in ((good(1), []), (b"\xff", own), (good(2), []), (b"{", None)):
        producer.produce(settings.topic_telemetry, value, b"a", 0, headers=headers)
    assert producer.flush(WITHIN_S) == 0
    with (
        hosting(settings, database.url) as progress,
        psycopg.connect(database.url, autocommit=True) as conn,
    ):
        wait_until(lambda: progress(0)["next_offset"] == 4)
        letters = dead_letters(conn, Filter(), limit=10)
        conn.execute('UPDATE dead_letters SET value = %s WHERE "offset" = 1', [good(3)])
        replay(
            settings,
            conn,
            dead_letters(conn, Filter(offset=1), limit=1),
            again=False,
            within_s=WITHIN_S,
        )

    assert {letter.offset: letter.headers for letter in letters} == {
        1: [["userId", "616e6e61"], ["trace", "00ff"], ["empty", None]],
        3: [],
    }
    replayed = ("replayed", f"{settings.topic_telemetry}[0]@1".encode())
    assert headers_at(settings, 4) == dict([*own, ("resent", b"1"), replayed])
    assert rows(database.url, "SELECT received::text FROM sessions") == [("{[1,4)}",)]


def test_a_topic_that_is_gone_marks_nothing(database, settings):
    make_letter(database.url, settings, 1, good(2), "time: …")
    elsewhere = settings.model_copy(update={"topic_telemetry": "x"})
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("UPDATE dead_letters SET partition = 7")
        with pytest.raises(TopicUnavailable, match="1 partitions, and a letter is of partition 7"):
            replay(elsewhere, conn, dead_letters(conn, Filter(), limit=10), again=False, within_s=1)
    assert rows(database.url, "SELECT replayed_at FROM dead_letters") == [(None,)]


def test_a_flood_is_counted_and_hides_no_new_kind(database, settings):
    host = host_of(settings, database.url, dead_letters_per_kind=20)
    partition = Partition(settings.topic_telemetry, 0)
    publish(settings, [(b"a", b"\xff\xff" + bytes([n])) for n in range(200)])
    try:
        wait_until(
            lambda: host.host([partition])["partitions"][str(partition)]["next_offset"] == 200
        )
        publish(settings, [(b"a", b"{"), *drove("a", 1)])
        wait_until(
            lambda: host.host([partition])["partitions"][str(partition)]["next_offset"] == 202
        )
    finally:
        host.stop()

    assert rows(
        database.url, "SELECT kind, count(*) FROM dead_letters GROUP BY kind ORDER BY 1"
    ) == [
        ("decode", 20),
        ("json", 1),
    ]
    with psycopg.connect(database.url) as conn:
        ((topic, kind, count),) = [(c.topic, c.kind, c.count) for c in not_kept(conn, Filter())]
        lines = read_store_status(conn).lines
    assert (topic, kind, count) == (settings.topic_telemetry, "decode", 180)
    assert [line for line in lines if "21 dead letters and 180 that were not kept" in line], lines


def test_old_letters_make_room_for_new_ones(database, settings):
    """After the days of the quota, and those of other partitions are left to their workers."""
    for offset in (1, 2, 3):
        make_letter(database.url, settings, offset, b"\xff", "decode: not valid protobuf")
    with psycopg.connect(database.url) as conn, conn.cursor() as cursor:
        cursor.execute(
            'UPDATE dead_letters SET partition = greatest("offset" - 2, 0),'
            ' seen_at = now() - make_interval(days => CASE "offset" WHEN 2 THEN 29 ELSE 31 END)'
        )
        quota = DeadLetterQuota(per_kind=3, days=30)
        new = DeadLetter(4, b"a", b"\xff", "decode: not valid protobuf")
        left_out = save_dead_letters(cursor, Partition(settings.topic_telemetry, 0), [new], quota)

    assert left_out == []
    query = 'SELECT partition, "offset" FROM dead_letters ORDER BY 2'
    assert rows(database.url, query) == [(0, 2), (1, 3), (0, 4)]


def test_the_command_lists_shows_and_replays(database, settings, monkeypatch):
    for name, value in {"DATABASE_URL": database.url, "KAFKA_BROKERS": settings.brokers}.items():
        monkeypatch.setenv(name, value)
    make_letter(database.url, settings, 7, b"\x1b[31m", "decode: not valid protobuf")
    place = f"{settings.topic_telemetry}[0]@7"
    run = CliRunner().invoke

    assert place in run(command, ["list", "--session", "a", "--since", "1h"]).output
    assert (
        run(command, ["list", "--reason", "json"]).output == "no dead letters of that description\n"
    )
    shown = run(command, ["show", place]).output
    assert "1b 5b 33 31 6d" in shown
    assert "\x1b" not in shown
    assert "there is no dead letter at" in str(run(command, ["show", "telemetry[0]@1"]).exception)
    assert "is no place such as telemetry[3]@17" in run(command, ["show", "seven"]).output

    with hosting(settings, database.url) as progress:
        wait_until(lambda: progress(0)["state"] == "reading")
        outcome = run(command, ["replay", place])
    assert "1 dead letter again: decode: not valid protobuf" in outcome.output
    assert "their cause is still there" in str(outcome.exception)
    assert "bad again" in run(command, ["list"]).output


def headers_at(settings: KafkaSettings, offset: int) -> dict[str, bytes]:
    consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": "headers"})
    consumer.assign([TopicPartition(settings.topic_telemetry, 0, offset)])
    try:
        message = consumer.poll(WITHIN_S)
        assert message is not None
        return dict(message.headers() or [])
    finally:
        consumer.close()
