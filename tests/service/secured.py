"""A broker that grants nothing by itself, with the users and rights of docs/kafka-access.md."""

import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ingest.embedded.kafka.cluster import ADMIN, KafkaCluster
from ingest.embedded.process import ServiceUnavailable
from ingest.kafka.topics import create_topics
from ingest.settings import KafkaSettings
from tests.canaries import secret
from tests.paths import ROOT

DOCUMENT = ROOT / "docs" / "kafka-access.md"
TOOLS = {"kafka-acls.sh": "AclCommand", "kafka-configs.sh": "ConfigCommand"}


@dataclass(frozen=True, slots=True)
class Secured:
    """A broker with the users of the document, and the rights that its commands gave them."""

    cluster: KafkaCluster
    passwords: Mapping[str, SecretStr]

    def settings(self, user: str, **more: Any) -> KafkaSettings:
        given: dict[str, Any] = {
            "brokers": self.cluster.brokers,
            "security_protocol": "SASL_SSL",
            "username": user,
            "password": self.passwords[user],
            "ca_file": str(self.cluster.ca_file),
        }
        return KafkaSettings(_env_file=None, **given | more)


@pytest.fixture(scope="session")
def secured(service_folder: Path, tools: list[str]) -> Iterator[Secured]:
    try:
        cluster = KafkaCluster.start(service_folder / "secured", brokers=1, secured=True)
    except ServiceUnavailable as missing:
        pytest.skip(f"no broker: {missing}")
    with cluster:
        users = (ADMIN, "collector", "ingest", "bridge")
        secured = Secured(cluster, {user: cluster.add_user(user) for user in users})
        for password in secured.passwords.values():
            secret(password.get_secret_value())
        assert [outcome.problem for outcome in create_topics(secured.settings(ADMIN))] == [""] * 4
        grant_as_documented(secured, tools, service_folder / "secured")
        yield secured


def grant_as_documented(secured: Secured, tools: list[str], folder: Path) -> None:
    admin = folder / "admin.properties"
    admin.touch(mode=0o600)
    admin.write_text(java_properties(secured.settings(ADMIN)))
    lines = DOCUMENT.read_text().splitlines()
    commands = [line.split(maxsplit=1) for line in lines if ".sh " in line]
    assert len(commands) == 11
    for program, arguments in commands:
        words = shlex.split(arguments.replace('"$KAFKA_BROKERS"', secured.cluster.brokers))
        done = subprocess.run(
            [*tools, f"org.apache.kafka.tools.{TOOLS[program]}", *words],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


def java_properties(settings: KafkaSettings) -> str:
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    password = settings.password.get_secret_value()
    return "\n".join(
        [
            "security.protocol=SASL_SSL",
            "sasl.mechanism=SCRAM-SHA-512",
            (
                f'sasl.jaas.config={module} required username="{settings.username}"'
                f' password="{password}";'
            ),
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={settings.ca_file}",
        ]
    )
