"""What runs on a cluster of other processes, as a user at its head runs it: a fleet, and all of the
system.
"""

import os
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.client import HTTPException, RemoteDisconnected
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import pyarrow.parquet
import pytest
import ray

from analytics.fleet.batch import time_all
from analytics.fleet.jobs import TimingJob, recorded
from ingest.collectors.simulator.circuit import aldermoor_park, val_sarine
from ingest.embedded.certificates import CertificateAuthority
from ingest.embedded.process import free_port
from ingest.settings import KafkaSettings
from ingest.simulated_recordings import record
from tests.canaries import secret
from tests.cluster.memory import holds
from tests.cluster.nodes import Cluster, Node, purple_sector
from tests.key_pairs import renew
from tests.service.audit import assert_each_frame_once, wait_for_frames
from tests.service.traffic import Field
from tests.waiting import WITHIN_S, wait_until

COPIES = 20
#: The password of the database.
CANARY = secret("canary-7c20d4")
OURS = ("IngestWorker", "Supervisor", "ServeReplica")


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Two folders with a session many times, in one of them a session that is none."""
    folders = [tmp_path / "val_sarine", tmp_path / "aldermoor_park"]
    for seed, (folder, circuit) in enumerate(
        zip(folders, (val_sarine(), aldermoor_park()), strict=True)
    ):
        folder.mkdir()
        at = datetime(2026, 5, 1 + seed, tzinfo=UTC)
        made = record(
            tmp_path / f"{seed}.parquet", circuit, seed=seed, laps=2, started_at=at, rate_hz=10
        )
        for copy in range(COPIES):
            for suffix in (".parquet", ".json"):
                (folder / f"{seed}_{copy}{suffix}").hardlink_to(made.with_suffix(suffix))
    (folders[0] / "empty.parquet").touch()
    return folders


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[list[Node]]:
    """Two nodes with a CPU each."""
    nodes = [cluster.add("one"), cluster.add("two")]
    yield nodes
    for node in nodes:
        node.kill()


def test_nodes_come_and_go_while_a_fleet_is_timed(
    cluster: Cluster, recordings: list[Path], tmp_path: Path
) -> None:
    """At first none has a CPU; then two time; then one dies: the tables are those of a process that
    was left alone.
    """
    output, results = tmp_path / "output", tmp_path / "results"
    with timing(cluster, results, recordings, output) as command:
        wait_until(
            lambda: "with 0 CPUs yet: waiting" in output.read_text(), "a word about the CPUs"
        )
        # Whoever is to time one of these waits, with the only CPU of its node: so neither node can
        # do all.
        held = [hold(recorded([folder])[1], results / "timesheets") for folder in recordings]
        first, second = cluster.add("first"), cluster.add("second")
        for node in (first, second):
            wait_until(lambda node=node: times(node), "a node that times")
        second.kill()
        let_go = [os.open(pipe, os.O_RDONLY | os.O_NONBLOCK) for pipe in held]
        assert command.wait(WITHIN_S) == 0
    for pipe in let_go:
        os.close(pipe)
    first.kill()
    alone = time_all(recorded(recordings), tmp_path / "alone")

    assert f"{2 * COPIES} of them timed now; 1 could not be timed" in output.read_text()
    assert sum(alone.bests.column("sessions").to_pylist()) == 2 * COPIES
    for name in ("bests", "lap_bands", "mini_bands", "speed_bands"):
        assert pyarrow.parquet.read_table(results / f"{name}.parquet") == getattr(alone, name)
    (ours,) = alone.failed.to_pylist()
    (theirs,) = pyarrow.parquet.read_table(results / "failed.parquet").to_pylist()
    assert theirs["session"] == ours["session"] == "empty"
    # A node, which is not where the command runs.
    assert theirs["reason"].startswith(f"{ours['reason']} (on ")


def test_the_system_on_a_cluster(
    cluster: Cluster, nodes: list[Node], kafka, database, tmp_path: Path
) -> None:
    """Started, started again, and stopped by three commands: what was sent meanwhile is stored
    once, and seen. A password of its settings is in nothing that Ray stores.
    """
    settings = KafkaSettings(
        brokers=kafka.brokers,
        topic_telemetry="spread",
        topic_commands="spread-commands",
        topic_status_reports="spread-status-reports",
        topic_laps="spread-laps",
    )
    page = f"https://127.0.0.1:{(port := free_port())}/"
    authority = CertificateAuthority(tmp_path / "authority")
    chain, key = renew(authority, tmp_path)
    viewers = ssl.create_default_context(cafile=authority.ca_file)
    said = {
        "KAFKA_BROKERS": settings.brokers,
        "KAFKA_TOPIC_TELEMETRY": settings.topic_telemetry,
        "KAFKA_TOPIC_COMMANDS": settings.topic_commands,
        "KAFKA_TOPIC_STATUS_REPORTS": settings.topic_status_reports,
        "KAFKA_TOPIC_LAPS": settings.topic_laps,
        "DATABASE_URL": with_password(database.url),
        "WS_PORT": str(port),
        "WS_TLS_CERTIFICATE": str(chain),
        "WS_TLS_KEY": str(key),
    }
    (tmp_path / "settings.env").write_text(
        "".join(f"{name}={value}\n" for name, value in said.items())
    )
    environment = {name: value for name, value in cluster.environment.items() if name not in said}
    start = ("cluster", "start", "--env-file", str(tmp_path / "settings.env"))

    key.chmod(0o644)
    refused = purple_sector(*start, environment=environment)
    assert refused.returncode == 2
    assert f"WS_TLS_KEY={key}: other users may use the key" in refused.stderr
    assert ours(nodes) == {}, "nothing runs without the page"
    key.chmod(0o600)

    started = purple_sector(*start, environment=environment)
    assert started.returncode == 0, started.stderr
    assert started.stdout.splitlines()[-1] == f"the page, on {page}"
    field = Field(cars=4, frames=3_000)
    field.publish(settings, "spread")
    wait_for_frames(database.url, field.expected("spread"))
    assert b"<title>" in get(page, viewers)
    with pytest.raises(RemoteDisconnected):
        get(page.replace("https", "http"), viewers)
    renew(authority, tmp_path)
    wait_until(lambda: served(port) in chain.read_text(), "the renewed certificate")
    # Ray still counts the node that the test before killed, and a worker that is replaced takes
    # seconds to end.
    wait_until(lambda: number_of_workers(nodes) == len(nodes), "a worker per node")
    before = not_replaced(nodes)

    again = purple_sector(
        *start, environment=environment | {"INGEST_BATCH_MAX_AGE_MS": "300", "WS_SOCKETS": "9"}
    )
    assert again.returncode == 0, again.stderr
    of_ingest, of_page = again.stdout.splitlines()[-2:]
    assert of_ingest.startswith(
        "ingest runs already, with another INGEST_BATCH_MAX_AGE_MS, and is left alone"
    )
    assert of_page.startswith("the page runs already, with another WS_SOCKETS, and is left alone")
    assert "cluster stop" in of_ingest
    assert "cluster stop" in of_page
    assert not_replaced(nodes) == before
    wait_until(lambda: number_of_workers(nodes) == len(nodes), "a worker per node")
    field.publish(settings, "more")
    wait_for_frames(database.url, field.expected("more"))
    assert_each_frame_once(database.url, field.expected("spread") | field.expected("more"))

    assert_nowhere_in_ray(cluster)
    stopped = purple_sector("cluster", "stop", environment=environment)
    assert stopped.returncode == 0, stopped.stderr
    wait_until(lambda: not ours(nodes), "an end")
    with pytest.raises(URLError):
        get(page, viewers)


def test_a_ray_of_another_command_is_no_cluster(cluster: Cluster, ray_cluster: None) -> None:
    """`cluster stop` beside `up` would stop the ingest of `up`."""
    address = ray.get_runtime_context().gcs_address
    refused = purple_sector(
        "cluster", "stop", environment=cluster.environment | {"RAY_ADDRESS": address}
    )

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "RAY_ADDRESS names yours" in refused.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"RAY_ADDRESS": "nowhere"}, "Invalid address format: nowhere"),
        (
            {"RAY_AUTH_TOKEN_PATH": "", "HOME": "/nonexistent"},
            "RAY_AUTH_MODE=token takes it from ~/.ray/auth_token",
        ),
    ],
)
def test_why_no_cluster_was_joined_is_a_line(
    cluster: Cluster, wrong: dict[str, str], said: str
) -> None:
    refused = purple_sector("cluster", "stop", environment=cluster.environment | wrong)

    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("purple-sector: the Ray cluster was not joined")
    assert said in line


def with_password(url: str) -> str:
    """The same address with a password, which the tests' own server does not read."""
    parts = urlsplit(url)
    user, _, here = parts.netloc.rpartition("@")
    return url if ":" in user else parts._replace(netloc=f"{user}:{CANARY}@{here}").geturl()


def assert_nowhere_in_ray(cluster: Cluster) -> None:
    """The password is in no memory of a GCS or raylet, which keep the arguments of all actors and
    of Serve's deployments; and in no file, command line, environment or metric of Ray.
    """
    keepers = [
        process
        for node in cluster.nodes
        for name in ("gcs_server", "raylet")
        for process in node.named(name)
    ]
    assert len(keepers) >= 4, "the head's two, and two raylets"
    in_gcs = [keeper.pid for keeper in keepers if keeper.name() == "gcs_server"]
    assert any(holds(pid, b"spread-commands") for pid in in_gcs), "the public settings are there"
    assert [keeper for keeper in keepers if holds(keeper.pid, CANARY.encode())] == []
    files = [path for path in cluster.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
    assert not any(CANARY in argument for node in cluster.nodes for argument in node.arguments())
    assert not any(CANARY in value for node in cluster.nodes for value in node.environments())
    assert [name for name, text in metrics(cluster).items() if CANARY in text] == []


def metrics(cluster: Cluster) -> dict[str, str]:
    """What each address of the cluster answers that knows metrics: nodes' agents, and HAProxy."""
    found = {}
    for port in sorted({port for node in cluster.nodes for port in node.ports()}):
        with (
            suppress(OSError, HTTPException),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
        ):
            found[f"port {port}"] = answer.read().decode(errors="replace")
    assert any("ray_" in text for text in found.values()), "no agent of a node answered"
    assert any("haproxy_" in text for text in found.values()), "HAProxy did not answer"
    return found


def hold(entry: TimingJob, sheets: Path) -> Path:
    """A pipe in the place of the file that is written to before a session is timed: this waits for
    somebody who reads it.
    """
    pipe = sheets / f".{entry.name}.tries"
    os.mkfifo(pipe)
    return pipe


@contextmanager
def timing(
    cluster: Cluster, results: Path, recordings: list[Path], output: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The command, which is gone at the end. What it put out is shown with the test that fails."""
    with output.open("wb") as file:
        command = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "serve.cli.main",
                "laps",
                "fleet",
                str(results),
                *map(str, recordings),
                "--on-cluster",
            ],
            env=cluster.environment,
            stdout=file,
            stderr=file,
        )
    try:
        yield command
    finally:
        command.kill()
        command.wait()
        sys.stdout.write(output.read_text())


def times(node: Node) -> bool:
    return any("_time" in title for title in node.workers().values())


def ours(nodes: list[Node]) -> dict[int, str]:
    """Processes of the system: the proxy and the controller are Ray's."""
    named = {pid: title for node in nodes for pid, title in node.workers().items()}
    return {pid: title for pid, title in named.items() if any(name in title for name in OURS)}


def number_of_workers(nodes: list[Node]) -> int:
    return sum("IngestWorker" in title for title in ours(nodes).values())


def not_replaced(nodes: list[Node]) -> set[int]:
    """Processes that live until the system is stopped: the supervisor and the replicas, but no
    ingest worker.
    """
    return {pid for pid, title in ours(nodes).items() if "IngestWorker" not in title}


def get(url: str, viewers: ssl.SSLContext) -> bytes:
    with urllib.request.urlopen(url, timeout=WITHIN_S, context=viewers) as answer:
        return bytes(answer.read())


def served(port: int) -> str:
    """The certificate that a new connection gets, in PEM."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=WITHIN_S)
