"""What is done to a collector while a game gives frames, and to the disk and the network under it;
each ends with a count.

Each fault returns a line that says what was given and what is stored; it raises AssertionError
where the two differ.

python -m tests.service.collector_faults --kills 50 --power-cuts 10
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import psycopg

from ingest.collectors.delivery.backlog import Backlog
from ingest.collectors.delivery.sender import Sender
from ingest.collectors.games.session_clock import SessionClock
from ingest.collectors.spool.folder import SpoolFolder
from ingest.embedded.kafka.server import Kafka, Node
from ingest.embedded.postgres import Postgres
from ingest.kafka.topics import create_topics
from ingest.settings import CollectorSettings, KafkaSettings
from ingest.store.schema.migrations import migrate
from ingest.telemetry_pb2 import Session
from tests.service.given import (
    SPEED,
    Book,
    assert_nothing_lost,
    await_last,
    frames,
    open_gaps,
    stored,
)
from tests.service.line import Line
from tests.service.loop import PowerSupply, small_disk
from tests.service.test_sender import break_producer
from tests.service.test_worker import hosting
from tests.waiting import WITHIN_S, wait_until

ANNA = CollectorSettings(_env_file=None, user_id="anna")
PARTITIONS = 10
TEN_MINUTES = 36_000  # frames


@dataclass(frozen=True, slots=True)
class Course:
    """A broker at the end of a line, and ingest behind it."""

    line: Line
    kafka: KafkaSettings
    database_url: str
    folder: Path
    chance: random.Random

    def broker_away(self) -> str:
        """Ten minutes of driving with no broker, and then there is one."""
        spool, sender = self._session("away")
        given = self._send(sender, 600)
        self._await_published(sender, given)
        self.line.cut()
        given += self._send(sender, TEN_MINUTES)
        waited = given - sender.statistics.frames_published
        assert waited == TEN_MINUTES
        self.line.mend()
        given += self._send(sender, 600)
        self._close(sender)
        return self._nothing_lost(
            sender, given, f"{waited} waited, {spool.used_bytes // given} bytes each on disk"
        )

    def cut_mid_batch(self, cuts: int) -> str:
        """The network ends in the middle of what is being sent, again and again."""
        _, sender = self._session("cut")
        given, before = 0, self.line.cuts
        for cut in range(1, cuts + 1):
            self.line.cut_after(self.chance.randrange(100, 60_000))
            while self.line.cuts < before + cut:
                given += self._send(sender, 100)
            self.line.mend()
            self._await_published(sender, sender.statistics.frames_published + 1)
        self._close(sender)
        return self._nothing_lost(sender, given, f"{cuts} cuts")

    def producer_fatal(self, times: int) -> str:
        """The producer says that it is of no use any more."""
        _, sender = self._session("fatal")
        given = 0
        for _ in range(times):
            given += self._send(sender, 300)
            self._await_published(sender, given - 299)
            given += self._send(sender, 300)
            break_producer(sender)
        self._close(sender)
        assert sender.statistics.producer.errors == times
        return self._nothing_lost(sender, given, f"{times} producers")

    def clock_back(self) -> str:
        """The wall clock steps back an hour in mid-session, and a segment's time comes before its
        session's begin.
        """
        wall = [time.time() - 1_000.0]
        spool = SpoolFolder(
            self.folder / "clock",
            max_bytes=10**9,
            keep_s=7200,
            segment_bytes=10_000,
            wall_clock=lambda: wall[0],
        )
        sender = self._sender(spool, "clock")
        clock = SessionClock(wall_ms=round(wall[0] * 1000), now_s=0.0)
        for number, frame in enumerate(frames(6_000)):
            if number == 3_000:
                wall[0] -= 3_600
            frame.timestamp = clock.stamp_ms(number / 60)
            sender.send(frame)
            if not number % 100:
                spool.free()
        self._close(sender)
        (kept,) = spool.kept()
        held = [record.sequence for record in kept.read([(1, 6_000)])]
        assert held == list(range(1, 6_001)), "kept for ingest to ask for"
        return self._nothing_lost(sender, 6_000, "all kept, all times ascend")

    def disk_full(self) -> str:
        """No broker and a disk of 2 MB; then the broker is back."""
        with small_disk(self.folder / "small", megabytes=2) as disk:
            spool = SpoolFolder(disk, max_bytes=10**9, keep_s=7200)
            sender = self._sender(spool, "full")
            self.line.cut()
            given = self._send(sender, 60_000)
            dropped = sender.statistics.errors
            assert dropped > 0, "the disk was not full"
            self.line.mend()
            self._await_published(sender, given - dropped)
            given += self._send(sender, 300)
            self._close(sender)
        await_last(self.database_url, sender.key, given)
        has, holes = stored(self.database_url, sender.key), open_gaps(self.database_url, sender.key)
        assert has.holes() == holes
        lost = sum(last - first + 1 for first, last in holes)
        assert (len(has), lost) == (given - dropped, dropped)
        return f"{given} given, {len(has)} stored, {lost} lost in {len(holes)} gaps that are rows"

    def disk_dies(self) -> str:
        """The disk fails in mid-session: what is read, written or touched there is refused."""
        with PowerSupply(self.folder / "dying") as disk:
            spool = SpoolFolder(
                disk.folder / "spool", max_bytes=10**9, keep_s=7200, segment_bytes=10_000
            )
            sender = self._sender(spool, "dies")
            given = self._send(sender, 600)
            disk.cut()
            given += self._send(sender, 600)
            self._close(sender)
        return self._nothing_lost(sender, given, "the disk died, the broker was there")

    def kills(self, times: int) -> str:
        """kill -9 of the collector at random moments; the next one sends what it left, and the last
        one all.
        """
        folder = self.folder / "kills"
        folder.mkdir()
        for _ in range(times):
            with self._collector(folder) as collector:
                time.sleep(self.chance.uniform(0.5, 4.0))
                collector.kill()
        left = Book.read(folder)
        with self._collector(folder) as collector:
            wait_until(lambda: len(Book.read(folder).taken) > len(left.taken), "one more session")
            for key, taken in left.taken.items():
                await_last(self.database_url, key, taken)
            collector.send_signal(signal.SIGTERM)
            assert collector.wait(WITHIN_S) == 0
        book = Book.read(folder)
        for key, taken in book.taken.items():
            assert_nothing_lost(self.database_url, key, taken, book.given[key])
        return (
            f"{times} kills in {len(book.given)} sessions, {sum(book.given.values())} given,"
            f" {sum(book.taken.values())} taken for sure, 0 of them lost, 0 twice"
        )

    def power_cuts(self, times: int) -> str:
        """The PC loses its power with the broker away; what is on disk after it starts again is
        sent.
        """
        lost_s: list[float] = []
        for cut in range(times):
            folder = self.folder / f"power-{cut}"
            folder.mkdir()
            with PowerSupply(folder / "disk") as power:
                lost_s.append(self._power_cut(folder, power))
        return (
            f"{times} power cuts, at most {max(lost_s) * 1000:.0f} ms of driving lost, and 0 of"
            " what was synced"
        )

    def _power_cut(self, folder: Path, power: PowerSupply) -> float:
        self.line.cut()
        with self._collector(folder, power.folder) as collector:
            enough = self.chance.randrange(100, 400)
            wait_until(lambda: Book.read(folder).synced > enough, f"{enough} frames on the disk")
            collector.send_signal(signal.SIGSTOP)
            book = Book.read(folder)
            ((key, taken),) = book.taken.items()
            power.cut()
            collector.kill()
        self.line.mend()
        power.restore()
        (kept,) = SpoolFolder(power.folder, max_bytes=10**9, keep_s=7200).kept()
        sequences = [record.sequence for record in kept.read([(1, taken + 1)])]
        assert sequences == list(range(1, len(sequences) + 1)), "the beginning, without a hole"
        self._send_left(power.folder)
        await_last(self.database_url, key, len(sequences))
        assert stored(self.database_url, key).ranges == [(1, len(sequences) + 1)]
        assert len(sequences) >= book.synced, (
            f"{book.synced} were synced, {len(sequences)} are there"
        )
        return max(0, taken - len(sequences)) / 60 / SPEED

    def _session(self, name: str) -> tuple[SpoolFolder, Sender]:
        spool = SpoolFolder(self.folder / name, max_bytes=10**9, keep_s=7200)
        return spool, self._sender(spool, name)

    def _sender(self, spool: SpoolFolder, name: str) -> Sender:
        return Sender(
            self.kafka,
            ANNA,
            Session(id=f"{name}-{time.time_ns()}"),
            open_spool=spool.begin,
            linger_ms=5,
        )

    def _send(self, sender: Sender, count: int) -> int:
        driven = sender.statistics.frames_collected
        for frame in list(frames(driven + count))[driven:]:
            sender.send(frame)
        return count

    def _await_published(self, sender: Sender, count: int) -> None:
        def published() -> bool:
            sender.poll(0.02)
            return sender.statistics.frames_published >= count

        wait_until(published, f"{count} frames acknowledged")

    def _close(self, sender: Sender) -> None:
        left = sender.close(timeout_s=WITHIN_S)
        assert left is None, str(left)

    def _nothing_lost(self, sender: Sender, given: int, how: str) -> str:
        assert_nothing_lost(self.database_url, sender.key, given, given)
        return f"{how}: {given} given, {given} stored, 0 twice"

    @contextmanager
    def _collector(
        self, folder: Path, spool: Path | None = None
    ) -> Iterator["subprocess.Popen[bytes]"]:
        environment = os.environ | {
            "KAFKA_BROKERS": self.kafka.brokers,
            "KAFKA_TOPIC_TELEMETRY": self.kafka.topic_telemetry,
            "KAFKA_TOPIC_COMMANDS": self.kafka.topic_commands,
            "KAFKA_TOPIC_STATUS_REPORTS": self.kafka.topic_status_reports,
            "USER_ID": "anna",
            "SPOOL_DIR": str(spool or folder / "spool"),
        }
        command = [sys.executable, "-m", "tests.service.given", str(folder)]
        with (folder / "log").open("a") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _send_left(self, spool: Path) -> None:
        backlog = Backlog(self.kafka, SpoolFolder(spool, max_bytes=10**9, keep_s=7200))
        assert backlog.poll(), "there is something to send"
        while backlog.poll(0.05):
            pass
        backlog.close()


@contextmanager
def course(folder: Path, database_url: str, *, seed: int) -> Iterator[Course]:
    """Start a broker that is reached over a line, and ingest."""
    with ExitStack() as stack:
        line = stack.enter_context(Line())
        node = Node(advertised=line.address)
        line.lead_to(node.port)
        broker = stack.enter_context(Kafka.start(folder / "kafka", node=node))
        kafka = KafkaSettings(_env_file=None, brokers=broker.brokers)
        create_topics(kafka, timeout_s=WITHIN_S)
        stack.enter_context(hosting(kafka, database_url, partitions=PARTITIONS))
        yield Course(line, kafka, database_url, folder, random.Random(seed))


@click.command()
@click.option("--kills", default=50, show_default=True, help="kill -9 of the collector.")
@click.option("--power-cuts", default=10, show_default=True, help="Of the PC; needs to be root.")
@click.option("--seed", default=1, show_default=True, help="When things happen.")
def main(kills: int, power_cuts: int, seed: int) -> None:
    """Do every fault to a collector, and count."""
    folder = Path(tempfile.mkdtemp(prefix="purple-sector-"))
    folder.chmod(0o755)
    with Postgres.start(None, durable=False) as postgres:
        with psycopg.connect(postgres.url) as conn:
            migrate(conn)
        with course(folder, postgres.url, seed=seed) as faults:
            for name, fault in (
                ("broker away for ten minutes", faults.broker_away),
                ("network cut mid-batch", lambda: faults.cut_mid_batch(20)),
                ("producer fatal", lambda: faults.producer_fatal(5)),
                ("clock stepped back an hour", faults.clock_back),
                ("disk full", faults.disk_full),
                ("disk dies", faults.disk_dies),
                ("kill -9", lambda: faults.kills(kills)),
                ("power cut", lambda: faults.power_cuts(power_cuts)),
            ):
                began = time.monotonic()
                sys.stdout.write(f"{name}: {fault()} ({time.monotonic() - began:.0f} s)\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
