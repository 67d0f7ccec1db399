"""Times the laps of stored sessions again, with this lap engine and the newest version of their
track.

Reports the changes lap by lap, and writes only on request. Rule: the laps written are timed from
all frames stored at that moment. No worker continues from another timing. A session that has new
frames meanwhile is refused. The partition's worker is made to read again all that it remembers.
"""

from dataclasses import dataclass, fields
from typing import Any

import psycopg

from analytics.laps.best_laps import Category
from analytics.laps.engine import advance, last_lap
from analytics.laps.frame_arrays import COLUMNS
from analytics.laps.state import EngineState
from analytics.model.channels import schema_of
from analytics.model.lap import Lap
from analytics.model.track_layout import UNKNOWN, TrackLayout
from analytics.store.frame_pages import pages
from analytics.store.queries import laps
from ingest.errors import PurpleSectorError, SessionWentOn
from ingest.store.best_laps import judge_scope
from ingest.store.deadlock_retry import retry_on_deadlock
from ingest.store.laps import save_laps
from ingest.store.tracks import StoredTrack, newest_tracks

_SESSIONS = """
SELECT id, key, frames, frames > 0 AND updated_at > now() - interval '1 minute', game, track, car
  FROM sessions
 WHERE %(key)s::text IS NULL OR key = %(key)s ORDER BY id
"""

# Raises the fencing token as a takeover does. The worker ends, and its host starts another. That
# one reads the session's laps, and the track they are timed on.
_END_OWNERSHIP = """
UPDATE partition_offsets p SET fence = fence + 1 FROM sessions s WHERE s.id = %s
   AND (p.topic, p.partition) = (s.topic, s.partition)
"""

_FRAMES = "SELECT frames FROM sessions WHERE id = %s FOR UPDATE"
_DROP_OTHERS = "DELETE FROM laps WHERE session_id = %s AND NOT lap_number = ANY (%s)"
_PUT_ON_TRACK = "UPDATE sessions SET track_id = %s WHERE id = %s"


class FramesGone(PurpleSectorError):
    """Raised if some frames of a session are no longer stored. Only its laps are still known."""

    def __init__(self, key: str, stored: int, left: int) -> None:
        super().__init__(
            f"session {key!r}: of its {stored} frames {left} are left, which do not make its laps"
            " again"
        )


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session whose laps can be timed again. ``live`` means that a worker wrote to it in the last
    minute.
    """

    id: int
    key: str
    frames: int
    live: bool
    scope: Category


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one lap. ``before`` is None if the lap is new, ``after`` is None if it is no
    longer a lap.
    """

    lap_number: int
    before: Lap | None
    after: Lap | None

    @property
    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Return the changed fields of the lap, each with its value before and after."""
        if self.before is None or self.after is None:
            return {}
        both = (
            (f.name, getattr(self.before, f.name), getattr(self.after, f.name)) for f in fields(Lap)
        )
        return {name: (before, after) for name, before, after in both if before != after}


@dataclass(frozen=True, slots=True)
class Recomputed:
    """The laps of a session as timed now, and their differences from the stored laps."""

    session: StoredSession
    track: StoredTrack | None
    laps: tuple[Lap, ...]
    changes: tuple[Change, ...]


def stored_sessions(conn: psycopg.Connection[Any], key: str | None = None) -> list[StoredSession]:
    """Return all sessions, or the one of this key if there is one."""
    rows = conn.execute(_SESSIONS, {"key": key}).fetchall()
    return [
        StoredSession(id, key, frames, live, Category(*place))
        for id, key, frames, live, *place in rows
    ]


def recompute(conn: psycopg.Connection[Any], session: StoredSession) -> Recomputed:
    """Time a session's laps from all its frames. Writes nothing. Raises FramesGone if retention
    took some.
    """
    place = (session.scope.game, session.scope.track)
    track = newest_tracks(conn, [place]).get(place)
    now = _timed(conn, session, track.track.layout if track else UNKNOWN)
    before = {lap.lap_number: lap for lap in laps(conn, session.key)}
    changes = (
        Change(number, before.get(number), now.get(number)) for number in sorted({*before, *now})
    )
    changed = tuple(change for change in changes if change.before != change.after)
    return Recomputed(session, track, tuple(now.values()), changed)


def _timed(
    conn: psycopg.Connection[Any], session: StoredSession, layout: TrackLayout
) -> dict[int, Lap]:
    engine_state: EngineState | None = None
    found: dict[int, Lap] = {}
    read = 0
    for frames in pages(conn, schema_of(COLUMNS), session.id):
        ended, engine_state = advance(frames, engine_state, layout)
        found |= {lap.lap_number: lap for lap in ended}
        read += frames.num_rows
    if engine_state and not session.live and (last := last_lap(engine_state, layout)):
        found[last.lap_number] = last
    if read < session.frames:
        raise FramesGone(session.key, session.frames, read)
    return found


def write(conn: psycopg.Connection[Any], done: Recomputed) -> None:
    """Replace the session's laps by these, all or nothing, and have them judged.

    The session's further laps are timed on the same track. Raises SessionWentOn.
    """
    session = done.session
    retry_on_deadlock(lambda: _replace_laps(conn, done))
    # The records of laps that no longer exist are removed too.
    before = [change.before for change in done.changes if change.before]
    begun_us = [lap.started_at_us for lap in (*done.laps, *before)]
    if session.scope.track and begun_us:
        # A worker that is judging the scope reads the laps written here, or judges them at its next
        # start.
        judge_scope(conn, session.scope, min(begun_us))


def _replace_laps(conn: psycopg.Connection, done: Recomputed) -> None:
    session, numbers = done.session, [lap.lap_number for lap in done.laps]
    with conn.transaction(), conn.cursor() as cursor:
        # Take locks in the same order as `advance`. A batch with facts or laps has locked the
        # session before.
        cursor.execute(_END_OWNERSHIP, [session.id])
        if cursor.execute(_FRAMES, [session.id]).fetchone() != (session.frames,):
            raise SessionWentOn(session.key)
        cursor.execute(_DROP_OTHERS, [session.id, numbers])
        save_laps(cursor, [(session.id, lap) for lap in done.laps])
        cursor.execute(_PUT_ON_TRACK, [done.track.id if done.track else None, session.id])
