"""Sends the unacknowledged records of past sessions from the spool, after a killed collector or a
broker outage.

The backlog sends one session after another, the oldest first, each with its own key, sequences and
partition. The session that is being driven does not wait for it. The backlog skips a session
without progress until the next round.
"""

import time
from collections.abc import Callable, Iterator

import structlog

from ingest.collectors.delivery.pump import DeliveryPump
from ingest.collectors.spool.disk import DiskSpool
from ingest.collectors.spool.folder import SpoolFolder
from ingest.settings import KafkaSettings

log = structlog.get_logger()

LOOK_EVERY_S = 10.0
STUCK_S = 60.0
LINGER_MS = 20.0


class Backlog:
    """Sends the past sessions in ``folder``. One thread uses it; ``clock`` is monotonic, in
    seconds.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        folder: SpoolFolder,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.frames = 0  # acknowledged
        self._kafka, self._folder, self._clock = kafka, folder, clock
        self._round: Iterator[DiskSpool] | None = None
        self._spool: DiskSpool | None = None
        self._delivery: DeliveryPump | None = None
        self._look_at = self._stuck_at = float("-inf")
        self._seen = 0

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Send and wait at most ``timeout_s`` for the broker; return whether there is something to
        send.
        """
        now = self._clock()
        if self._delivery is None or self._spool is None:
            return self._next(now=now)
        self._delivery.poll(timeout_s)
        if self._delivery.frames > self._seen:
            self._seen, self._stuck_at = self._delivery.frames, now + STUCK_S
        if self._spool.drained or now >= self._stuck_at:
            self._conclude()
        return True

    def close(self) -> None:
        """Stop sending. Unacknowledged records stay in the spool."""
        if self._delivery is not None:
            self._conclude()
        if self._round is not None:
            self._round = None

    def _next(self, *, now: float) -> bool:
        if self._round is None:
            if now < self._look_at:
                return False
            self._look_at = now + LOOK_EVERY_S
            self._folder.free()
            self._round = self._folder.left()
        self._spool = next(self._round, None)
        if self._spool is None:
            self._round = None
            return False
        self._delivery = DeliveryPump(
            self._kafka, self._spool, linger_ms=LINGER_MS, shows_clock=True, clock=self._clock
        )
        self._seen, self._stuck_at = 0, now + STUCK_S
        log.info("sending what was left of a session", session=self._spool.session.key)
        return True

    def _conclude(self) -> None:
        assert self._delivery is not None
        assert self._spool is not None
        drained, delivery = self._spool.drained, self._delivery
        log.info(
            "sent" if drained else "not sent yet",
            session=self._spool.session.key,
            frames=delivery.frames,
        )
        self.frames += delivery.frames
        delivery.close()
        self._delivery = self._spool = None
