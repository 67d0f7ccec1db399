"""The supervisor finds what there is to read: topics and partitions that come while it runs."""

import uuid
from collections.abc import Iterator

import pytest
import ray
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings, LogSettings
from ingest.workers.supervisor import ClusterSettings, start_ingest, stop_ingest
from tests.service.audit import assert_each_frame_once, wait_for_frames
from tests.service.owner import drove, rows
from tests.service.test_worker import publish
from tests.waiting import WITHIN_S, wait_until

FRAMES = 200


@pytest.fixture
def settings(kafka) -> KafkaSettings:
    """Two partitions of frames, under a name that only this test has."""
    settings = KafkaSettings(brokers=kafka.brokers, topic_telemetry=f"grows-{uuid.uuid4().hex[:8]}")
    create(settings, settings.topic_telemetry)
    return settings


@pytest.fixture
def others(settings) -> KafkaSettings:
    """A topic that is not ours, whose name begins like ours; there before anybody looks for
    topics.
    """
    others = settings.model_copy(update={"topic_telemetry": f"{settings.topic_telemetry}-archive"})
    create(others, others.topic_telemetry)
    publish(others, drove("other", 1))
    return others


@pytest.fixture
def supervisor(ray_cluster, database, settings) -> Iterator[object]:
    ours = ClusterSettings(
        settings, DatabaseSettings(url=database.url), IngestSettings(), LogSettings(level="ERROR")
    )
    yield start_ingest(ours)
    stop_ingest()


def test_partitions_and_topics_that_are_added_are_read(kafka, database, settings, supervisor):
    """A topic may grow and users may get topics of their own; nobody starts ingest anew for it."""
    publish(settings, drove("first", *range(1, FRAMES + 1)), partition=1)
    wait_for_frames(database.url, {"first": FRAMES})

    of_a_user = settings.model_copy(
        update={"topic_telemetry": f"{settings.topic_telemetry}-user-jo"}
    )
    create(of_a_user, of_a_user.topic_telemetry)
    publish(of_a_user, drove("jo", *range(1, FRAMES + 1)))
    wait_for_frames(database.url, {"jo": FRAMES})

    expected = {"first": FRAMES, "jo": FRAMES}
    grow(settings, to=4)
    publish(settings, drove("late", *range(1, FRAMES + 1)), partition=3)
    expected |= {"late": FRAMES}
    wait_for_frames(database.url, expected)
    assert_each_frame_once(database.url, expected)


def test_topics_of_others_are_left_alone(database, settings, others, supervisor):
    publish(settings, drove("ours", 1))
    wait_for_frames(database.url, {"ours": 1})
    wait_until(lambda: len(partitions_read(supervisor)) == 2)

    assert rows(database.url, "SELECT DISTINCT topic FROM partition_offsets") == [
        (settings.topic_telemetry,)
    ]
    assert rows(database.url, "SELECT key FROM sessions") == [("ours",)]


def partitions_read(supervisor) -> set[str]:
    workers = ray.get(supervisor.stats.remote(), timeout=WITHIN_S)["workers"].values()
    return {partition for worker in workers for partition in worker.get("partitions", {})}


def create(settings: KafkaSettings, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": settings.brokers})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(WITHIN_S)


def grow(settings: KafkaSettings, *, to: int) -> None:
    admin = AdminClient({"bootstrap.servers": settings.brokers})
    topic = settings.topic_telemetry
    admin.create_partitions([NewPartitions(topic, to)])[topic].result(WITHIN_S)
