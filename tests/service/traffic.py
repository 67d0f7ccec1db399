"""A field of cars whose every frame is known, for tests that disturb the pipeline while it
works.
"""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.collectors.delivery.sender import Sender
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.frames import drive, facts
from ingest.settings import CollectorSettings, KafkaSettings
from ingest.telemetry_pb2 import TelemetryFrame
from tests.waiting import WITHIN_S


class Field:
    """``cars`` cars with ``frames`` frames each, at 60 Hz of their own time. The same field drives
    the same every time.
    """

    def __init__(self, *, cars: int, frames: int) -> None:
        self.frames = frames
        self._started_at_ms = time.time_ns() // 1_000_000 - frames * 1000 // 60 - 60_000
        self._driven = [
            list(
                itertools.islice(
                    drive(val_sarine(), seed=seed, started_at_ms=self._started_at_ms), frames
                )
            )
            for seed in range(cars)
        ]

    def expected(self, name: str) -> dict[str, int]:
        """Session → frames, when the field is called ``name``."""
        return {self._key(name, car): self.frames for car in range(len(self._driven))}

    def publish(self, kafka: KafkaSettings, name: str, *, duration_s: float = 0.0) -> None:
        """Send all frames, spread over ``duration_s``; returns when every one is acknowledged."""
        senders = [
            self._sender(kafka, self._key(name, car), car) for car in range(len(self._driven))
        ]
        begun = time.monotonic()
        for number, moment in enumerate(zip(*self._driven, strict=True)):
            for sender, frame in zip(senders, moment, strict=True):
                sender.send(_copy(frame))
            ahead_s = number / self.frames * duration_s - (time.monotonic() - begun)
            if ahead_s > 0.02:
                time.sleep(ahead_s)
        for sender in senders:
            left = sender.close(timeout_s=WITHIN_S)
            assert left is None, f"{sender.key}: {left}"

    @contextmanager
    def publishing(
        self, kafka: KafkaSettings, name: str, *, duration_s: float
    ) -> Iterator[threading.Thread]:
        """Publish meanwhile; waits for the end."""
        thread = threading.Thread(
            target=self.publish, args=[kafka, name], kwargs={"duration_s": duration_s}
        )
        thread.start()
        try:
            yield thread
        finally:
            thread.join()

    def _key(self, name: str, car: int) -> str:
        return f"{name}-{car}"

    def _sender(self, kafka: KafkaSettings, key: str, car: int) -> Sender:
        told = facts(
            val_sarine(),
            session_id=key,
            user_id="field",
            driver=f"car {car}",
            started_at_ms=self._started_at_ms,
        )
        return Sender(kafka, CollectorSettings(user_id="field"), told, linger_ms=5)


def _copy(frame: TelemetryFrame) -> TelemetryFrame:
    copy = TelemetryFrame()
    copy.CopyFrom(frame)
    return copy
