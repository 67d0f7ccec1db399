"""Reads and writes the versions of tracks: the version a session begins on, and the next one when
laps require it.

Runs statements on an open connection. `analytics.laps.track_learning` decides the version's values.
Two workers that learn one track at once make the same next version. The first one's stays, and the
other's is dropped.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg

from analytics.laps.track_learning import LapEvidence, LearnedTrack, learn
from analytics.model.track_layout import UNKNOWN, TrackLayout

Place = tuple[str, str]  # game and track

_NEWEST = """
SELECT DISTINCT ON (game, name) id, game, name, line_position, sector_positions, length_m, origin,
       version, laps, spread
  FROM tracks WHERE (game, name) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
 ORDER BY game, name, version DESC
"""

# The newest sessions show the track as it is now. A hundred laps determine it as well as all laps
# do.
_EVIDENCES = """
SELECT l.line_position, l.sector_positions, s.track_length_m
  FROM (SELECT id, track_length_m FROM sessions WHERE game = %s AND track = %s ORDER BY id DESC
      LIMIT 20) s
  JOIN laps l ON l.session_id = s.id
 WHERE l.line_position IS NOT NULL LIMIT 100
"""

_SAVE = """
INSERT INTO tracks (game, name, version, origin, line_position, sector_positions, length_m, laps,
    spread)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (game, name, version) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class StoredTrack:
    """A version of a track with its number in the store."""

    id: int
    track: LearnedTrack


def newest_tracks(
    conn: psycopg.Connection[Any], places: Collection[Place]
) -> dict[Place, StoredTrack]:
    """Return the newest version of each track that has one."""
    games, names = [game for game, _ in places], [name for _, name in places]
    found = (_stored(row) for row in conn.execute(_NEWEST, [games, names]))
    return {(each.track.game, each.track.name): each for each in found}


def learn_track(conn: psycopg.Connection[Any], game: str, name: str) -> LearnedTrack | None:
    """Make the next version of a track and return it if its laps require one."""
    known = newest_tracks(conn, [(game, name)]).get((game, name))
    rows = conn.execute(_EVIDENCES, [game, name]).fetchall()
    evidences = [LapEvidence(line, tuple(sectors), length_m) for line, sectors, length_m in rows]
    learnt = learn(game, name, evidences, known.track if known else None)
    if learnt is not None:
        save_track(conn, learnt)
    return learnt


def save_track(conn: psycopg.Connection[Any], track: LearnedTrack) -> None:
    """Save a version of a track. A stored version with the same number stays."""
    place = (track.game, track.name, track.version, track.origin)
    conn.execute(
        _SAVE, [*place, track.line, list(track.sectors), track.length_m, track.laps, track.spread]
    )


def layout_of_track(
    id: int | None,
    line: float | None,
    sectors: list[float] | None,
    length_m: float | None,
    version: int | None,
) -> TrackLayout:
    """Return the track layout that a session is timed on, from these columns of its track.

    All columns are None if the session began on no track.
    """
    if id is None or line is None or version is None:
        return UNKNOWN
    return LearnedTrack("", "", line, tuple(sectors or ()), length_m, version=version).layout


def _stored(row: tuple[Any, ...]) -> StoredTrack:
    id, game, name, line, sectors, length_m, origin, version, laps, spread = row
    track = LearnedTrack(
        game, name, line, tuple(sectors), length_m, origin, laps, spread, version=version
    )
    return StoredTrack(id, track)
