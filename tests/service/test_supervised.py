"""The broker and the database that are killed come back on their port with what they had."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ingest.embedded.kafka.jars import kafka_jars
from ingest.embedded.kafka.server import Kafka, find_java, lists_topics
from ingest.embedded.postgres import Postgres
from ingest.embedded.process import ServiceUnavailable
from serve.local.supervision import supervised
from tests.waiting import wait_until


def kill_until_back(pid: Callable[[], int], said: list[str]) -> None:
    """Kill the process, and wait until another one is said to be back in its place."""
    lines = len(said)
    os.kill(pid(), signal.SIGKILL)
    wait_until(lambda: any("is back" in line for line in said[lines:]), "the service")


@pytest.fixture
def folder(service_folder: Path, request: pytest.FixtureRequest) -> Path:
    return service_folder / str(request.node.name)


def test_a_database_that_is_killed_twice_comes_back_with_its_rows(folder: Path) -> None:
    said: list[str] = []
    with Postgres.start(folder) as server, supervised({"the database": server}, said.append):
        with psycopg.connect(server.url, autocommit=True) as conn:
            conn.execute("CREATE TABLE lap AS SELECT generate_series(1, 1000) AS frame")
        url = server.url
        for _ in range(2):
            kill_until_back(lambda: server.pid, said)

            with psycopg.connect(url) as conn:
                assert conn.execute("SELECT count(*) FROM lap").fetchone() == (1000,)
        pid = server.pid
    assert len(said) == 4
    assert "the database has ended by itself" in said[0]
    assert not Path(f"/proc/{pid}").exists()


def test_a_broker_that_is_killed_twice_comes_back_on_its_port(folder: Path) -> None:
    try:
        java, jars = find_java(), kafka_jars()
    except ServiceUnavailable as missing:
        pytest.skip(str(missing))
    said: list[str] = []
    with (
        Kafka.start(folder, java=java, jars=jars) as broker,
        supervised({"the broker": broker}, said.append),
    ):
        address = broker.brokers
        for _ in range(2):
            kill_until_back(lambda: broker.pid, said)

            assert lists_topics(address)
    assert len(said) == 4
    assert "the broker has ended by itself" in said[0]
