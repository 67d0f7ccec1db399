"""``python -m tests.bench.live_cars BROKERS CARS RATE FOLDER``: simulated cars through the
collector's own code, in one process.

What `collect simulate` does, but with the spool on disk that a game's collector has. Prints each
session's key when it is opened, drives until its standard input ends, and then writes when each
frame was due and when it was sent to FOLDER/steps.json. Times are of the monotonic clock, which all
processes of a Linux machine share.
"""

import json
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from ingest.collectors.delivery.sender import Sender
from ingest.collectors.simulator.circuit import CIRCUITS
from ingest.collectors.spool.folder import SpoolFolder
from ingest.logging_setup import start_logging
from ingest.settings import CollectorSettings, KafkaSettings, LogSettings
from ingest.telemetry_pb2 import Session, TelemetryFrame
from serve.cli.collect import Instant, Outing, drive_cars

USER = "bench-live"


class TimedSender(Sender):
    """A sender that notes when each frame was sent: ``sent_s[sequence - 1]``."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.sent_s: list[float] = []

    def send(self, frame: TelemetryFrame) -> None:
        super().send(frame)
        self.sent_s.append(time.monotonic())


def main(brokers: str, cars: str, rate_hz: str, folder: str) -> None:
    """Drive until standard input ends."""
    # What is printed is read for keys, at the start alone.
    start_logging(LogSettings.read(level="ERROR"))
    kafka = KafkaSettings.read(brokers=brokers)
    collector = CollectorSettings.read(user_id=USER)
    spool = SpoolFolder(Path(folder) / "spool", max_bytes=1 << 30, keep_s=0)
    opened: list[TimedSender] = []
    begun_s: dict[str, float] = {}

    def open_sender(told: Session, *, linger_ms: float) -> TimedSender:
        sender = TimedSender(kafka, collector, told, open_spool=spool.begin, linger_ms=linger_ms)
        opened.append(sender)
        begun_s[sender.key] = begun.monotonic_s + (told.started_at - begun.wall_ms) / 1000
        sys.stdout.write(f"session {sender.key}\n")
        sys.stdout.flush()
        return sender

    over = threading.Event()
    threading.Thread(target=partial(_wait_for_end, over), daemon=True).start()
    outing = Outing(CIRCUITS["aldermoor"](), 1, float(rate_hz), 1.0, None, 0)
    begun = Instant.now()
    drive_cars(
        outing,
        int(cars),
        USER,
        open_sender,
        begun=begun,
        stop=over.is_set,
        quiet=True,
        controlled=[],
    )
    steps = {sender.key: sender.sent_s for sender in opened}
    told = {"begun_s": begun_s, "rate_hz": outing.rate_hz, "sent_s": steps}
    Path(folder, "steps.json").write_text(json.dumps(told))


def _wait_for_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


if __name__ == "__main__":
    main(*sys.argv[1:])
