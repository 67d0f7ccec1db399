"""Stores laps as rows; a lap that is there already is replaced."""

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from analytics.model.lap import Lap

# Fields of an `analytics.model.lap.Lap`, except its begin and end.
_LAP_VALUES = (
    "lap_time_ms",
    "official_lap_time_ms",
    "sector_times_ms",
    "sector_source",
    "flags",
    "frames",
    "gaps",
    "max_speed_kmh",
    "max_speed_position",
    "reasons",
    "computed_sector_times_ms",
    "mini_sector_times_ms",
    "line_position",
    "sector_positions",
    "sector_ends_us",
    "engine",
)

_SAVE_LAP = sql.SQL("""
INSERT INTO laps (session_id, lap_number, started_at, ended_at, {columns})
VALUES (%s, %s, to_timestamp(%s / 1e6), to_timestamp(%s / 1e6), {values})
ON CONFLICT (session_id, lap_number) DO UPDATE SET started_at = excluded.started_at,
    ended_at = excluded.ended_at, {renewed}
""").format(
    columns=sql.SQL(", ").join(map(sql.Identifier, _LAP_VALUES)),
    values=sql.SQL(", ").join(sql.Placeholder() * len(_LAP_VALUES)),
    renewed=sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in _LAP_VALUES
    ),
)


def save_laps(cursor: psycopg.Cursor[Any], laps: Iterable[tuple[int, Lap]]) -> None:
    """Save laps, each with the store's number of its session."""
    if rows := [_row(session_id, lap) for session_id, lap in laps]:
        cursor.executemany(_SAVE_LAP, rows)


def _row(session_id: int, lap: Lap) -> tuple[Any, ...]:
    values = (getattr(lap, name) for name in _LAP_VALUES)
    plain = (list(value) if isinstance(value, tuple) else value for value in values)
    return (session_id, lap.lap_number, lap.started_at_us, lap.ended_at_us, *plain)
