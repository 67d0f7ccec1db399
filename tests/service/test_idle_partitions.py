"""A league of users with a topic each: only those who drive have a worker."""

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from ingest.batching.partition_log import Partition
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.workers.worker_threads import WorkerThreads
from tests.service.audit import assert_each_frame_once, wait_for_frames
from tests.service.owner import Record, drove, rows
from tests.waiting import WITHIN_S, wait_until

USERS = 300
FRAMES = 50


@pytest.fixture(scope="module")
def settings(kafka) -> Iterator[KafkaSettings]:
    """Topics of many users."""
    name = f"league-{uuid.uuid4().hex[:8]}"
    settings = KafkaSettings(
        _env_file=None,
        brokers=kafka.brokers,
        topic_telemetry=name,
        topic_laps=f"{name}-laps",
        topic_per_user=True,
        consumer_group=f"{name}-group",
    )
    admin = AdminClient({"bootstrap.servers": kafka.brokers})
    names = [partition_of(settings, user).topic for user in range(USERS)]
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        future.result(WITHIN_S)
    yield settings
    for future in admin.delete_topics(names).values():
        future.result(WITHIN_S)


def partition_of(settings: KafkaSettings, user: int) -> Partition:
    return Partition(f"{settings.topic_telemetry}-user-u{user}", 0)


def publish(settings: KafkaSettings, user: int, *records: Record) -> None:
    producer = Producer({"bootstrap.servers": settings.brokers, "acks": "all", "linger.ms": 20})
    for key, value in records:
        producer.produce(partition_of(settings, user).topic, value, key)
    assert producer.flush(WITHIN_S) == 0


@pytest.fixture
def host(settings, database) -> Iterator[WorkerThreads]:
    """Hosts the topics of all users; a worker is idle after a second."""
    host = host_of(settings, database.url)
    host.host(everybody(settings))
    yield host
    host.stop()


def host_of(settings: KafkaSettings, url: str) -> WorkerThreads:
    return WorkerThreads(
        name=uuid.uuid4().hex[:8],
        kafka=settings,
        database=DatabaseSettings(_env_file=None, url=url),
        ingest=IngestSettings(_env_file=None, batch_max_age_ms=50),
        idle_after_s=1.0,
    )


def everybody(settings: KafkaSettings) -> list[Partition]:
    return [partition_of(settings, user) for user in range(USERS)]


def working(host: WorkerThreads) -> set[str]:
    """The partitions that have a worker, and so are read."""
    return {str(place) for place, one in tuple(host._hosted.items()) if not one.has_ended}


def test_only_users_who_drive_have_a_worker(settings, database, host):
    """They stop and go on; each frame is stored once, and a poison record stops nobody else."""
    drivers = {user: f"u{user}-{uuid.uuid4().hex[:4]}" for user in (1, 42, 299)}
    for user, key in drivers.items():
        publish(settings, user, (b"poison", b"\xff"), *drove(key, *range(1, FRAMES + 1)))
    wait_for_frames(database.url, dict.fromkeys(drivers.values(), FRAMES))
    assert working(host) <= {str(partition_of(settings, user)) for user in drivers}
    wait_until(lambda: not working(host))

    for user, key in drivers.items():
        publish(settings, user, *drove(key, *range(FRAMES + 1, 2 * FRAMES + 1)))
    wait_for_frames(database.url, dict.fromkeys(drivers.values(), 2 * FRAMES))

    assert_each_frame_once(database.url, dict.fromkeys(drivers.values(), 2 * FRAMES))
    assert rows(database.url, "SELECT count(*) FROM dead_letters") == [(3,)]
    progress = host.host(everybody(settings))["partitions"]
    assert len(progress) == USERS
    assert {progress[str(partition_of(settings, user))]["frames"] for user in drivers} == {100}


def test_a_worker_that_was_replaced_while_idle_finds_out(settings, database, host):
    """It had been frozen, say: it must not push its successor aside."""
    key, place = f"u7-{uuid.uuid4().hex[:4]}", partition_of(settings, 7)
    publish(settings, 7, *drove(key, 1))
    wait_for_frames(database.url, {key: 1})
    wait_until(lambda: str(place) not in working(host))
    successor = host_of(settings, database.url)
    successor._idle_after_s = float("inf")
    try:
        successor.host([place])
        query = "SELECT owner FROM partition_offsets WHERE topic = %s"
        wait_until(lambda: rows(database.url, query, [place.topic]) == [(successor.name,)])
        publish(settings, 7, *drove(key, 2, 3))
        wait_for_frames(database.url, {key: 3})
        wait_until(lambda: _state(host, place) == "taken over")
        assert rows(database.url, query, [place.topic]) == [(successor.name,)]
    finally:
        successor.stop()
    assert_each_frame_once(database.url, {key: 3})


def _state(host: WorkerThreads, place: Partition) -> str:
    """Without the call that starts an ended worker again."""
    hosted = host._hosted.get(place)
    return hosted.worker.progress.state if hosted else "idle"
