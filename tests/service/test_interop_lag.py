"""Kafka's own tool for lag, told the truth: what it shows of ingest is what the store and
`purple-sector status` say.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.embedded.cache import entry, filled
from ingest.embedded.kafka.jars import VERSION, kafka_jars
from ingest.embedded.kafka.server import find_java
from ingest.embedded.process import ServiceUnavailable
from ingest.settings import DatabaseSettings
from serve.cli.status import read_status
from tests.service.audit import wait_for_frames
from tests.service.owner import drove
from tests.service.test_worker import commit, committed, delete_records, hosting, publish, settings
from tests.waiting import WITHIN_S, wait_until

__all__ = ["settings"]

FRAMES = 300
#: The tools come in a jar of their own, which no broker needs.
TOOLS_SHA256 = "4eb9a7fbfd63badfd8d1a677aa2d54b47b2b2d442ff7d68fd223972afea1954c"

Lags = dict[int, tuple[int, int, int]]


@pytest.fixture(scope="session")
def tools() -> list[str]:
    """The command that runs one of Kafka's tools, by the name of its class."""
    try:
        java, jars = find_java(), kafka_jars()
        folder = filled(entry(f"kafka-tools-{VERSION}"), fetch_tools)
    except (ServiceUnavailable, OSError, RuntimeError) as missing:
        pytest.skip(f"no Kafka tools: {missing}")
    return [str(java), "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{folder}/*:{jars}/*"]


def fetch_tools(folder: Path) -> None:
    from jgo.maven import MavenContext, PythonResolver  # an extra

    maven = MavenContext(resolver=PythonResolver(), repo_cache=folder / "repository")
    jar = maven.project("org.apache.kafka", "kafka-tools").at_version(VERSION).artifact().resolve()
    assert hashlib.sha256(jar.read_bytes()).hexdigest() == TOOLS_SHA256
    jar.rename(folder / jar.name)
    shutil.rmtree(folder / "repository")


@pytest.fixture
def described(tools, settings) -> Callable[[], Lags]:
    """Of each partition what ``kafka-consumer-groups --describe`` shows: where the group is, where
    the log ends, the lag.
    """

    def describe() -> Lags:
        command = [
            *tools,
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            "--describe",
        ]
        command += ["--bootstrap-server", settings.brokers, "--group", settings.consumer_group]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S)
        assert done.returncode == 0, done.stderr
        return dict(
            lag_of(line.split())
            for line in done.stdout.splitlines()
            if settings.topic_telemetry in line
        )

    return describe


def lag_of(columns: list[str]) -> tuple[int, tuple[int, int, int]]:
    partition, *numbers = map(int, columns[2:6])
    return partition, (numbers[0], numbers[1], numbers[2])


def test_lag_is_what_is_not_stored_yet(database, settings, described):
    """To the record, while ingest runs and when it is stopped, of an idle partition too; and our
    status says the same.
    """
    publish(settings, drove("a", *range(1, FRAMES + 1)))
    with hosting(settings, database.url, partitions=2):
        wait_for_frames(database.url, {"a": FRAMES})
        wait_until(lambda: committed(settings, 0) == FRAMES)
        assert described() == {0: (FRAMES, FRAMES, 0), 1: (0, 0, 0)}
        publish(settings, drove("a", *range(FRAMES + 1, FRAMES + 11)))
        wait_for_frames(database.url, {"a": FRAMES + 10})
    publish(settings, drove("a", *range(FRAMES + 11, FRAMES + 18)))

    shown = described()

    assert shown == {0: (FRAMES + 10, FRAMES + 17, 7), 1: (0, 0, 0)}
    ours = read_status(settings, DatabaseSettings(url=database.url)).partitions
    assert {p.partition: (p.next_offset, p.end_offset, p.lag) for p in ours} == shown


def test_lag_is_true_again_without_a_new_record(database, settings, described):
    """Group offsets are lost, expire and are reset by hand; a worker tells them anew when it starts
    and while it idles.
    """
    publish(settings, drove("a", *range(1, FRAMES + 1)))
    with hosting(settings, database.url):
        wait_for_frames(database.url, {"a": FRAMES})
    commit(settings, 17)
    assert described()[0] == (17, FRAMES, FRAMES - 17)

    with hosting(settings, database.url):
        wait_until(lambda: committed(settings, 0) == FRAMES)
        commit(settings, 17)
        wait_until(lambda: committed(settings, 0) == FRAMES)
        assert described() == {0: (FRAMES, FRAMES, 0)}


def test_records_that_retention_took_are_no_lag(database, settings, described):
    """They are a row of gaps, and nobody waits for them any more."""
    publish(settings, drove("a", *range(1, FRAMES + 1)))
    delete_records(settings, before=FRAMES - 20)

    with hosting(settings, database.url):
        wait_for_frames(database.url, {"a": 20})
        wait_until(lambda: committed(settings, 0) == FRAMES)
        assert described() == {0: (FRAMES, FRAMES, 0)}
