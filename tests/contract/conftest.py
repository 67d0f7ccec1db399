"""The contract runs on everything that may stand in its place: both brokers, and every edition of
the store.

What one of them cannot do is a strict xfail with the reason, written above the fact that it breaks:
it fails on the day that it holds.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.batching.partition_log import Partition
from ingest.embedded.broker import Broker
from ingest.embedded.kafka.server import Kafka, Node
from ingest.embedded.mesh import MeshBroker
from ingest.embedded.process import ServiceUnavailable
from ingest.settings import KafkaSettings
from tests.conftest import Database, Elsewhere
from tests.contract.clients import disconnect
from tests.contract.gaps import BROKERS
from tests.contract.topics import new_partition, settings_of
from tests.service.owner import Owner
from tests.waiting import WITHIN_S

SERVERS = ["postgresql_server", "timescaledb_server"]

# By default it looks every five minutes, and not in its first half minute.
DELETES_SOON = {"log.retention.check.interval.ms": "500", "log.initial.task.delay.ms": "500"}


@pytest.fixture(scope="session")
def apache_kafka(kafka: Broker | Elsewhere) -> Iterator[Broker | Elsewhere]:
    """Apache Kafka and nothing that stands in for it."""
    if isinstance(kafka, MeshBroker):
        pytest.skip(
            f"no Apache Kafka: tests have {kafka.name} instead; `purple-sector up` says why"
        )
    yield kafka
    disconnect()


@pytest.fixture(scope="session")
def mesh(service_folder: Path) -> Iterator[MeshBroker]:
    """The broker in memory."""
    try:
        broker = MeshBroker.start(service_folder / "mesh")
    except ServiceUnavailable as missing:
        pytest.skip(str(missing))
    with broker:
        yield broker
        disconnect()


@pytest.fixture
def patience_s(request: pytest.FixtureRequest) -> float:
    """What is known not to come about is not waited for as long as the rest."""
    return 10.0 if request.node.get_closest_marker("xfail") else WITHIN_S


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Broker | Elsewhere:
    """A broker that other tests use too: topics are one's own, and it is not stopped."""
    found: Broker | Elsewhere = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=BROKERS, scope="module")
def own_broker(request: pytest.FixtureRequest, service_folder: Path) -> Iterator[Broker]:
    """A broker that may be killed, and that deletes old records soon."""
    folder = service_folder / f"own-{request.param}"
    if request.param == "mesh":
        request.getfixturevalue("mesh")
        started: Broker = MeshBroker.start(folder)
    else:
        shared = request.getfixturevalue("apache_kafka")
        if isinstance(shared, Elsewhere):
            pytest.skip(f"the brokers at {shared.brokers} are not ours to kill")
        started = Kafka.start(folder, node=Node(settings=DELETES_SOON))
    with started:
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
