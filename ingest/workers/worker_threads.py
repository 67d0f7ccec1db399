"""Hosts the workers of several partitions in one process, a thread each.

A worker spends most of its time in librdkafka, Arrow and libpq. They release the interpreter, so a
thread is enough.
"""

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import structlog
from confluent_kafka import Producer

from analytics.laps.best_laps import Colours
from ingest.batching.partition_log import Partition
from ingest.batching.write_batch import FinishedLap, RunningLap
from ingest.kafka.topics import QUIET
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.telemetry_pb2 import Lap, LapInProgress, TelemetryMessage
from ingest.workers.partition_worker import Assignment, PartitionWorker

log = structlog.get_logger()

_LAST_BATCH_WITHIN_S = 5.0


class WorkerThreads:
    """Runs a worker for each given partition. A worker that ended after a takeover starts again
    only at the next `host`.
    """

    def __init__(
        self, *, name: str, kafka: KafkaSettings, database: DatabaseSettings, ingest: IngestSettings
    ) -> None:
        self.name = name
        self._kafka = kafka
        self._database = database
        self._ingest = ingest
        self._hosted: dict[Partition, _WorkerThread] = {}
        # Laps are announced after they are stored. A lap announced twice is the same lap; one not
        # announced is in the store.
        self._announcer = Producer(
            kafka.client(
                QUIET | {"linger.ms": 5, "compression.type": "lz4", "partitioner": "murmur2_random"}
            )
        )

    def host(self, partitions: Sequence[Partition]) -> dict[str, Any]:
        """Host exactly these partitions from now on, and stop all other workers.

        Returns the process id and the progress of each partition. The supervisor also takes it as
        the keep-alive.
        """
        wanted = set(partitions)
        self._release(p for p in tuple(self._hosted) if p not in wanted)
        # A worker that ended although it was wanted has failed, or was replaced by a mistake that
        # is over. Start it again.
        self._release(
            p for p, hosted in tuple(self._hosted.items()) if not hosted.thread.is_alive()
        )
        for partition in wanted - self._hosted.keys():
            self._hosted[partition] = self._start(partition)
        progress = {str(p): asdict(hosted.worker.progress) for p, hosted in self._hosted.items()}
        return {"pid": os.getpid(), "partitions": progress}

    def stop(self) -> None:
        """Stop every worker, and wait for the batches that are being stored."""
        deadline = time.monotonic() + _LAST_BATCH_WITHIN_S
        for hosted in self._release(tuple(self._hosted)):
            hosted.thread.join(max(0.0, deadline - time.monotonic()))
        self._announcer.flush(2)

    def _start(self, partition: Partition) -> "_WorkerThread":
        task = Assignment(partition, self.name, self._kafka, self._database, self._ingest)
        worker = PartitionWorker(task, on_laps=self._announce)
        return _WorkerThread(worker, str(partition))

    def _release(self, partitions: Iterable[Partition]) -> list["_WorkerThread"]:
        # Does not wait: a worker that is busy storing sees the stop afterwards, and the fencing
        # token protects the next owner.
        leaving = [self._hosted.pop(p) for p in partitions]
        for hosted in leaving:
            hosted.stopping.set()
        return leaving

    def _announce(self, laps: Sequence[FinishedLap | RunningLap]) -> None:
        for lap in laps:
            message = lap_message(lap) if isinstance(lap, FinishedLap) else sectors_message(lap)
            try:
                self._announcer.produce(
                    self._kafka.topic_laps,
                    key=lap.session_key.encode(),
                    value=message.SerializeToString(),
                )
            except BufferError:
                log.warning("lap not announced: the broker takes none", session=lap.session_key)
        self._announcer.poll(0)


class _WorkerThread:
    """A worker and its thread."""

    def __init__(self, worker: PartitionWorker, name: str) -> None:
        self.worker = worker
        self.stopping = threading.Event()
        self.thread = threading.Thread(
            target=worker.run, args=[self.stopping], name=name, daemon=True
        )
        self.thread.start()


def lap_message(timed: FinishedLap) -> TelemetryMessage:
    """Build the event that viewers get when a lap ends or is corrected. An unknown time is 0."""
    lap, colours = timed.lap, timed.colours or Colours()
    return TelemetryMessage(
        session_id=timed.session_key,
        lap=Lap(
            session_id=timed.session_key,
            lap_number=lap.lap_number,
            started_at=lap.started_at_us // 1000,
            lap_time=lap.lap_time_ms or 0,
            official_lap_time=lap.official_lap_time_ms or 0,
            sector_times=lap.sector_times_ms,
            flags=lap.flags,
            frames=lap.frames,
            max_speed=lap.max_speed_kmh,
            colour=colours.lap,
            sector_colours=colours.sectors,
            colour_version=colours.version,
            ended_at=lap.ended_at_us // 1000,
        ),
    )


def sectors_message(running: RunningLap) -> TelemetryMessage:
    """Build the event that viewers get when a sector ends."""
    lap = running.lap
    return TelemetryMessage(
        session_id=running.session_key,
        lap_in_progress=LapInProgress(
            session_id=running.session_key,
            lap_number=lap.lap_number,
            started_at=lap.started_at_us // 1000,
            sector_times=lap.sector_times_ms,
            sector_colours=running.sector_colours,
        ),
    )
