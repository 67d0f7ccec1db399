"""Each service starts, answers, comes back after a crash with what it had, and leaves nothing
behind.
"""

import functools
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ingest.embedded import timescale
from ingest.embedded.cache import cache_folder
from ingest.embedded.kafka.class_archive import write_archive
from ingest.embedded.kafka.jars import kafka_jars, wanted
from ingest.embedded.kafka.server import Kafka, Node, find_java
from ingest.embedded.postgres import FindPrograms, Postgres, embedded_programs
from ingest.embedded.process import Process, ServiceUnavailable, Step, free_port
from ingest.embedded.timescale import timescale_programs
from ingest.errors import PurpleSectorError
from tests.waiting import WITHIN_S

QUIET: dict[str, Any] = {"log_level": 0}


@pytest.fixture(scope="module")
def jars() -> Path:
    try:
        find_java()
        folder = kafka_jars()
    except ServiceUnavailable as missing:
        pytest.skip(str(missing))
    return folder


@pytest.fixture
def folder(service_folder: Path, request: pytest.FixtureRequest) -> Path:
    return service_folder / str(request.node.name)


def make_topic(brokers: str, topic: str) -> None:
    # Named, because the answer never comes once the client is collected.
    admin = AdminClient({"bootstrap.servers": brokers} | QUIET)
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(WITHIN_S)


def produce(brokers: str, topic: str, *, records: int) -> None:
    producer = Producer({"bootstrap.servers": brokers, "acks": "all"} | QUIET)
    for number in range(records):
        producer.produce(topic, str(number).encode(), partition=0)
    assert producer.flush(WITHIN_S) == 0


def count(brokers: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "nobody"} | QUIET)
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=WITHIN_S)
    finally:
        consumer.close()
    return int(end)


def gone(pid: int) -> bool:
    """Whether the process ends; one that nobody has buried yet counts as ended."""
    gives_up_at = time.monotonic() + WITHIN_S
    while time.monotonic() < gives_up_at:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def can_listen(port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    """Whoever stops the command does not wait for a server that is not ready."""
    process = Process.start("sleep", ["sleep", "600"], log_file=tmp_path / "log")
    asked: list[int] = []
    with pytest.raises(ServiceUnavailable, match="was stopped while starting"):
        process.await_ready(
            lambda: asked.append(1) is not None,
            deadline_s=WITHIN_S,
            cancelled=lambda: len(asked) > 2,
        )
    assert gone(process.pid)


@pytest.mark.parametrize("programs", [embedded_programs, timescale_programs])
def test_laps_survive_a_crash_of_postgresql(folder: Path, programs: FindPrograms) -> None:
    """What was committed is there after kill -9 and after a stop, on the same port."""
    with Postgres.start(folder, programs=programs) as server:
        with psycopg.connect(server.url, autocommit=True) as conn:
            conn.execute("CREATE TABLE lap AS SELECT generate_series(1, 1000) AS frame")
        port = server.port

        server.kill()
        server.restart()

        assert server.port == port
        with psycopg.connect(server.url) as conn:
            assert conn.execute("SELECT count(*) FROM lap").fetchone() == (1000,)

    with Postgres.start(folder, programs=programs) as again, psycopg.connect(again.url) as conn:
        assert again.port == port
        assert conn.execute("SELECT count(*) FROM lap").fetchone() == (1000,)


def test_one_postgresql_does_not_start_on_the_data_of_another(folder: Path) -> None:
    """The wheel's release and Debian's differ: who starts the wrong one is told so."""
    with Postgres.start(folder, programs=timescale_programs):
        pass

    with pytest.raises(
        ServiceUnavailable, match=r"PostgreSQL: .*is of release 17.*installed is PostgreSQL 18"
    ):
        Postgres.start(folder, programs=embedded_programs)


def test_timescaledb_is_what_its_name_states(folder: Path) -> None:
    with Postgres.start(folder, programs=timescale_programs, durable=False) as server:
        assert server.name == timescale.installed()
        with psycopg.connect(server.url, autocommit=True) as conn:
            conn.execute("CREATE EXTENSION timescaledb")
            row = conn.execute(
                "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
            ).fetchone()

    assert row is not None
    assert server.name.endswith(f"with TimescaleDB {row[0]}")


def test_packages_that_cannot_be_had_are_an_error_that_states_what_to_do(
    tmp_path: Path, monkeypatch
) -> None:
    """Without apt there is no TimescaleDB to unpack, and nothing half-made is left in the cache."""
    monkeypatch.setenv("PURPLE_SECTOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(
        ServiceUnavailable,
        match=r"TimescaleDB: its packages need apt-get; install it, set DATABASE_URL",
    ):
        timescale.fetch_packages()

    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".lock"]


def test_postgresql_comes_back_when_another_program_has_its_old_process_id(folder: Path) -> None:
    """After a reboot the number in a stale lock file may be anybody's."""
    with Postgres.start(folder, durable=False) as server:
        server.kill()
        lock = folder / "data" / "postmaster.pid"
        lock.write_text("\n".join([str(os.getpid()), *lock.read_text().splitlines()[1:]]) + "\n")

        server.restart()

        assert server.pid != os.getpid()


def test_kill_ends_a_query_too(folder: Path) -> None:
    """A backend that computes does not notice that its server is gone."""
    with (
        Postgres.start(folder, durable=False) as server,
        psycopg.connect(server.url, autocommit=True) as conn,
    ):
        pid = conn.info.backend_pid
        query = threading.Thread(target=_until_cut_off, args=(conn,))
        query.start()

        server.kill()

        query.join(WITHIN_S)
        assert gone(pid)


def _until_cut_off(conn: psycopg.Connection) -> None:
    with pytest.raises(psycopg.OperationalError):
        conn.execute("SELECT count(*) FROM generate_series(1, 10000000000)")


def test_postgresql_takes_its_temporary_folder_with_it() -> None:
    server = Postgres.start(durable=False)
    pid, port, folder = server.pid, server.port, server.folder

    server.stop()

    assert gone(pid)
    assert can_listen(port)
    assert not folder.exists()


def test_frames_survive_a_crash_of_kafka(folder: Path, jars: Path) -> None:
    """Topics and records are there after kill -9 and after a stop; the address stays."""
    with Kafka.start(folder, jars=jars) as broker:
        make_topic(broker.brokers, "telemetry")
        produce(broker.brokers, "telemetry", records=500)
        address = broker.brokers

        broker.kill()
        broker.restart()

        assert broker.brokers == address
        assert count(broker.brokers, "telemetry") == 500

    with Kafka.start(folder, jars=jars) as again:
        assert again.brokers == address
        assert count(again.brokers, "telemetry") == 500
        pid = again.pid
    assert gone(pid)
    assert can_listen(again.node.port)


def test_a_kept_snapshot_makes_the_next_folder_and_a_damaged_one_stops_no_broker(
    folder: Path, jars: Path, tmp_path: Path
) -> None:
    """Only the first folder of a release takes a JVM for its formatting."""
    cached = tmp_path / jars.name
    cached.symlink_to(jars)
    kept = cached.with_name(f"{jars.name}.checkpoint")
    with Kafka.start(folder / "first", jars=cached) as first:
        make_topic(first.brokers, "laps")
    made_by_kafka = kept.read_bytes()
    with Kafka.start(folder / "second", jars=cached) as second:
        make_topic(second.brokers, "laps")
        assert (
            "laps"
            in AdminClient({"bootstrap.servers": second.brokers} | QUIET)
            .list_topics(timeout=WITHIN_S)
            .topics
        )
    assert identity(folder / "first") | identity(folder / "second") >= {"node.id=1", "version=1"}
    # One directory.id each.
    assert len(identity(folder / "first") ^ identity(folder / "second")) == 2

    kept.write_bytes(made_by_kafka[:200])
    with Kafka.start(folder / "third", jars=cached) as third:
        assert third.running
    assert kept.read_bytes() != made_by_kafka[:200]
    assert len(kept.read_bytes()) == len(made_by_kafka)


def test_an_archive_of_classes_is_written_by_a_run_of_its_own_and_used(
    folder: Path, jars: Path, tmp_path: Path
) -> None:
    """No stop of a broker waits for it; a run that is given up leaves none."""
    cached = tmp_path / jars.name
    cached.symlink_to(jars)
    with pytest.raises(PurpleSectorError):
        write_archive(jars=cached, cancelled=lambda: True)
    assert list(tmp_path.glob("*.jsa*")) == []

    archive = write_archive(jars=cached)
    assert list(tmp_path.glob("*.jsa*")) == [archive]
    with Kafka.start(folder, jars=cached) as broker:
        assert str(archive) in Path(f"/proc/{broker.pid}/maps").read_text()


def identity(folder: Path) -> set[str]:
    lines = (folder / "data" / "meta.properties").read_text().splitlines()
    return {line for line in lines if not line.startswith("#")}


def test_kafka_makes_no_topic_that_nobody_requested(folder: Path, jars: Path) -> None:
    with Kafka.start(folder, jars=jars) as broker:
        admin = AdminClient({"bootstrap.servers": broker.brokers} | QUIET)

        admin.list_topics("telemetyr", timeout=WITHIN_S)

        assert "telemetyr" not in admin.list_topics(timeout=WITHIN_S).topics


def test_three_brokers_share_voters_and_copies(folder: Path) -> None:
    """A cluster is the same settings with three voters: every internal topic has three copies, two
    of them in sync.
    """
    voters = ("1@127.0.0.1:5001", "2@127.0.0.1:5002", "3@127.0.0.1:5003")

    properties = Node(id=2, port=4002, controller_port=5002, voters=voters).properties(folder)

    assert (
        "controller.quorum.voters=1@127.0.0.1:5001,2@127.0.0.1:5002,3@127.0.0.1:5003\n"
        in properties
    )
    assert "offsets.topic.replication.factor=3\n" in properties
    assert "transaction.state.log.min.isr=2\n" in properties


OWNER = """
import sys, time
from pathlib import Path
from ingest.embedded.kafka.server import Kafka
from ingest.embedded.postgres import Postgres
service = {service}.start(Path(sys.argv[1]))
sys.stderr.write(f"STARTED {{service.pid}}\\n")
time.sleep(600)
"""


@pytest.mark.parametrize("service", ["Postgres", "Kafka"])
def test_nothing_outlives_an_owner_that_is_killed(
    service_folder: Path, jars: Path, service: str
) -> None:
    """kill -9 runs no clean-up of ours, and still no server is left behind."""
    command = [
        sys.executable,
        "-c",
        OWNER.format(service=service),
        str(service_folder / f"orphan-{service}"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as owner:
        pid = _pid_from(owner)

        owner.send_signal(signal.SIGKILL)

        assert gone(pid)


def _pid_from(owner: "subprocess.Popen[str]") -> int:
    assert owner.stderr is not None
    for line in owner.stderr:
        if line.startswith("STARTED "):
            return int(line.split()[1])
    raise AssertionError(f"the owner ended with {owner.wait()}")


def test_a_service_goes_with_its_guardian(tmp_path: Path) -> None:
    process = Process.start("sleeper", ["/bin/sleep", "600"], log_file=tmp_path / "log")
    guardian = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])

    os.kill(guardian, signal.SIGKILL)

    assert gone(process.pid)
    assert process.wait(WITHIN_S)


def test_a_service_that_ignores_politeness_is_stopped_all_the_same(tmp_path: Path) -> None:
    deaf = ["/bin/sh", "-c", "trap '' TERM; echo deaf; while true; do sleep 0.1; done"]
    process = Process.start("deaf", deaf, log_file=tmp_path / "log")
    process.await_ready(lambda: "deaf" in (tmp_path / "log").read_text(), deadline_s=WITHIN_S)

    process.stop(patience_s=0.3)

    assert gone(process.pid)


def test_a_service_that_ends_while_starting_states_what_it_logged(tmp_path: Path) -> None:
    process = Process.start(
        "brief", ["/bin/sh", "-c", "echo no room; exit 3"], log_file=tmp_path / "log"
    )

    with pytest.raises(
        ServiceUnavailable,
        match=r"brief: ended while starting \(status 3\) \| no room; its log is ",
    ):
        process.await_ready(lambda: False, deadline_s=WITHIN_S)


def test_a_service_that_never_answers_is_not_left_running(tmp_path: Path) -> None:
    process = Process.start("mute", ["/bin/sleep", "600"], log_file=tmp_path / "log")

    with pytest.raises(ServiceUnavailable, match="gave no answer"):
        process.await_ready(lambda: False, deadline_s=0.1)

    assert gone(process.pid)


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="/no/such/program could not be run"):
        Process.start("nothing", ["/no/such/program"], log_file=tmp_path / "log")


class OneJarThenSilence(http.server.SimpleHTTPRequestHandler):
    """A registry whose line is cut in the middle of its second jar."""

    def do_GET(self) -> None:
        if not self.path.endswith(".jar"):
            self.send_error(404)
            return
        content = b"" if self._found() is None else self._found().read_bytes()  # type: ignore[union-attr]
        first = self.path.endswith(wanted()[0].file_name)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content if first else content[: len(content) // 2])

    def _found(self) -> Path | None:
        file = Path(self.directory) / Path(self.path).name
        return file if file.exists() else None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cut_registry(jars: Path) -> Iterator[dict[str, str]]:
    handler = functools.partial(OneJarThenSilence, directory=str(jars))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield {"cut": f"http://127.0.0.1:{server.server_port}"}
        server.shutdown()
        thread.join()


def test_an_interrupted_fetch_leaves_nothing_behind(
    tmp_path: Path, cut_registry: dict[str, str]
) -> None:
    """Half a cache would be taken for a whole one at the next start."""
    steps: list[Step] = []

    with pytest.raises(ServiceUnavailable, match=f"{wanted()[1]} could not be fetched"):
        kafka_jars(tmp_path, registries=cut_registry, progress=steps.append)

    assert [file.suffix for file in tmp_path.iterdir()] == [".lock"]
    assert steps[0].done_bytes == wanted()[0].size_bytes


def test_a_registry_that_cannot_be_reached_is_named_in_the_error(tmp_path: Path) -> None:
    port = free_port()

    with pytest.raises(ServiceUnavailable, match=f"could not be fetched: .*{port}"):
        kafka_jars(tmp_path, registries={"nowhere": f"http://127.0.0.1:{port}"})

    assert [file.suffix for file in tmp_path.iterdir()] == [".lock"]


def test_jars_that_may_not_be_fetched_are_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="fetching was ruled out"):
        kafka_jars(tmp_path, offline=True)


def test_the_cache_is_where_the_user_states() -> None:
    assert cache_folder({"PURPLE_SECTOR_CACHE": "/big/disk"}) == Path("/big/disk")
    assert cache_folder({"XDG_CACHE_HOME": "/max/cache"}) == Path("/max/cache/purple-sector")
