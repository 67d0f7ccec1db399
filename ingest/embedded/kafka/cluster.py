"""Runs Apache Kafka with several brokers on this machine, open or secured, as one service.

Each broker is a controller too, in a folder and a process of its own. So one can be killed, frozen
or restarted while the others serve. Topics have three copies, and a record is acknowledged when two
have it.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # their package does not mark its exports
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from ingest.cancellation import Cancelled, never
from ingest.embedded.certificates import CertificateAuthority
from ingest.embedded.kafka.jars import NAME, VERSION, kafka_jars
from ingest.embedded.kafka.server import Kafka, Node, find_java
from ingest.embedded.ports import keep_ports
from ingest.embedded.process import Progress, ServiceUnavailable, free_port, quiet
from ingest.embedded.service import Stoppable

ADMIN = "admin"
IN_SYNC_WITHIN_S = 60.0
_BROKERS_OWN = "broker"  # the name on the certificates that brokers show each other
_HEAP_MB = 256
# Longer than for one broker alone: where CPUs are short, late votes elect no leader, again and
# again.
_QUORUM = {
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
}
_THREADS = {"num.io.threads": "2", "num.network.threads": "2"}  # of each broker; all share the CPUs
_ITERATIONS = 4096  # of the password's hash; the least that Kafka accepts

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Security:
    """TLS for everybody, SCRAM-SHA-512 for clients, certificates among brokers; no rights without a
    rule.
    """

    ca_file: Path
    certificate: Path

    def secured(self, node: Node) -> Node:
        """Return the same node, with a third port for the brokers among each other."""
        port = free_port()
        settings = self._settings(node, port) | dict(node.settings)
        return replace(node, settings=settings, client=self._client(port))

    def _settings(self, node: Node, internal_port: int) -> dict[str, str]:
        internal = f"INTERNAL://127.0.0.1:{internal_port}"
        return {
            "listeners": f"CLIENT://127.0.0.1:{node.port},{internal},CONTROLLER://127.0.0.1:{node.controller_port}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{node.port},{internal}",
            "listener.security.protocol.map": "CLIENT:SASL_SSL,INTERNAL:SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "INTERNAL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificate),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca_file),
            "listener.name.internal.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.client.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:CN={_BROKERS_OWN};User:{ADMIN}",
        }

    def _client(self, internal_port: int) -> dict[str, str]:
        """Return the settings of a client with a broker's own certificate, used before there is any
        password.
        """
        return {
            "bootstrap.servers": f"127.0.0.1:{internal_port}",
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.ca_file),
            "ssl.certificate.location": str(self.certificate),
            "ssl.key.location": str(self.certificate),
        }


class KafkaCluster(Stoppable):
    """Runs the brokers of one cluster. Use `start`, then `stop`; or a ``with`` block."""

    name = NAME
    version = VERSION

    def __init__(self, nodes: list[Kafka], ca_file: Path | None) -> None:
        self.nodes = nodes
        self.ca_file = ca_file  # None: the cluster is open
        self.changes = ""  # of its ports since the last start, in words
        self._admin = _admin_of(nodes)

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        brokers: int = 3,
        secured: bool = False,
        settings: Mapping[str, str] | None = None,
        progress: Progress = quiet,
        cancelled: Cancelled = never,
    ) -> Self:
        """Start the brokers, each on a folder below ``folder``; ``settings`` are properties of
        each.

        Raises ServiceUnavailable, with no process left running.
        """
        java, jars = find_java(), kafka_jars(progress=progress, cancelled=cancelled)
        security = _security(folder.resolve() / "certificates") if secured else None
        folder.mkdir(parents=True, exist_ok=True)
        ports = keep_ports(folder, [name for id in range(1, brokers + 1) for name in _names(id)])
        nodes = _nodes(ports.by_name, brokers, security, settings or {})

        def start_one(node: Node) -> Kafka:
            return Kafka.start(
                folder / f"broker-{node.id}",
                node=node,
                java=java,
                jars=jars,
                progress=progress,
                cancelled=cancelled,
            )

        cluster = cls(_all_or_none(start_one, nodes), security.ca_file if security else None)
        cluster.changes = ports.changes
        return cluster

    @property
    def brokers(self) -> str:
        """Return the bootstrap addresses for clients."""
        return ",".join(broker.brokers for broker in self.nodes)

    def broker(self, id: int) -> Kafka:
        """Return the broker of that id, from 1, for example to kill or restart it."""
        return self.nodes[id - 1]

    def add_user(self, name: str) -> SecretStr:
        """Make a user with a new password, or give it a new one. It has no rights yet, unless it is
        `ADMIN`.
        """
        # Sent over TLS: on a command line everybody on this machine could read it.
        password = secrets.token_urlsafe(24)
        hashed = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        change = UserScramCredentialUpsertion(name, hashed, password.encode())
        self._admin.alter_user_scram_credentials([change])[name].result(30)
        return SecretStr(password)

    def leader_of(self, topic: str, partition: int) -> int:
        """Return the id of the broker that leads a partition; -1 while there is none."""
        leader: int = (
            self._admin.list_topics(topic, timeout=10).topics[topic].partitions[partition].leader
        )
        return leader

    def roll(self) -> None:
        """Restart one broker after the other, each when all copies are in sync again."""
        for broker in self.nodes:
            broker.restart()
            self.await_in_sync()

    def await_in_sync(self, *, within_s: float = IN_SYNC_WITHIN_S) -> None:
        """Wait until every partition has all its copies in sync. Raises ServiceUnavailable."""
        gives_up_at = time.monotonic() + within_s
        while behind := self._behind():
            if time.monotonic() > gives_up_at:
                raise ServiceUnavailable(
                    NAME, f"{behind} partitions have copies that are behind after {within_s:.0f} s"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """End all brokers."""
        _at_once(Kafka.stop, self.nodes)

    def _behind(self) -> int:
        """Count the partitions that lack a copy in sync; -1 while no broker answers."""
        try:
            cluster = self._admin.list_topics(timeout=5)
        except KafkaException:
            return -1
        partitions = [p for topic in cluster.topics.values() for p in topic.partitions.values()]
        return sum(len(p.isrs) < len(p.replicas) for p in partitions)


def _security(folder: Path) -> Security:
    authority = CertificateAuthority(folder)
    return Security(authority.ca_file, authority.issue(_BROKERS_OWN))


def _names(id: int) -> tuple[str, str]:
    return f"broker {id}", f"controller {id}"


def _nodes(
    ports: Mapping[str, int], brokers: int, security: Security | None, settings: Mapping[str, str]
) -> list[Node]:
    own = [(id, *(ports[name] for name in _names(id))) for id in range(1, brokers + 1)]
    voters = [f"{id}@127.0.0.1:{controller}" for id, _, controller in own]
    common = _QUORUM | _THREADS | dict(settings)
    node = partial(Node, voters=voters, settings=common, heap_mb=_HEAP_MB)
    nodes = [node(id, port=port, controller_port=controller) for id, port, controller in own]
    return nodes if security is None else [security.secured(node) for node in nodes]


def _admin_of(nodes: list[Kafka]) -> AdminClient:
    """Open a client with all rights. It is quiet, for its brokers are killed and come back."""
    config: dict[str, Any] = {"log_level": 0} | dict(nodes[0].node.client)
    addresses = [broker.node.client.get("bootstrap.servers", broker.brokers) for broker in nodes]
    return AdminClient(config | {"bootstrap.servers": ",".join(addresses)})


def _all_or_none(start: Callable[[Node], Kafka], nodes: list[Node]) -> list[Kafka]:
    """Start all brokers at once, for none is ready before most are. If one fails, kill all and
    raise its error.
    """
    with ThreadPoolExecutor(len(nodes)) as pool:
        starting = [pool.submit(start, node) for node in nodes]
    started = [s.result() for s in starting if s.exception() is None]
    if len(started) < len(nodes):
        _at_once(Kafka.kill, started)
        raise next(error for s in starting if (error := s.exception()) is not None)
    return started


def _at_once(act: Callable[[Kafka], None], brokers: Iterable[Kafka]) -> None:
    """Apply ``act`` to all at once. In turn, the last brokers could not leave in order without the
    others.
    """
    with ThreadPoolExecutor() as pool:
        list(pool.map(act, brokers))
