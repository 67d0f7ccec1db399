"""What the store must hold after everything that was done to the pipeline: each frame once, in
order, and the same laps.
"""

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import psycopg

from tests.waiting import WITHIN_S


def wait_for_frames(database_url: str, expected: Mapping[str, int]) -> None:
    """Wait until as many frames as were acknowledged are stored; raises AssertionError that says
    how far it came.
    """
    deadline = time.monotonic() + WITHIN_S
    stored: dict[str, int] = {}
    while time.monotonic() < deadline:
        # The database may be what is being restarted.
        with contextlib.suppress(psycopg.OperationalError):
            stored = _frames(database_url, list(expected))
        if all(stored.get(key, 0) >= count for key, count in expected.items()):
            return
        time.sleep(0.2)
    missing = {
        key: count - stored.get(key, 0)
        for key, count in expected.items()
        if stored.get(key, 0) < count
    }
    raise AssertionError(f"after {WITHIN_S:g} s still missing: {missing}")


def assert_each_frame_once(database_url: str, expected: Mapping[str, int]) -> None:
    """By session and sequence: none lost, none twice, none invented, none out of order; and the
    books agree.
    """
    with psycopg.connect(database_url) as conn:
        for key, count in expected.items():
            rows, distinct, first, last, frames, received, disorder = conn.execute(
                _LEDGER, [key]
            ).fetchone()
            assert (rows, distinct, first, last) == (count, count, 1, count), f"session {key}"
            assert frames == count, f"session {key}: sessions.frames"
            assert received == f"{{[1,{count + 1})}}", f"session {key}: sessions.received"
            assert disorder == 0, f"session {key}: frames out of order"
        open_gaps = conn.execute(
            "SELECT count(*) FROM gaps JOIN sessions s ON s.id = session_id WHERE s.key = ANY (%s)"
            " AND resolved_at IS NULL",
            [list(expected)],
        ).fetchone()
        assert open_gaps == (0,)


def laps_of(database_url: str, key: str) -> list[tuple[Any, ...]]:
    """A session's laps without what names the session."""
    with psycopg.connect(database_url) as conn:
        return conn.execute(
            "SELECT lap_number, l.started_at, lap_time_ms, official_lap_time_ms, sector_times_ms,"
            " sector_source, flags, l.frames, gaps, max_speed_kmh FROM laps l JOIN sessions s ON"
            " s.id = l.session_id WHERE s.key = %s ORDER BY lap_number",
            [key],
        ).fetchall()


_LEDGER = """
SELECT count(t.*), count(DISTINCT t.sequence), min(t.sequence), max(t.sequence), s.frames,
       s.received::text,
       count(*) FILTER (WHERE t.step <> 1)
  FROM sessions s
  LEFT JOIN LATERAL (
       SELECT sequence, sequence - lag(sequence) OVER (ORDER BY time) AS step FROM telemetry
        WHERE session_id = s.id
  ) t ON true
 WHERE s.key = %s
 GROUP BY s.id
"""


def _frames(database_url: str, keys: list[str]) -> dict[str, int]:
    with psycopg.connect(database_url, connect_timeout=2) as conn:
        return dict(
            conn.execute("SELECT key, frames FROM sessions WHERE key = ANY (%s)", [keys]).fetchall()
        )
