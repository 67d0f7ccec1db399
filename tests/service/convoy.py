"""Sessions that stream side by side as live games do, and how long each went without an
acknowledgement.
"""

import threading
import time
from typing import Self

from ingest.collectors.delivery.sender import Sender
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.frames import drive, facts
from ingest.settings import CollectorSettings, KafkaSettings
from tests.waiting import WITHIN_S

RATE_HZ = 60.0
LINGER_MS = 50.0


class Convoy:
    """``sessions`` sessions through the collectors' own sender, from `start` on until `finish`."""

    def __init__(self, kafka: KafkaSettings, name: str, *, sessions: int) -> None:
        self._started_at_ms = time.time_ns() // 1_000_000
        self._senders = [self._sender(kafka, f"{name}-{number}") for number in range(sessions)]
        self._acked_at = [time.monotonic()] * sessions
        self._longest_s = [0.0] * sessions
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._stream, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def begin_pause(self) -> None:
        """Forget how long the sessions waited until now."""
        self._longest_s = [0.0] * len(self._senders)

    def await_acknowledgements(self) -> None:
        """Wait until every session has a frame acknowledged that was driven from now on."""
        driven = [sender.statistics.frames_collected for sender in self._senders]
        deadline = time.monotonic() + WITHIN_S
        while behind := [
            s.key for s, n in zip(self._senders, driven, strict=True) if _acknowledged(s) <= n
        ]:
            assert time.monotonic() < deadline, f"no acknowledgement for {behind}"
            assert self._thread.is_alive(), "the convoy has ended"
            time.sleep(0.02)

    @property
    def longest_pause_s(self) -> float:
        """The longest that any session has waited since `begin_pause`."""
        return max(self._longest_s)

    @property
    def acknowledged(self) -> int:
        """Frames, of all sessions."""
        return sum(map(_acknowledged, self._senders))

    @property
    def partitions(self) -> list[int | None]:
        """Of each session."""
        return [sender.partition for sender in self._senders]

    def finish(self) -> dict[str, int]:
        """Stop driving and wait until all is acknowledged: session → frames."""
        self.__exit__()
        for sender in self._senders:
            left = sender.close(timeout_s=WITHIN_S)
            assert left is None, f"{sender.key}: {left}"
        return {sender.key: _acknowledged(sender) for sender in self._senders}

    def _stream(self) -> None:
        begun = time.monotonic()
        for number, frame in enumerate(
            drive(val_sarine(), seed=1, started_at_ms=self._started_at_ms)
        ):
            for index, sender in enumerate(self._senders):
                before = _acknowledged(sender)
                sender.send(frame)
                self._note(index, before, now=time.monotonic())
            if self._stopping.wait(max(0.0, begun + number / RATE_HZ - time.monotonic())):
                return

    def _note(self, index: int, before: int, *, now: float) -> None:
        self._longest_s[index] = max(self._longest_s[index], now - self._acked_at[index])
        if _acknowledged(self._senders[index]) > before:
            self._acked_at[index] = now

    def _sender(self, kafka: KafkaSettings, key: str) -> Sender:
        told = facts(
            val_sarine(),
            session_id=key,
            user_id="convoy",
            driver=key,
            started_at_ms=self._started_at_ms,
        )
        # Three frames a request: where three brokers share two CPUs, 1,200 requests a second leave
        # them none to elect with.
        return Sender(
            kafka, CollectorSettings(_env_file=None, user_id="convoy"), told, linger_ms=LINGER_MS
        )


def _acknowledged(sender: Sender) -> int:
    return sender.statistics.frames_published
