"""What is done to three brokers while a convoy streams: each fault returns the longest that a
session waited.

python -m tests.service.kafka_faults --kills 20 --stops 5 --rolls 5
"""

import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from ingest.batching.partition_log import Partition
from ingest.embedded.kafka.cluster import KafkaCluster
from ingest.embedded.postgres import Postgres
from ingest.kafka.topics import create_topics
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.store.schema.migrations import migrate
from ingest.telemetry_pb2 import TelemetryFrame
from ingest.workers.worker_threads import WorkerThreads
from tests.service.audit import assert_each_frame_once, wait_for_frames
from tests.service.convoy import Convoy
from tests.waiting import WITHIN_S

SESSIONS = 20
PARTITIONS = 10
DOWN_S = 3.0  # how long two of three are away


@dataclass(frozen=True, slots=True)
class Ledger:
    """What came of a run: every pause by the name of its fault, and the frames by session."""

    pauses_s: Mapping[str, list[float]]
    frames: Mapping[str, int]
    produced_twice: int = field(default=0)

    def __str__(self) -> str:
        pauses = "; ".join(
            f"{fault} x{len(of)}: pause p50 {statistics.median(of):.2f} s, max {max(of):.2f} s"
            for fault, of in self.pauses_s.items()
        )
        sent = f"{sum(self.frames.values())} frames of {len(self.frames)} sessions"
        return (
            f"{pauses}; {sent} acknowledged, 0 lost, 0 twice ({self.produced_twice} dropped as sent"
            " again), in order"
        )


class Course:
    """A cluster with ingest and a convoy on it, and the faults that can be done to it."""

    def __init__(self, cluster: KafkaCluster, convoy: Convoy, topic: str, *, seed: int) -> None:
        self._cluster, self._convoy, self._topic = cluster, convoy, topic
        self._chance = random.Random(seed)
        self.pauses_s: dict[str, list[float]] = defaultdict(list)

    def kill_a_leader(self) -> None:
        leader = self._cluster.leader_of(self._topic, self._chance.randrange(PARTITIONS))
        with self._pause("leader killed"):
            self._cluster.broker(leader).kill()
            self._convoy.await_acknowledgements()
            self._cluster.broker(leader).restart()

    def freeze_two(self) -> None:
        pids = [self._cluster.broker(id).pid for id in self._two()]
        with self._pause(f"two of three frozen for {DOWN_S:.0f} s"):
            with signalled(pids, signal.SIGSTOP, signal.SIGCONT):
                time.sleep(DOWN_S)
            self._convoy.await_acknowledgements()

    def kill_two(self) -> None:
        brokers = [self._cluster.broker(id) for id in self._two()]
        with self._pause(f"two of three killed for {DOWN_S:.0f} s and more"):
            for broker in brokers:
                broker.kill()
            time.sleep(DOWN_S)
            with ThreadPoolExecutor() as pool:  # one alone would wait for the other
                list(pool.map(type(brokers[0]).restart, brokers))
            self._convoy.await_acknowledgements()

    def roll(self) -> None:
        with self._pause("all three rolled"):
            self._cluster.roll()

    def _two(self) -> list[int]:
        return self._chance.sample([1, 2, 3], 2)

    @contextmanager
    def _pause(self, fault: str) -> Iterator[None]:
        """Measured until every copy is in step again, so that what coming back costs is in it."""
        self._convoy.begin_pause()
        yield
        self._cluster.await_in_sync()
        self._convoy.await_acknowledgements()
        self.pauses_s[fault].append(self._convoy.longest_pause_s)


@contextmanager
def signalled(pids: list[int], first: signal.Signals, last: signal.Signals) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, first)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, last)


def run_faults(
    cluster: KafkaCluster,
    database_url: str,
    faults: Callable[[Course], None],
    *,
    name: str,
    seed: int,
) -> Ledger:
    """Do the faults to a convoy, then hold log and store to every frame that was acknowledged."""
    kafka = KafkaSettings(
        _env_file=None,
        brokers=cluster.brokers,
        replication=3,
        topic_telemetry=name,
        topic_commands=f"{name}-commands",
        topic_status_reports=f"{name}-status-reports",
        topic_laps=f"{name}-laps",
    )
    assert [outcome.problem for outcome in create_topics(kafka)] == [""] * 4
    host = WorkerThreads(
        name=name,
        kafka=kafka,
        database=DatabaseSettings(_env_file=None, url=database_url),
        ingest=IngestSettings(_env_file=None),
    )
    host.host([Partition(name, index) for index in range(PARTITIONS)])
    try:
        with Convoy(kafka, name, sessions=SESSIONS) as convoy:
            convoy.await_acknowledgements()
            course = Course(cluster, convoy, name, seed=seed)
            faults(course)
            expected = convoy.finish()
        wait_for_frames(database_url, expected)
    finally:
        host.stop()
    assert_each_frame_once(database_url, expected)
    assert_nothing_given_up(database_url)
    return Ledger(course.pauses_s, expected, repeats_in_log(kafka, expected))


def assert_nothing_given_up(database_url: str) -> None:
    """No record was skipped, refused or read out of a log that was lost."""
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT reason, topic, partition FROM dead_letters").fetchall() == []
        assert conn.execute("SELECT * FROM gaps WHERE resolved_at IS NULL").fetchall() == []


def repeats_in_log(kafka: KafkaSettings, expected: Mapping[str, int]) -> int:
    """Check that each session is in one partition, in the order of its sequences; how many frames
    are there again.
    """
    seen: dict[str, list[int]] = defaultdict(list)
    places: dict[str, set[int]] = defaultdict(set)
    for key, partition, sequence in _frames_in_log(kafka):
        seen[key].append(sequence)
        places[key].add(partition)
    for key, frames in expected.items():
        first_time = list(dict.fromkeys(seen[key]))
        assert first_time == list(range(1, frames + 1)), f"session {key}: order of offsets"
        assert len(places[key]) == 1, f"session {key}: moved"
    return sum(len(of) - len(set(of)) for of in seen.values())


def _frames_in_log(kafka: KafkaSettings) -> Iterator[tuple[str, int, int]]:
    consumer = Consumer(kafka.client({"group.id": "audit", "enable.auto.commit": False}))
    try:
        places = [
            TopicPartition(kafka.topic_telemetry, index, OFFSET_BEGINNING)
            for index in range(PARTITIONS)
        ]
        left = {
            place.partition: end
            for place in places
            if (end := consumer.get_watermark_offsets(place, timeout=WITHIN_S)[1]) > 0
        }
        consumer.assign([place for place in places if place.partition in left])
        while left:
            for message in consumer.consume(10_000, 0.5):
                assert message.error() is None, message.error()
                if message.value()[0] & 7 != 2:  # the facts of a session are not a frame
                    sequence = TelemetryFrame.FromString(message.value()).sequence
                    yield message.key().decode(), message.partition(), sequence
                if message.offset() + 1 >= left[message.partition()]:
                    del left[message.partition()]
    finally:
        consumer.close()


@click.command()
@click.option("--kills", default=20, show_default=True, help="Leaders killed.")
@click.option(
    "--stops", default=5, show_default=True, help="Two of three frozen, and as often killed."
)
@click.option(
    "--rolls", default=5, show_default=True, help="All three restarted, one after the other."
)
@click.option("--seed", default=1, show_default=True, help="Which brokers are chosen.")
def main(kills: int, stops: int, rolls: int, seed: int) -> None:
    """Do faults to three brokers while 20 sessions stream at 60 Hz, and count."""

    def faults(course: Course) -> None:
        for act, times in (
            (course.kill_a_leader, kills),
            (course.freeze_two, stops),
            (course.kill_two, stops),
            (course.roll, rolls),
        ):
            for _ in range(times):
                act()
                sys.stderr.write(
                    f"{ {k: [round(s, 2) for s in v] for k, v in course.pauses_s.items()} }\n"
                )

    folder = Path(tempfile.mkdtemp(prefix="purple-sector-"))
    folder.chmod(0o755)
    with (
        KafkaCluster.start(folder / "kafka") as cluster,
        Postgres.start(None, durable=False) as postgres,
    ):
        with psycopg.connect(postgres.url) as conn:
            migrate(conn)
        sys.stdout.write(f"{run_faults(cluster, postgres.url, faults, name='faults', seed=seed)}\n")


if __name__ == "__main__":
    main()
