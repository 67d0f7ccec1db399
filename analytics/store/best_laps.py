"""Reads the colours of laps and their sectors, and the holders of the best times.

Takes an open psycopg connection and reads once, as `analytics.store.queries` does.
`analytics.laps.best_laps` defines the colours.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from analytics.laps.best_laps import Category, Colours


@dataclass(frozen=True, slots=True)
class StoredBest:
    """The best time of a part of a lap (0: the lap, else a sector), with its driver and date.

    ``owner`` is empty for the best of all drivers.
    """

    owner: str
    part: int
    layout: str
    time_ms: int
    set_at: datetime
    session_key: str
    lap_number: int


_COLOURS = """
SELECT lap_number, colour, sector_colours, version
  FROM lap_colours JOIN sessions s ON s.id = session_id WHERE s.key = %s AND NOT s.hidden
"""

_BESTS = """
SELECT DISTINCT ON (owner, part, layout) owner, part, layout, time_ms, set_at, s.key AS session_key,
       lap_number
  FROM bests b JOIN sessions s ON s.id = b.session_id
 WHERE b.game = %s AND b.track = %s AND b.car = %s
 ORDER BY owner, part, layout, time_ms
"""


def colours(conn: psycopg.Connection[Any], key: str) -> dict[int, Colours]:
    """Return the colours of a session's laps by their numbers; a lap that was not judged is not
    among them.

    The laps of a hidden session compare with nobody's, and have no colours.
    """
    rows = conn.execute(_COLOURS, [key])
    return {
        number: Colours(colour, tuple(sectors), version)
        for number, colour, sectors, version in rows
    }


def bests(conn: psycopg.Connection[Any], scope: Category) -> list[StoredBest]:
    """Return the best times of all drivers and of each owner in a scope."""
    with conn.cursor(row_factory=class_row(StoredBest)) as cursor:
        return cursor.execute(_BESTS, [scope.game, scope.track, scope.car]).fetchall()
