"""The contract runs on every edition of the store, and on our broker or the environment's."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.batching.partition_log import Partition
from ingest.embedded.broker import Broker
from ingest.embedded.kafka.server import Kafka, Node
from ingest.settings import KafkaSettings
from tests.conftest import Database, Elsewhere
from tests.contract.clients import disconnect
from tests.contract.topics import new_partition, settings_of
from tests.service.owner import Owner

SERVERS = ["postgresql_server", "timescaledb_server"]

# By default it looks every five minutes, and not in its first half minute.
DELETES_SOON = {"log.retention.check.interval.ms": "500", "log.initial.task.delay.ms": "500"}


@pytest.fixture(scope="session")
def broker(kafka: Broker | Elsewhere) -> Iterator[Broker | Elsewhere]:
    """A broker that other tests use too: topics are one's own, and it is not stopped."""
    yield kafka
    disconnect()


@pytest.fixture(scope="module")
def own_broker(kafka: Broker | Elsewhere, service_folder: Path) -> Iterator[Broker]:
    """A broker that may be killed, and that deletes old records soon."""
    if isinstance(kafka, Elsewhere):
        pytest.skip(f"the brokers at {kafka.brokers} are not ours to kill")
    with Kafka.start(service_folder / "own-broker", node=Node(settings=DELETES_SOON)) as started:
        yield started
        disconnect()


@pytest.fixture
def settings(broker: Broker | Elsewhere) -> KafkaSettings:
    return settings_of(broker.brokers)


@pytest.fixture
def partition(settings: KafkaSettings) -> Partition:
    """The first partition of a topic of frames, as collectors and workers know it."""
    return new_partition(settings)


@pytest.fixture(
    scope="session", params=["elsewhere"] if os.environ.get("DATABASE_URL") else SERVERS
)
def database_server(request: pytest.FixtureRequest) -> str:
    """The server that DATABASE_URL names, else each of ours in turn."""
    return os.environ.get("DATABASE_URL") or str(request.getfixturevalue(request.param))


@pytest.fixture
def owner(database: Database) -> Iterator[Owner]:
    """The owner of a partition in a database of the test's own."""
    with Owner(database.url) as owner:
        yield owner
