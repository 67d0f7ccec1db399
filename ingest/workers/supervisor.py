"""Runs the ingest actors: a detached supervisor, and the workers that it spreads partitions over.

The supervisor only decides which worker hosts which partition. The fencing token in the store
decides ownership. So a wrong decision, a forgotten worker or a second supervisor costs time and
never data.
"""

import asyncio
import gc
import os
import re
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any, Self

import ray
import structlog
from confluent_kafka.admin import AdminClient

from ingest.batching.partition_log import Partition
from ingest.control.erasure import Erasure
from ingest.control.gap_recovery import GapRecovery
from ingest.errors import BrokerUnavailable
from ingest.kafka.topics import cluster_of, open_admin, telemetry_pattern
from ingest.logging_setup import start_logging
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings, LogSettings, differing
from ingest.workers.assignment import SurplusTimer, spread, worker_count
from ingest.workers.malloc import keep_freed_memory
from ingest.workers.worker_threads import WorkerThreads

log = structlog.get_logger()

NAMESPACE = "purple-sector"
SUPERVISOR = "ingest-supervisor"
_WORKER_PREFIX = "ingest-worker-"

_TICK_S = 0.5
_DISCOVER_EVERY_S = 3.0
_ANSWER_WITHIN_S = 3.0
_START_WITHIN_S = 60.0
_SHUTDOWN_WITHIN_S = 10.0
_SURPLUS_S = 10.0
_NICENESS = 10

# Detached: otherwise they end with the process that started them. Named, so that the next
# supervisor finds them.
_DETACHED: dict[str, Any] = {"lifetime": "detached", "namespace": NAMESPACE, "max_restarts": -1}
_SUPERVISOR_OPTIONS: dict[str, Any] = _DETACHED | {
    "name": SUPERVISOR,
    "num_cpus": 0,
    "max_task_retries": -1,
}
_WORKER_OPTIONS: dict[str, Any] = _DETACHED | {
    "num_cpus": 0.1,
    "max_task_retries": 0,
    "scheduling_strategy": "SPREAD",
}


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Settings that an actor needs: Kafka, database, ingest and log."""

    kafka: KafkaSettings
    database: DatabaseSettings
    ingest: IngestSettings
    log: LogSettings

    def differing(self, wanted: Self) -> list[str]:
        """Return the variables that have other values in ``wanted``."""
        return differing(
            (self.kafka, self.database, self.ingest, self.log),
            (wanted.kafka, wanted.database, wanted.ingest, wanted.log),
        )


class IngestWorker(WorkerThreads):
    """Hosts partitions as an actor: prepares its process, and ends with it."""

    def __init__(self, name: str, settings: ClusterSettings) -> None:
        start_logging(settings.log)
        # Rows may be a quarter of a second late, a viewer's frame may not. Where CPUs are short,
        # the live path goes first.
        os.nice(_NICENESS)
        # A read makes tens of thousands of messages, none of which is part of a cycle. Searching
        # them for cycles took a third of the worker's time.
        gc.freeze()
        gc.set_threshold(1_000_000, 10, 10)
        keep_freed_memory()
        super().__init__(
            name=name, kafka=settings.kafka, database=settings.database, ingest=settings.ingest
        )

    def stop(self) -> None:
        """Stop reading, finish storing, and end."""
        super().stop()
        ray.actor.exit_actor()


class WorkerHandle:
    """Handle of a worker for the supervisor: the pending request, its time, and the last answer."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._requested_at = 0.0
        self._call: asyncio.Task[dict[str, Any]] | None = None
        self.answer: dict[str, Any] = {}

    def assign(self, share: list[Partition], *, now: float) -> None:
        """Request that it host its share, unless a request is pending. Raises RayError if it is
        dead or failed.
        """
        if self._call is not None and not self._call.done():
            return
        if self._call is not None:
            self._take_answer()
        self._requested_at = now
        self._call = asyncio.ensure_future(_answer(self._handle.host.remote(share)))

    def overdue(self, *, now: float) -> bool:
        """Return whether an answer is overdue. The first may take as long as Ray needs to start a
        process.
        """
        waiting = self._call is not None and not self._call.done()
        return waiting and now - self._requested_at > (
            _ANSWER_WITHIN_S if self.answer else _START_WITHIN_S
        )

    def kill(self) -> None:
        """Kill the worker's process, which may be frozen."""
        if self._call is not None:
            self._call.cancel()
        ray.kill(self._handle, no_restart=True)

    async def shutdown(self) -> None:
        """Let the worker store its batch, and end it."""
        try:
            await asyncio.wait_for(_answer(self._handle.stop.remote()), _SHUTDOWN_WITHIN_S)
        except TimeoutError:
            self.kill()
        except ray.exceptions.RayActorError:
            pass  # it has ended, as requested

    def _take_answer(self) -> None:
        assert self._call is not None
        call, self._call = self._call, None
        try:
            self.answer = call.result()
        except ray.exceptions.ActorUnavailableError:
            log.warning("a worker is being restarted", was=self.answer.get("pid"))
            self.answer = {}


class Supervisor:
    """Keeps every partition with a worker that answers, requests missing frames from collectors,
    and finishes deletions.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        start_logging(settings.log)
        self._settings = settings
        self._partitions: list[Partition] = []
        self._hosted: dict[Partition, str] = {}
        self._workers = _workers_that_live()
        self._surplus = SurplusTimer(grace_s=_SURPLUS_S)
        self._retiring: set[asyncio.Future[None]] = set()
        # An actor that Ray restarts runs __init__ again, so the loops restart automatically.
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._discover()), loop.create_task(self._supervise())]
        self._stopping = threading.Event()
        _start_recovery(settings, self._stopping)
        _start_erasure(settings, self._stopping)

    async def stats(self) -> dict[str, Any]:
        """Return each worker's process and the its partitions' progress, as last reported."""
        workers = {name: worker.answer for name, worker in self._workers.items() if worker.answer}
        return {"pid": os.getpid(), "partitions": len(self._partitions), "workers": workers}

    async def differing(self, wanted: ClusterSettings) -> list[str]:
        """Return the variables that have other values in ``wanted``; this supervisor does not adopt
        them.
        """
        return self._settings.differing(wanted)

    async def stop(self) -> None:
        """Stop the workers, each after the batch that it is storing."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(
            *(worker.shutdown() for worker in self._workers.values()), *self._retiring
        )
        self._workers = {}

    async def _discover(self) -> None:
        admin: AdminClient | None = None
        while True:
            try:
                admin = admin or open_admin(self._settings.kafka)
                found = await asyncio.to_thread(_partitions_to_read, admin, self._settings.kafka)
                if found is not None and found != self._partitions:
                    log.info("partitions", before=len(self._partitions), now=len(found))
                    self._partitions = found
            except Exception:
                log.exception("looking for partitions failed, will go on")
            await asyncio.sleep(_DISCOVER_EVERY_S)

    async def _supervise(self) -> None:
        while True:
            try:
                self._look_after_workers(now=time.monotonic())
            except Exception:
                log.exception("supervision failed, will go on")
            await asyncio.sleep(_TICK_S)

    def _look_after_workers(self, *, now: float) -> None:
        wanted = self._wanted()
        while len(self._workers) < wanted:
            self._start_worker()
        if self._surplus.expired(running=len(self._workers), wanted=wanted, now=now):
            self._retire()
        shares = spread(self._partitions, sorted(self._workers), self._hosted)
        self._hosted = {p: worker for worker, share in shares.items() for p in share}
        for worker, share in shares.items():
            self._assign(worker, share, now=now)

    def _assign(self, worker: str, share: list[Partition], *, now: float) -> None:
        try:
            self._workers[worker].assign(share, now=now)
        except ray.exceptions.RayActorError:
            self._replace(worker, "dead")
        except ray.exceptions.RayError as error:
            self._replace(worker, repr(error))
        else:
            if self._workers[worker].overdue(now=now):
                self._replace(worker, "silent")

    def _wanted(self) -> int:
        per_worker = self._settings.ingest.partitions_per_actor
        cpus = int(ray.cluster_resources().get("CPU", 1))
        return worker_count(len(self._partitions), per_worker=per_worker, cpus=cpus)

    def _start_worker(self) -> str:
        name = _WORKER_PREFIX + uuid.uuid4().hex[:8]
        worker = (
            ray.remote(IngestWorker)
            .options(name=name, **_WORKER_OPTIONS)
            .remote(name, self._settings)
        )
        self._workers[name] = WorkerHandle(worker)
        log.info("worker started", worker=name)
        return name

    def _retire(self) -> None:
        """Stop the newest worker after its current batch. The others take its partitions over at
        once.
        """
        name, worker = self._workers.popitem()
        log.info("worker retired", worker=name)
        task = asyncio.ensure_future(worker.shutdown())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _replace(self, worker: str, why: str) -> None:
        """Give the worker's partitions to another at once: Ray takes several seconds to kill a
        frozen process.
        """
        log.warning("replacing a worker", worker=worker, why=why)
        self._workers.pop(worker).kill()
        successor = self._start_worker()
        self._hosted = {p: successor if w == worker else w for p, w in self._hosted.items()}


def start_ingest(settings: ClusterSettings) -> Any:
    """Return the supervisor of the connected Ray cluster, and start it if it does not run."""
    return (
        ray.remote(Supervisor).options(get_if_exists=True, **_SUPERVISOR_OPTIONS).remote(settings)
    )


def running_ingest() -> Any | None:
    """Return the supervisor of the connected Ray cluster; None if it does not run."""
    try:
        return ray.get_actor(SUPERVISOR, namespace=NAMESPACE)
    except ValueError:
        return None


def stop_ingest() -> None:
    """Stop the workers after the batches that they are storing, then the supervisor. No supervisor
    is no error.
    """
    if (supervisor := running_ingest()) is not None:
        ray.get(supervisor.stop.remote(), timeout=30)
        ray.kill(supervisor)


def _workers_that_live() -> dict[str, WorkerHandle]:
    named = ray.util.list_named_actors(all_namespaces=True)
    names = [
        n["name"]
        for n in named
        if n["namespace"] == NAMESPACE and n["name"].startswith(_WORKER_PREFIX)
    ]
    return {name: WorkerHandle(ray.get_actor(name, namespace=NAMESPACE)) for name in names}


def _start_recovery(settings: ClusterSettings, stop: threading.Event) -> None:
    recovery = GapRecovery(settings.kafka, settings.database, settings.ingest)
    threading.Thread(target=recovery.run, args=[stop], name="gap-recovery", daemon=True).start()


def _start_erasure(settings: ClusterSettings, stop: threading.Event) -> None:
    erasure = Erasure(settings.database)
    threading.Thread(target=erasure.run, args=[stop], name="erasure", daemon=True).start()


async def _answer(call: Any) -> Any:
    return await call


def _partitions_to_read(admin: AdminClient, kafka: KafkaSettings) -> list[Partition] | None:
    """Return the partitions of all topics of frames; None while no broker answers."""
    try:
        topics = cluster_of(admin, kafka, timeout_s=3).topics
    except BrokerUnavailable:
        return None
    of_frames = re.compile(telemetry_pattern(kafka))
    return [
        Partition(name, i)
        for name in sorted(topics)
        if of_frames.match(name)
        for i in sorted(topics[name].partitions)
    ]
