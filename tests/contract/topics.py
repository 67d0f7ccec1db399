"""Topics that no other test has, made as the code makes them."""

import contextlib
import uuid
from dataclasses import replace

from ingest.batching.partition_log import Partition
from ingest.errors import BrokerUnavailable
from ingest.kafka.partition_consumer import PartitionConsumer
from ingest.kafka.topics import Cluster, open_admin, telemetry_spec
from ingest.settings import KafkaSettings
from tests.waiting import WITHIN_S, wait_until


def settings_of(brokers: str) -> KafkaSettings:
    """Names of topics and of a group that are nobody else's."""
    mine = uuid.uuid4().hex[:8]
    names = {
        f"topic_{name}": f"{name}-{mine}"
        for name in ("telemetry", "commands", "status_reports", "laps")
    }
    return KafkaSettings(_env_file=None, brokers=brokers, consumer_group=f"group-{mine}", **names)


def new_partition(settings: KafkaSettings, **config: str) -> Partition:
    """The first one of a new topic of frames, configured as ours are but for ``config``."""
    spec = telemetry_spec(settings, settings.topic_telemetry)
    created = Cluster(settings, timeout_s=WITHIN_S).create(
        replace(spec, config=dict(spec.config) | config)
    )
    assert not created.problem, created
    partition = Partition(spec.name, 0)
    await_leader(settings, partition)
    return partition


def await_leader(settings: KafkaSettings, partition: Partition) -> None:
    """A broker is named leader of a new partition a moment before it is; a worker tries again,
    too.
    """

    def answers() -> bool:
        with contextlib.suppress(BrokerUnavailable):
            return source.offsets() is not None
        return False

    with PartitionConsumer(settings, partition) as source:
        wait_until(answers)


def delete_topic(settings: KafkaSettings, name: str) -> None:
    """Delete it, and wait until the brokers have heard of it."""
    admin = open_admin(settings)  # an answer comes only while its client lives
    admin.delete_topics([name])[name].result(WITHIN_S)
    wait_until(lambda: name not in Cluster(settings, timeout_s=WITHIN_S).topics())
