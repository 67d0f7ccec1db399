"""What a broker lost comes back from the spool of the PC that sent it: asked for, sent again,
stored once, laps as if undisturbed.
"""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from ingest.batching.partition_log import Partition
from ingest.cancellation import never
from ingest.collectors.control.command_handler import CommandHandler
from ingest.collectors.delivery.sender import Sender
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.frames import drive, facts
from ingest.collectors.simulator.lap import laps
from ingest.collectors.spool.folder import SpoolFolder
from ingest.control.gap_recovery import GapRecovery
from ingest.embedded.kafka.server import Kafka
from ingest.embedded.process import ServiceUnavailable, quiet
from ingest.kafka.topics import create_topics, open_admin
from ingest.settings import CollectorSettings, DatabaseSettings, IngestSettings, KafkaSettings
from tests.contract.topics import settings_of
from tests.meanwhile import meanwhile
from tests.service.audit import assert_each_frame_once, laps_of, wait_for_frames
from tests.service.owner import rows
from tests.service.test_worker import hosting
from tests.waiting import WITHIN_S, wait_until

PARTITIONS = 10
ANNA = CollectorSettings(_env_file=None, user_id="anna")


@pytest.fixture
def spool(tmp_path) -> SpoolFolder:
    return SpoolFolder(tmp_path / "spool", max_bytes=100_000_000, keep_s=7200)


class Car:
    """A simulated car on a collector with a spool, which gets a lap's frames in some seconds and
    keeps them.
    """

    def __init__(self, kafka: KafkaSettings, spool: SpoolFolder, key: str) -> None:
        started_at_ms = time.time_ns() // 1_000_000 - 600_000
        told = facts(
            val_sarine(), session_id=key, user_id="anna", driver="Anna", started_at_ms=started_at_ms
        )
        self._driven = drive(val_sarine(), seed=1, started_at_ms=started_at_ms)
        self.sender = Sender(kafka, ANNA, told, open_spool=spool.begin, linger_ms=5)

    @property
    def frames(self) -> int:
        return self.sender.statistics.frames_collected

    def drive(self, frames: int) -> None:
        for frame in islice(self._driven, frames):
            self.sender.send(frame)

    def await_acknowledged(self) -> None:
        wait_until(self._settled)

    def park(self) -> None:
        assert self.sender.close(timeout_s=WITHIN_S) is None

    def _settled(self) -> bool:
        self.sender.poll(0.02)
        return self.sender.statistics.frames_published == self.frames


@contextmanager
def streaming(car: Car) -> Iterator[None]:
    """The car drives on meanwhile, five times as fast as in life."""

    def drive_on(stop: threading.Event) -> None:
        while not stop.wait(0.02):
            car.drive(6)

    with meanwhile(drive_on):
        yield


@contextmanager
def asking(kafka: KafkaSettings, database_url: str) -> Iterator[None]:
    """As the supervisor does it."""
    task = GapRecovery(
        kafka, DatabaseSettings(_env_file=None, url=database_url), IngestSettings(_env_file=None)
    )
    with meanwhile(task.run):
        yield


@contextmanager
def on_air(kafka: KafkaSettings, spool: SpoolFolder) -> Iterator[CommandHandler]:
    handler = CommandHandler(kafka, ANNA, spool)
    handler.start()
    try:
        wait_until(lambda: handler.listening)
        yield handler
    finally:
        handler.close()


@pytest.fixture
def own_kafka(service_folder: Path) -> Iterator[Kafka]:
    """A broker that may lose everything."""
    try:
        broker = Kafka.start(service_folder / "wiped")
    except ServiceUnavailable as missing:
        pytest.skip(f"no broker: {missing}")
    with broker:
        yield broker


def wipe(broker: Kafka) -> None:
    """Kill it, take its disk away, and start it on a new one."""
    broker.kill()
    shutil.rmtree(broker.folder / "data")
    broker._format(quiet, never)
    broker.restart()


def test_log_that_is_lost_in_mid_session_comes_back(own_kafka, database, spool):
    """What was acknowledged and never read went with the broker's disk: of a car that drives on,
    and of one that has parked.

    What had been read is not stored twice, and the lap that was being driven is that of an
    undisturbed drive.
    """
    kafka = settings_of(own_kafka.brokers)
    create_topics(kafka, timeout_s=WITHIN_S)
    car, parked = Car(kafka, spool, "drives-on"), Car(kafka, spool, "parked")
    with asking(kafka, database.url), on_air(kafka, spool):
        with hosting(kafka, database.url, partitions=PARTITIONS):
            for each in (car, parked):
                each.drive(5_000)
                each.await_acknowledged()
            wait_for_frames(database.url, {"drives-on": 5_000, "parked": 5_000})
        # Nobody reads for a moment.
        for each in (car, parked):
            each.drive(500)
            each.await_acknowledged()
        parked.park()
        with streaming(car):
            wipe(own_kafka)
            create_topics(kafka, timeout_s=WITHIN_S)
            with hosting(kafka, database.url, partitions=PARTITIONS):
                wait_until(lambda: healed(database.url, "missing", 2))
                wait_until(lambda: healed(database.url, "replaced", 2))
        with hosting(kafka, database.url, partitions=PARTITIONS):
            car.drive(1_000)
            car.await_acknowledged()
            wait_for_frames(database.url, {"drives-on": car.frames, "parked": 5_500})
            wait_until(
                lambda: not rows(database.url, "SELECT FROM sessions WHERE late_from IS NOT NULL")
            )
            car.park()

    assert_each_frame_once(database.url, {"drives-on": car.frames, "parked": 5_500})
    first, truth = laps_of(database.url, "drives-on")[0], next(laps(val_sarine(), seed=1))
    number, _, ours_ms, official_ms, *_, flags, _, holes, _ = first
    assert (number, official_ms, flags, holes) == (1, truth.time_ms, ["out"], 0)
    assert abs(ours_ms - truth.time_ms) <= 5


def test_records_that_retention_took_come_back(kafka, database, spool):
    """The worker was away for longer than the broker keeps what it should have read; the collector
    keeps it for longer.
    """
    settings = settings_of(kafka.brokers)
    create_topics(settings, timeout_s=WITHIN_S)
    car = Car(settings, spool, "s")
    with asking(settings, database.url), on_air(settings, spool):
        with hosting(settings, database.url, partitions=PARTITIONS):
            car.drive(100)
            car.await_acknowledged()
            wait_for_frames(database.url, {"s": 100})
        car.drive(200)
        car.await_acknowledged()
        delete_records(
            settings, Partition(settings.topic_telemetry, car.sender.partition), before=251
        )
        car.drive(50)
        car.await_acknowledged()
        with hosting(settings, database.url, partitions=PARTITIONS):
            wait_until(lambda: healed(database.url, "missing", 1))
            wait_until(lambda: healed(database.url, "retention", 1))
    car.park()

    gaps = rows(
        database.url,
        "SELECT from_sequence, to_sequence, from_offset, to_offset FROM gaps ORDER BY reason",
    )
    assert gaps == [(101, 250, None, None), (None, None, 101, 250)]
    assert_each_frame_once(database.url, {"s": 350})


def delete_records(settings: KafkaSettings, partition: Partition, *, before: int) -> None:
    place = TopicPartition(partition.topic, partition.index, before)
    admin = open_admin(settings)  # an answer comes only while its client lives
    admin.delete_records([place])[place].result(WITHIN_S)


def healed(database_url: str, reason: str, count: int) -> bool:
    """So many losses are made good. Of a partition where no session is known nobody can tell
    whether it held anything.
    """
    found = rows(database_url, HEALED, [reason])
    return len(found) == count and all(is_healed for (is_healed,) in found)


HEALED = """
SELECT resolved_at IS NOT NULL FROM gaps g
 WHERE reason = %s
   AND (session_id IS NOT NULL OR EXISTS (SELECT FROM sessions s
       WHERE (s.topic, s.partition) = (g.topic, g.partition)))
"""
