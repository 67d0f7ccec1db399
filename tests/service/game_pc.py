"""A game PC: a collector as a driver starts it, its spool, and what must be in the store of what a
game has given.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg

from ingest.collectors.spool.folder import SpoolFolder
from ingest.settings import KafkaSettings
from ingest.telemetry_pb2 import TelemetryFrame
from tests.game_emulators.ledger import Written
from tests.service.audit import assert_each_frame_once, wait_for_frames
from tests.waiting import WITHIN_S, wait_until

LIVE = 2


class GamePc:
    """``collect acc`` or ``ac`` in ``folder``, whenever it is started; ``settings`` are what its
    .env would say.
    """

    def __init__(self, game: str, folder: Path, kafka: KafkaSettings, **settings: Any) -> None:
        self._command = [sys.executable, "-m", "serve.cli.main", "collect", game]
        self._log = folder / "collector.log"
        self._spool = SpoolFolder(folder / "spool", max_bytes=0, keep_s=0)
        self._environment = os.environ | {
            "KAFKA_BROKERS": kafka.brokers,
            "KAFKA_TOPIC_TELEMETRY": kafka.topic_telemetry,
            "KAFKA_TOPIC_COMMANDS": kafka.topic_commands,
            "KAFKA_TOPIC_STATUS_REPORTS": kafka.topic_status_reports,
            "KAFKA_TOPIC_LAPS": kafka.topic_laps,
            "USER_ID": "anna",
            "SPOOL_DIR": str(folder / "spool"),
            "PURPLE_SECTOR_HOME": str(folder),
            **{name: str(value) for name, value in settings.items()},
        }
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the collector."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def start_another(self) -> str:
        """Start a second one, which must not; what it says."""
        done = subprocess.run(
            self._command,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
        )
        assert done.returncode == 1, done.stderr
        return done.stderr

    def kill(self) -> None:
        """The collector dies without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> dict[str, Any]:
        """Stop it as a driver does; the statistics that it prints."""
        said = self._end(signal.SIGTERM)
        statistics: dict[str, Any] = json.loads(said.splitlines()[-1])
        return statistics

    def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None and self._process.poll() is None:
            self._end(signal.SIGKILL)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def sessions(self) -> dict[str, list[TelemetryFrame]]:
        """What lies in its spool, sent or not, oldest session first."""
        return {
            kept.session.key: [
                TelemetryFrame.FromString(record.value) for record in kept.read([(1, 2**53)])
            ]
            for kept in reversed(list(self._spool.kept()))
        }

    def await_frames(self, session: int, frames: int) -> None:
        """Until the session, counted from 0, has so many."""

        def has() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            sessions = list(self.sessions().values())
            return len(sessions) > session and len(sessions[session]) >= frames

        wait_until(has)

    def _end(self, how: signal.Signals) -> str:
        assert self._process is not None
        self._process.send_signal(how)
        said, _ = self._process.communicate(timeout=WITHIN_S)
        assert self._process.returncode == (-how if how == signal.SIGKILL else 0), self.log
        self._process = None
        return said


def assert_stored(database_url: str, sessions: dict[str, list[TelemetryFrame]]) -> None:
    """The store has each frame of each session once, with its time and its values; and no other
    session.
    """
    counts = {key: len(frames) for key, frames in sessions.items()}
    wait_for_frames(database_url, counts)
    assert_each_frame_once(database_url, counts)
    with psycopg.connect(database_url) as conn:
        assert {key for (key,) in conn.execute("SELECT key FROM sessions")} == set(sessions)
        for key, frames in sessions.items():
            stored = conn.execute(_STORED, [key]).fetchall()
            given = [
                (f.sequence, f.timestamp, f.lap_time, f.speed, f.rpm, f.lap_number) for f in frames
            ]
            differing = [pair for pair in zip(stored, given, strict=True) if pair[0] != pair[1]]
            assert differing == [], (
                f"session {key}: {differing[:3]} of {len(differing)}, of {len(frames)}"
            )


_STORED = """
SELECT sequence, (extract(epoch FROM time) * 1000)::bigint, lap_clock_ms, speed_kmh::float8, rpm,
       lap_number
  FROM telemetry JOIN sessions s ON s.id = session_id WHERE s.key = %s ORDER BY sequence
"""


def assert_given(frames: Iterable[TelemetryFrame], written: Iterable[Written]) -> None:
    """Each frame is something that the game showed, in the game's order, and none is there
    twice.
    """
    ahead = iter(written)
    for frame in frames:
        seen = (frame.speed, frame.throttle, frame.brake, frame.rpm)
        assert any(seen == (w.speed_kmh, w.throttle, w.brake, w.rpm) for w in ahead), (
            f"the game did not give frame {frame.sequence} after the one before: {seen}"
        )
