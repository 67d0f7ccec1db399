"""A topic that grows while it is used: new partitions are read by ingest and shown live, and nobody
who drives moves.

That the supervisor finds them by itself is in test_supervisor.py.
"""

import pytest
from confluent_kafka.admin import NewPartitions

from ingest.batching.partition_log import Partition
from ingest.kafka.topics import Cluster, create_topics, open_admin, partition_of
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.telemetry_pb2 import TelemetryMessage
from ingest.workers.worker_threads import WorkerThreads
from tests.contract.test_live_end import reading
from tests.contract.topics import settings_of
from tests.service.audit import assert_each_frame_once, wait_for_frames
from tests.service.convoy import Convoy
from tests.service.owner import rows
from tests.waiting import WITHIN_S, wait_until

BEFORE, AFTER = 10, 12
SESSIONS = 20


@pytest.fixture
def settings(kafka) -> KafkaSettings:
    settings = settings_of(kafka.brokers)
    create_topics(settings)
    return settings


def test_topic_grows_and_running_sessions_stay(settings, database):
    host = WorkerThreads(
        name="grows",
        kafka=settings,
        database=DatabaseSettings(_env_file=None, url=database.url),
        ingest=IngestSettings(_env_file=None),
    )
    host.host(partitions(settings, BEFORE))
    try:
        with (
            reading(settings) as delivered,
            Convoy(settings, "before", sessions=SESSIONS) as running,
        ):
            running.await_acknowledgements()
            grow(settings)
            host.host(partitions(settings, AFTER))
            with Convoy(settings, "after", sessions=SESSIONS) as new:
                new.await_acknowledgements()
                wait_until(lambda: {f"after-{n}" for n in range(SESSIONS)} <= introduced(delivered))
                running.await_acknowledgements()
                expected = new.finish()
            expected |= running.finish()
        wait_for_frames(database.url, expected)
    finally:
        host.stop()

    assert_each_frame_once(database.url, expected)
    assert running.partitions == [partition_of(b"before-%d" % n, BEFORE) for n in range(SESSIONS)]
    assert new.partitions == [partition_of(b"after-%d" % n, AFTER) for n in range(SESSIONS)]
    assert {10, 11} <= set(new.partitions)
    assert {(10,), (11,)} <= set(
        rows(database.url, "SELECT partition FROM sessions WHERE frames > 0")
    )


def partitions(settings: KafkaSettings, count: int) -> list[Partition]:
    return [Partition(settings.topic_telemetry, index) for index in range(count)]


def grow(settings: KafkaSettings) -> None:
    admin = open_admin(settings)
    topic = settings.topic_telemetry
    admin.create_partitions([NewPartitions(topic, AFTER)])[topic].result(WITHIN_S)
    wait_until(lambda: Cluster(settings, timeout_s=WITHIN_S).await_partitions(topic) == AFTER)


def introduced(values: list[bytes]) -> set[str]:
    """The sessions whose facts were shown live."""
    messages = [TelemetryMessage.FromString(value) for value in tuple(values) if value[0] & 7 == 2]
    return {message.session.id for message in messages if message.HasField("session")}
