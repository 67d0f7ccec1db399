"""compose.yaml's Kafka without Docker: the image's own program makes its settings, and the Kafka of
our tests runs on them.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.embedded.kafka.jars import NAME
from ingest.embedded.kafka.server import READY_WITHIN_S, lists_topics
from ingest.embedded.process import Process, free_ports
from ingest.kafka.topics import Cluster, create_topics, describe_topics
from ingest.settings import KafkaSettings
from tests.interop.session import send
from tests.service.test_interop_lag import tools
from tests.unit.ingest.test_compose import services
from tests.waiting import WITHIN_S

__all__ = ["tools"]

# What the image has, and what its program insists on finding beside the settings.
CLUSTER_ID = "cHVycGxlLXNlY3Rvci0wMQ"
LOGGING = """
Configuration:
  Appenders: {Console: {name: STDOUT}}
  Loggers: {Root: {level: WARN, AppenderRef: [{ref: STDOUT}]}, Logger: [{name: kafka, level: WARN}]}
"""
#: The class behind the script that asks whether the container is healthy.
HEALTH_CHECK = "org.apache.kafka.tools.BrokerApiVersionsCommand"


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def environment(tmp_path, port) -> dict[str, str]:
    """What compose.yaml sets, but for what a container has for itself: ports, all its addresses and
    a folder.
    """
    (controller,) = free_ports(1)
    kafka = services({"KAFKA_PORT": str(port)})["kafka"]
    given = {
        name: value.replace(":9093", f":{controller}")
        for name, value in kafka["environment"].items()
    }
    given["KAFKA_LISTENERS"] = given["KAFKA_LISTENERS"].replace("://:", "://127.0.0.1:")
    return given | {"KAFKA_LOG_DIRS": str(tmp_path / "data"), "CLUSTER_ID": CLUSTER_ID}


@pytest.fixture
def composed(tmp_path, tools, environment, port) -> Iterator[KafkaSettings]:
    """The broker as the container would run it."""
    properties = prepared(tmp_path, tools, environment)
    log = tmp_path / "kafka.log"
    command = [*tools, *environment["KAFKA_HEAP_OPTS"].split(), "kafka.Kafka", str(properties)]
    broker = Process.start(NAME, command, log_file=log)
    try:
        broker.await_ready(
            lambda: lists_topics(f"127.0.0.1:{port}", broker_id=1), deadline_s=READY_WITHIN_S
        )
        yield KafkaSettings(_env_file=None, brokers=f"127.0.0.1:{port}")
    finally:
        broker.stop()


def prepared(folder: Path, tools: list[str], environment: dict[str, str]) -> Path:
    """The settings that the image makes of its environment; it formats the data folder, too."""
    for name in ("default", "mounted", "final"):
        (folder / name).mkdir()
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (folder / "default" / name).write_text(LOGGING)
    properties = folder / "final" / "server.properties"
    properties.touch()
    command = [
        *tools,
        "kafka.docker.KafkaDockerWrapper",
        "setup",
        "-D",
        "default",
        "-M",
        "mounted",
        "-F",
        "final",
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return properties


def test_kafka_of_compose_serves_this_machine_and_has_the_topics_that_we_make(composed, tools):
    # Nobody has made topics yet: a collector waits for its own, and makes it.
    send(composed, "early", 10)
    assert Cluster(composed, timeout_s=WITHIN_S).topics().keys() == {composed.topic_telemetry}

    create_topics(composed)

    reports = describe_topics(composed)
    assert {report.name: report.differences for report in reports if report.differences} == {}
    assert len(reports) == 4
    asked = [*tools, HEALTH_CHECK, "--bootstrap-server", composed.brokers]
    healthy = subprocess.run(asked, capture_output=True, text=True, timeout=WITHIN_S)
    assert healthy.returncode == 0, healthy.stderr
    assert f"{composed.brokers} (id: 1 " in healthy.stdout
