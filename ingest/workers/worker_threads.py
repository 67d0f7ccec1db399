"""Hosts the workers of several partitions in one process.

One consumer reads for all of them, and a few threads with a connection each store: their number
does not depend on that of the partitions. A user's topic in which nothing happens has no worker:
see `ingest.workers.idle_partitions`.

A worker spends most of its time in librdkafka, Arrow and libpq. They release the interpreter, so
threads are enough.
"""

import math
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
from ingest.kafka.shared_consumer import SharedConsumers
from ingest.kafka.topics import QUIET, topic_owner
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.telemetry_pb2 import Lap, LapInProgress, TelemetryMessage
from ingest.workers.idle_partitions import IdlePartitions
from ingest.workers.lanes import Lanes, Tools
from ingest.workers.partition_worker import IDLE, Assignment, PartitionWorker, Progress

log = structlog.get_logger()

_LAST_BATCH_WITHIN_S = 5.0
_LOOK_EVERY_S = 1.0
_IDLE_AFTER_S = 60.0


class WorkerThreads:
    """Runs a worker for each given partition in which something happens.

    A worker that ended after a takeover starts again only at the next `host`. The worker of a
    user's topic ends after ``idle_after_s`` without records, and starts again with the next one.
    """

    def __init__(
        self,
        *,
        name: str,
        kafka: KafkaSettings,
        database: DatabaseSettings,
        ingest: IngestSettings,
        idle_after_s: float = _IDLE_AFTER_S,
    ) -> None:
        self.name = name
        self._idle_after_s = idle_after_s
        self._lock = threading.Lock()
        self._wanted: frozenset[Partition] = frozenset()
        self._idle = IdlePartitions(kafka, database)
        # Ended workers of idle partitions. They keep their fencing token, and so find out if
        # another worker has taken over meanwhile.
        self._ended: dict[Partition, PartitionWorker] = {}
        self._stopping = threading.Event()
        self._watch: threading.Thread | None = None
        self._kafka = kafka
        self._database = database
        self._ingest = ingest
        self._hosted: dict[Partition, HostedWorker] = {}
        self._consumers = SharedConsumers(kafka)
        self._lanes: Lanes[PartitionWorker] = Lanes(
            lambda: Tools(kafka, database), most=ingest.connections
        )
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
        with self._lock:
            self._wanted = frozenset(partitions)
            self._idle.keep(self._wanted)
            self._ended = {p: one for p, one in self._ended.items() if p in self._wanted}
            self._release(p for p in tuple(self._hosted) if p not in self._wanted)
            self._note_idle()
            self._release_ended()
            for partition in self._wanted - self._hosted.keys() - self._idle.positions().keys():
                self._begin(partition)
            return {"pid": os.getpid(), "partitions": self._progress()}

    def _release_ended(self) -> None:
        # A worker that ended although it was wanted has failed, or was replaced by a mistake that
        # is over. `host` starts it again.
        self._release(p for p, one in tuple(self._hosted.items()) if one.has_ended)

    def stop(self) -> None:
        """Stop every worker, and wait for the batches that are being stored."""
        self._stopping.set()
        with self._lock:
            self._wanted = frozenset()
            self._release(tuple(self._hosted))
        self._lanes.stop(_LAST_BATCH_WITHIN_S)
        self._consumers.close()
        self._announcer.flush(2)

    def _progress(self) -> dict[str, dict[str, Any]]:
        idle = {p: Progress(IDLE, position) for p, position in self._idle.positions().items()}
        ended = {p: worker.progress for p, worker in self._ended.items() if p in idle}
        active = {p: hosted.worker.progress for p, hosted in self._hosted.items()}
        return {str(partition): asdict(one) for partition, one in (idle | ended | active).items()}

    def _begin(self, partition: Partition) -> None:
        """Start a worker; for a user's topic, only if something happens in it."""
        if not topic_owner(self._kafka, partition.topic):
            self._hosted[partition] = self._start(partition)
            return
        self._idle.add(partition, now=time.monotonic())
        if self._watch is None:
            self._watch = threading.Thread(target=self._wake, name="idle partitions", daemon=True)
            self._watch.start()

    def _wake(self) -> None:
        """Start workers for idle partitions that need one, in the watch's thread."""
        while not self._stopping.is_set():
            try:
                with self._lock:
                    self._note_idle()
                self._start_busy(self._idle.take_busy(now=time.monotonic()))
            except Exception:
                log.exception("looking at idle partitions failed, will go on")
            self._stopping.wait(_LOOK_EVERY_S)

    def _start_busy(self, partitions: Iterable[Partition]) -> None:
        with self._lock:
            for partition in partitions:
                if partition in self._wanted and partition not in self._hosted:
                    self._hosted[partition] = self._start(partition)

    def _note_idle(self) -> None:
        for partition, hosted in tuple(self._hosted.items()):
            progress = hosted.worker.progress
            if progress.state == IDLE and hosted.has_ended:
                self._ended[partition] = self._hosted.pop(partition).worker
                self._idle.add(partition, progress.next_offset, now=time.monotonic())

    def _start(self, partition: Partition) -> "HostedWorker":
        idle_after_s = self._idle_after_s if topic_owner(self._kafka, partition.topic) else math.inf
        task = Assignment(
            partition,
            self.name,
            self._kafka,
            self._database,
            self._ingest,
            idle_after_s,
        )
        worker = self._ended.pop(partition, None) or PartitionWorker(
            task, on_laps=self._announce, consumers=self._consumers
        )
        return HostedWorker(worker, self._lanes)

    def _release(self, partitions: Iterable[Partition]) -> None:
        # Does not wait: a worker that is busy storing ends afterwards, and the fencing token
        # protects the next owner.
        for partition in tuple(partitions):
            self._lanes.remove(self._hosted.pop(partition).worker)

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


class HostedWorker:
    """A worker that has turns."""

    def __init__(self, worker: PartitionWorker, lanes: Lanes[PartitionWorker]) -> None:
        self.worker, self._lanes = worker, lanes
        worker.on_due = lambda at: lanes.wake(worker, at)
        lanes.add(worker)

    @property
    def has_ended(self) -> bool:
        """Return whether it has no further turn."""
        return not self._lanes.has(self.worker)


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
