"""Writes the batches of one partition to PostgreSQL, each exactly once.

The order inside the transaction matters: COPY first, then the small tables. Last comes ``SELECT
advance(...); COMMIT``, in one message to the server. A worker that freezes anywhere before holds no
lock that its successor needs. A replaced worker is refused by its fencing token and has written
nothing. After any error the caller drops its state in memory.

A takeover ends the connection that the partition's row names. Where many partitions write over a
few connections, each in its own transaction, the row names none (0), and a transaction marks
itself: it begins with a shared advisory lock on its partition. The lock blocks nobody, and shows a
successor which connection is at work for the partition.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import pgpq
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from psycopg import ClientCursor, sql

from analytics.laps.best_laps import Category
from analytics.laps.engine import advance, resume
from analytics.laps.state import EngineState
from analytics.laps.track_learning import LearnedTrack
from analytics.model.channels import FRAMES
from analytics.model.lap import Lap
from analytics.model.track_layout import TrackLayout
from analytics.store.queries import frames_to_resume
from ingest.batching.partition_log import Partition
from ingest.batching.sequence_set import SequenceSet
from ingest.batching.write_batch import (
    DeadLetter,
    FinishedLap,
    LateFrames,
    OpenSession,
    RunningLap,
    WriteBatch,
)
from ingest.codec.session_times import SessionTimes
from ingest.errors import (
    PartitionTaken,
    SessionsChanged,
    SessionWentOn,
    StoreBusy,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from ingest.settings import DatabaseSettings
from ingest.store.best_laps import colour_running, judge_scope, judgements_due, unjudged
from ingest.store.connection import connect
from ingest.store.dead_letters import (
    NotKept,
    expire_dead_letters,
    kind_of_reason,
    save_dead_letters,
)
from ingest.store.laps import save_laps
from ingest.store.locked_chunks import (
    LockedChunk,
    describe_locks,
    locked_chunks,
    move_pending,
    split_frames,
)
from ingest.store.orphaned_sessions import adopt_orphans
from ingest.store.removal.deletions import deleted_keys
from ingest.store.schema.timescale_policies import COLUMNSTORE_AFTER
from ingest.store.sessions import save_facts
from ingest.store.tracks import Place, StoredTrack, layout_of_track, learn_track, newest_tracks

log = structlog.get_logger()

#: The name of connections that partitions share.
SHARED_CONNECTION = "purple-sector ingest"

_COPY = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)")
_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, FRAMES.names))
# For frames of a chunk that may be locked just after the check. The live frames of the batch wait
# with them.
_WAIT_BRIEFLY = "SET LOCAL lock_timeout = '500ms'"
_WAIT_AS_EVER = "SET LOCAL lock_timeout TO DEFAULT"
COPY_FRAMES = _COPY.format(sql.Identifier("telemetry"), _COLUMNS)
_COPY_PENDING = _COPY.format(sql.Identifier("telemetry_pending"), _COLUMNS)

_TAKE_OVER = """
INSERT INTO partition_offsets (topic, partition, next_offset, fence, owner, backend_pid,
    backend_start, topic_id)
SELECT %(topic)s, %(index)s, %(first)s, 1, %(owner)s, CASE WHEN %(owned)s THEN pid ELSE 0 END,
       backend_start, %(topic_id)s
  FROM pg_stat_activity WHERE pid = pg_backend_pid()
ON CONFLICT (topic, partition) DO UPDATE
   SET fence = partition_offsets.fence + 1, owner = excluded.owner,
       backend_pid = excluded.backend_pid,
       backend_start = excluded.backend_start, heartbeat = clock_timestamp(),
       topic_id = coalesce(partition_offsets.topic_id, excluded.topic_id)
RETURNING next_offset, fence, topic_id
"""

_RESUME = """
UPDATE partition_offsets p
   SET backend_pid = CASE WHEN %(owned)s THEN a.pid ELSE 0 END, backend_start = a.backend_start,
    heartbeat = clock_timestamp()
  FROM pg_stat_activity a
 WHERE a.pid = pg_backend_pid() AND p.topic = %(topic)s AND p.partition = %(index)s
   AND p.fence = %(fence)s
RETURNING next_offset, topic_id
"""

# Runs in the transaction that moves the position. The fencing token refuses it as a whole if this
# worker was replaced.
_SET_TOPIC_ID = """
UPDATE partition_offsets SET topic_id = %(topic_id)s WHERE topic = %(topic)s
   AND partition = %(index)s AND fence = %(fence)s
"""

_SAVE_LOST = """
INSERT INTO gaps (topic, partition, from_offset, to_offset, reason)
VALUES (%(topic)s, %(index)s, %(from_offset)s, %(to_offset)s, %(reason)s)
"""

# Marks a transaction as one of the partition.
_MARK = "SELECT pg_advisory_xact_lock_shared(hashtextextended(%(topic)s, %(index)s))"
_BEGIN = f"BEGIN; {_MARK}"

_END_PREDECESSOR = """
SELECT pg_terminate_backend(pid, 5000) FROM (
    SELECT a.pid FROM partition_offsets p JOIN pg_stat_activity a ON a.pid = p.backend_pid
       AND a.backend_start = p.backend_start
     WHERE p.topic = %(topic)s AND p.partition = %(index)s
    UNION
    SELECT l.pid FROM partition_offsets p JOIN pg_locks l ON p.backend_pid = 0
       AND l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended(p.topic, p.partition)
     WHERE p.topic = %(topic)s AND p.partition = %(index)s
) AS predecessor WHERE pid <> pg_backend_pid()
"""

# A conflict takes a number from the sequence too, and each restart opens sessions again. So look
# first.
_MAKE_SESSIONS = """
INSERT INTO sessions (key, user_id, topic, partition)
SELECT key, user_id, %s, %s FROM unnest(%s::text[], %s::text[]) AS new(key, user_id)
 WHERE NOT EXISTS (SELECT FROM sessions s WHERE s.key = new.key)
   AND NOT EXISTS (SELECT FROM deleted_sessions d
                    WHERE d.key_hash = sha256(convert_to(new.key, 'UTF8')))
ON CONFLICT (key) DO NOTHING
"""

_OPEN_SESSIONS = """
SELECT key, s.id, received::text, (extract(epoch FROM started_at) * 1000)::bigint, frames,
       last_sequence,
       (extract(epoch FROM last_frame_at) * 1000)::bigint,
       (extract(epoch FROM updated_at) * 1000)::bigint, s.game, track, car,
       clock_state, user_id, driver, t.id, t.line_position, t.sector_positions, t.length_m,
       t.version
  FROM sessions s LEFT JOIN tracks t ON t.id = s.track_id WHERE key = ANY (%s)
"""

_CORRECTIONS = """
SELECT s.key, from_sequence, offset_ms FROM clock_corrections c JOIN sessions s
    ON s.id = c.session_id
 WHERE s.key = ANY (%s) ORDER BY from_sequence
"""

# Frames without a sequence use the last correction.
_SAVE_CORRECTIONS = """
INSERT INTO clock_corrections (session_id, from_sequence, offset_ms, placed_at, reason)
VALUES (%s, %s, %s, to_timestamp(%s / 1e3), %s)
ON CONFLICT (session_id, from_sequence) DO UPDATE
   SET offset_ms = excluded.offset_ms, placed_at = excluded.placed_at, reason = excluded.reason,
       seen_at = now()
"""

# Reads the version of the row as well. When another worker moves frames that waited for a locked
# chunk, it changes the row. It does not change their number, nor late_from where that is early
# enough already.
_LATE_FROM = """
SELECT xmin::text, least((extract(epoch FROM late_from) * 1000000)::bigint, %s) FROM sessions
 WHERE id = %s
"""

_LAYOUT_OF = """
SELECT t.id, t.line_position, t.sector_positions, t.length_m, t.version
  FROM sessions s LEFT JOIN tracks t ON t.id = s.track_id WHERE s.id = %(id)s
"""

# Kept until the laps have been timed again. Another worker may own the partition by then.
_SAVE_LATE = (
    "UPDATE sessions SET late_from = least(late_from, to_timestamp(%s / 1e6)) WHERE id = %s"
)

_NOT_LATE = "UPDATE sessions SET late_from = NULL WHERE id = %s AND xmin = %s::text::xid"

_LATE_SESSIONS = """
SELECT id, key, (extract(epoch FROM late_from) * 1000000)::bigint
  FROM sessions WHERE topic = %(topic)s AND partition = %(index)s AND late_from IS NOT NULL
"""

_HAS_UNFINISHED = """
SELECT EXISTS (SELECT FROM sessions s
                WHERE topic = %(topic)s AND partition = %(index)s
                  AND (late_from IS NOT NULL
                       OR EXISTS (SELECT FROM telemetry_pending t WHERE t.session_id = s.id)))
"""

_FRAMES_OF = "SELECT frames FROM sessions WHERE id = %s FOR UPDATE"

# A worker that was replaced may not have stored the laps that these sessions ended with.
_RECENT_SESSIONS = """
SELECT key FROM sessions
 WHERE topic = %(topic)s AND partition = %(index)s AND frames > 0
   AND updated_at > now() - interval '10 minutes' ORDER BY updated_at
"""

# Laps that were split at missing frames, or counted from another start, no longer exist.
_DROP_LAPS = """
DELETE FROM laps WHERE session_id = %(id)s AND lap_number >= %(from)s::integer
   AND NOT lap_number = ANY (%(numbers)s)
"""

_ADVANCE_AND_COMMIT = """
SELECT advance(%s, %s, %s, %s, %s, %s::integer[], %s::int8multirange[], %s::bigint[], %s::bigint[],
       %s::bigint[], %s::bigint[], %s::bigint[], %s::text[]);
COMMIT
"""

# Frames that came by another partition are not missing. If a session lacks every other frame, its
# received ranges are long. They are read once, not once per gap.
_SAVE_GAPS = """
WITH new AS (SELECT * FROM unnest(%s::integer[], %s::bigint[], %s::bigint[])
    AS g(session_id, from_sequence, to_sequence)),
there AS MATERIALIZED (
    SELECT s.id, s.received * int8multirange(int8range(min(from_sequence), max(to_sequence), '[]'))
           AS received
      FROM new JOIN sessions s ON s.id = new.session_id GROUP BY s.id
)
INSERT INTO gaps (session_id, from_sequence, to_sequence, reason)
SELECT there.id, from_sequence, to_sequence, 'missing' FROM new JOIN there
    ON there.id = new.session_id
 WHERE NOT there.received @> int8range(from_sequence, to_sequence, '[]')
 ORDER BY there.id, from_sequence
"""


@dataclass(frozen=True, slots=True)
class Ownership:
    """Ownership of a partition: the fencing token held, and the next offset to read in the topic
    with that id.
    """

    fence: int
    next_offset: int
    topic_id: str | None = None


class PartitionWriter:
    """Writes one partition, over a connection of its own or those that it is given.

    Every method raises StoreUnavailable when the database does not answer. Connecting raises
    LicenceLost if the database would refuse every frame.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        partition: Partition,
        conn: psycopg.Connection[Any] | None = None,
    ) -> None:
        self.partition = partition
        self._place: dict[str, Any] = {"topic": partition.topic, "index": partition.index}
        self._address = settings.address
        self._quota = settings.dead_letters
        self._full: set[str] = set()  # kinds of dead letters that had no place the last time
        self._look_for_locks = False  # before every batch, not only before late frames
        self._logged_locked: set[str] = set()
        self._owned = conn is None
        self._conn = conn or connect(settings, f"purple-sector {partition}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._owned:
            self._conn.close()

    def use(self, conn: psycopg.Connection[Any]) -> None:
        """Write over this connection from now on. No transaction is under way."""
        self._conn = conn

    def take_over(self, owner: str, *, first_offset: int, topic_id: str | None = None) -> Ownership:
        """Become the partition's owner by takeover: raise the fencing token and end the
        predecessor's connection.

        ``first_offset`` is the start of a partition that nobody has read yet. ``topic_id`` is
        stored if none is.
        """
        row = self._place | {"owner": owner, "first": first_offset, "topic_id": topic_id}
        row["owned"] = self._owned
        with self._reachable():
            # Only this can end a predecessor that is frozen in a COPY, and its rows must not arrive
            # later.
            self._end_predecessor()
            next_offset, fence, stored_id = self._one(_TAKE_OVER, row)
            expire_dead_letters(self._conn, self.partition, self._quota)
            return Ownership(fence, next_offset, stored_id)

    def _end_predecessor(self) -> None:
        self._conn.execute(_END_PREDECESSOR, self._place)

    def _begin(self) -> None:
        # A client-side cursor sends both statements as one message.
        ClientCursor(self._conn).execute(_BEGIN, self._place)

    def resume(self, fence: int) -> Ownership:
        """Continue as the owner over a new connection. Raises PartitionTaken if another worker has
        taken over since.
        """
        with self._reachable():
            values = self._place | {"fence": fence, "owned": self._owned}
            found = self._conn.execute(_RESUME, values).fetchone()
        if found is None:
            raise PartitionTaken(self.partition, f"fence {fence} is not in force any more")
        return Ownership(fence, *found)

    def beat(self, fence: int) -> None:
        """Send a heartbeat of the owner when no records arrive. Raises PartitionTaken."""
        self.resume(fence)

    def open_sessions(self, keys: Sequence[str], users: dict[str, str]) -> dict[str, OpenSession]:
        """Return the sessions of these keys. Makes new ones, and restores the state of those with
        stored frames.

        A session that was deleted is not made again, and is not among them.
        """
        with self._reachable():
            place = [self.partition.topic, self.partition.index]
            users_of_keys = [users.get(key, "") for key in keys]
            self._conn.execute(_MAKE_SESSIONS, [*place, list(keys), users_of_keys])
            rows = self._conn.execute(_OPEN_SESSIONS, [list(keys)]).fetchall()
            sessions = {row[0]: self._open_session(*row) for row in rows}
            for key, from_sequence, offset_ms in self._conn.execute(_CORRECTIONS, [list(keys)]):
                if key in sessions:
                    sessions[key].times.correct(from_sequence, offset_ms)
            return sessions

    def _open_session(
        self,
        key: str,
        id: int,
        received: str,
        started_at_ms: int | None,
        frames: int,
        last_reported: int,
        *place: Any,
    ) -> OpenSession:
        latest_ms, written_ms, game, track, car, clock_state, user_id, driver, track_id, *layout = (
            place
        )
        session = OpenSession(
            id,
            key,
            SequenceSet.from_multirange(received),
            started_at_ms,
            None,
            last_reported,
            game,
            track,
            car,
            user_id,
            driver,
        )
        session.frames = frames
        session.times = _times(
            clock_state or (),
            session.highest,
            latest_ms,
            written_ms if frames else None,
            started_at_ms,
        )
        if track_id is not None:
            session.begin_on(track_id, layout_of_track(track_id, *layout))
        if frames:
            # The state that the lap engine would have if this worker had timed the session from its
            # start.
            stored, last = frames_to_resume(self._conn, id)
            session.engine_state = _timed(stored, last, session.layout)[1]
            if (
                last
                and session.engine_state
                and session.engine_state.open.lap_number == last.lap_number
            ):
                session.ended_from_us = last.started_at_us
        return session

    def deleted(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those of these keys whose sessions were deleted."""
        with self._reachable():
            return deleted_keys(self._conn, keys)

    def recent_sessions(self) -> list[str]:
        """Return the sessions of this partition with frames in the last minutes, oldest update
        first.
        """
        with self._reachable():
            return [key for (key,) in self._conn.execute(_RECENT_SESSIONS, self._place)]

    def newest_tracks(self, places: Collection[Place]) -> dict[Place, StoredTrack]:
        """Return the newest version of each of these tracks that has one."""
        with self._reachable():
            return newest_tracks(self._conn, places)

    def learn_track(self, place: Place) -> LearnedTrack | None:
        """Make the next version of a track and return it if its laps require one."""
        with self._reachable():
            return learn_track(self._conn, *place)

    def unjudged(self) -> dict[Category, int]:
        """Return the scopes in which laps of this partition wait for colours, each with the
        earliest time in µs.
        """
        with self._reachable():
            return unjudged(self._conn, self.partition)

    def judgements_due(self) -> dict[Category, int]:
        """Return the scopes to judge again because a session of this partition was deleted, hidden
        or shown, each with the earliest time in µs.
        """
        with self._reachable():
            return judgements_due(self._conn, self.partition)

    def judge(self, scope: Category, since_us: int) -> list[FinishedLap] | None:
        """Judge a scope and return its laps that ended since ``since_us`` and have new colours, of
        any partition.

        Returns None if another worker is judging the scope: try again later.
        """
        with self._reachable(), self._conn.transaction():
            self._conn.execute(_MARK, self._place)
            judged = judge_scope(self._conn, scope, since_us)
        if judged is None:
            return None
        return [
            FinishedLap(j.driven.session_id, j.session_key, j.driven.lap, j.driven.assigned)
            for j in judged
        ]

    def colour(self, running: Sequence[RunningLap]) -> list[RunningLap]:
        """Return these laps with the colours of their sectors, judged by the records that stand."""
        with self._reachable():
            return colour_running(self._conn, running)

    def late_sessions(self) -> list[LateFrames]:
        """Return the sessions of this partition whose laps must be timed again."""
        with self._reachable():
            return [LateFrames(*row) for row in self._conn.execute(_LATE_SESSIONS, self._place)]

    def time_again(
        self, late: LateFrames, position: int, fence: int
    ) -> tuple[list[FinishedLap], EngineState | None]:
        """Time the laps from all stored frames and write them, as if no frames had come late.
        Raises PartitionTaken.

        Returns those laps, from the one before the late frames on, and the lap engine's new state.
        Raises SessionWentOn and writes nothing if another worker stored frames of the session
        meanwhile.
        """
        with self._reachable():
            found = self._conn.execute(_LATE_FROM, [late.from_us, late.session_id]).fetchone()
            if found is None:
                raise SessionsChanged(self.partition, f"session {late.session_id} was deleted")
            version, from_us = found
            stored, sure = frames_to_resume(self._conn, late.session_id, late_from_us=from_us)
            layout = layout_of_track(*self._one(_LAYOUT_OF, {"id": late.session_id}))
            laps, engine_state = _timed(stored, sure, layout)
            self._begin()
            self._replace_laps(late.session_id, laps, sure.lap_number if sure else -1)
            if not self._conn.execute(_NOT_LATE, [late.session_id, version]).rowcount:
                self._conn.execute("ROLLBACK")
                raise SessionWentOn(late.session_key)
            self._advance_and_commit(_nothing(position, position), fence)
        return [FinishedLap(late.session_id, late.session_key, lap) for lap in laps], engine_state

    def _replace_laps(self, session_id: int, laps: Sequence[Lap], first: int) -> None:
        """Replace the session's laps from number ``first`` on."""
        numbers = [lap.lap_number for lap in laps]
        self._conn.execute(_DROP_LAPS, {"id": session_id, "from": first, "numbers": numbers})
        save_laps(self._conn.cursor(), [(session_id, lap) for lap in laps])

    def end_lap(
        self, session: OpenSession, lap: Lap, position: int, fence: int
    ) -> list[FinishedLap]:
        """Write the lap that a session ended with, and return it. Raises PartitionTaken.

        Writes and returns nothing if another worker stored frames of the session meanwhile.
        """
        with self._reachable():
            self._begin()
            if self._conn.execute(_FRAMES_OF, [session.id]).fetchone() != (session.frames,):
                self._conn.execute("ROLLBACK")
                return []
            save_laps(self._conn.cursor(), [(session.id, lap)])
            self._advance_and_commit(_nothing(position, position), fence)
        session.ended_from_us = lap.started_at_us
        return [FinishedLap(session.id, session.key, lap)]

    def write(self, chunk: WriteBatch, fence: int) -> frozenset[int]:
        """Store a batch and commit the partition's new position, all or nothing. Raises
        PartitionTaken, SessionsChanged.

        Returns the sessions with frames stored by another worker that this one does not know. The
        store notes that their laps must be timed again. This worker's state of them is stale.
        """
        late = _has_late(chunk.frames, now_us=time.time_ns() // 1000)
        try:
            return self._write(chunk, fence, late=late, wait_briefly=late)
        except StoreBusy:
            # Perhaps the lock was taken after the check. Nothing was written.
            self._look_for_locks = bool(self._locked_chunks())
            if not (late or self._look_for_locks):
                raise
        return self._write(chunk, fence, late=late)

    def _write(
        self, chunk: WriteBatch, fence: int, *, late: bool, wait_briefly: bool = False
    ) -> frozenset[int]:
        with self._reachable():
            frames, pending = self._split(chunk.frames, late=late)
            self._begin()
            if wait_briefly:
                self._conn.execute(_WAIT_BRIEFLY)
            self._copy_frames(frames)
            if wait_briefly:
                self._conn.execute(_WAIT_AS_EVER)
            self._copy(pending, _COPY_PENDING)
            self._save_the_rest(chunk)
            return self._advance_and_commit(chunk, fence)

    def _split(self, frames: pa.Table, *, late: bool) -> tuple[pa.Table, pa.Table]:
        """Split frames into those that can be stored now and those whose chunk is locked."""
        nothing = frames.schema.empty_table()
        if not frames.num_rows or not (self._look_for_locks or late):
            return frames, nothing
        locked = self._locked_chunks()
        self._look_for_locks = self._look_for_locks and bool(locked)
        return split_frames(frames, locked) if locked else (frames, nothing)

    def _locked_chunks(self) -> list[LockedChunk]:
        with self._reachable():
            locked = locked_chunks(self._conn)
        names = {chunk.name for chunk in locked}
        for chunk in locked:
            if chunk.name not in self._logged_locked:
                log.info("late frames wait", partition=str(self.partition), reason=str(chunk))
        self._logged_locked = names
        return locked

    def move_pending(self) -> int:
        """Move frames that waited for a locked chunk to their place, and return their number.

        Their sessions then have late data.
        """
        try:
            with self._reachable():
                return move_pending(self._conn, self._place)
        except StoreBusy:
            return 0  # locked between two statements: next time

    def has_unfinished(self) -> bool:
        """Return whether sessions of this partition have frames that wait, or laps to time."""
        with self._reachable():
            return bool(self._one(_HAS_UNFINISHED, self._place)[0])

    def adopt_orphans(self) -> list[str]:
        """Make unfinished sessions of partitions without a worker this one's, and return their
        keys.
        """
        with self._reachable():
            return adopt_orphans(self._conn, self._place)

    def skip_lost(self, fence: int, position: int, earliest: int) -> None:
        """Continue at ``earliest``: retention removed the records from ``position`` on before they
        were read.
        """
        with self._reachable():
            self._begin()
            self._save_lost(position, earliest - 1, "retention")
            self._advance_and_commit(_nothing(position, earliest), fence)

    def rewind(self, fence: int, position: int, earliest: int) -> None:
        """Continue at ``earliest``, before ``position``: the log that was read up to there no
        longer exists.
        """
        with self._reachable():
            self._begin()
            self._advance_and_commit(_nothing(position, earliest), fence)

    def switch_topic(
        self, fence: int, position: int, earliest: int, *, topic_id: str, old_end: int | None
    ) -> None:
        """Continue at ``earliest`` of another topic with the same name, which has ``topic_id``.

        The records of the old topic from ``position`` on are lost. It ended at ``old_end``; None if
        unknown.
        """
        with self._reachable():
            self._begin()
            if old_end is None or old_end > position:
                self._save_lost(position, None if old_end is None else old_end - 1, "replaced")
            self._conn.execute(_SET_TOPIC_ID, self._place | {"fence": fence, "topic_id": topic_id})
            self._advance_and_commit(_nothing(position, earliest), fence)

    def _save_lost(self, from_offset: int, to_offset: int | None, reason: str) -> None:
        row = self._place | {"from_offset": from_offset, "to_offset": to_offset, "reason": reason}
        self._conn.execute(_SAVE_LOST, row)

    def _copy_frames(self, frames: pa.Table) -> None:
        self._copy(frames, COPY_FRAMES)

    def _copy(self, frames: pa.Table, statement: sql.Composed) -> None:
        if not frames.num_rows:
            return
        encoder = pgpq.ArrowToPostgresBinaryEncoder(frames.schema)
        with self._conn.cursor().copy(statement) as copy:
            copy.write(encoder.write_header())
            for batch in frames.to_batches():
                copy.write(encoder.write_batch(batch))
            copy.write(encoder.finish())

    def _save_the_rest(self, chunk: WriteBatch) -> None:
        with self._conn.cursor() as cursor:
            save_facts(cursor, chunk.facts)
            if chunk.begun_on:
                cursor.executemany(
                    "UPDATE sessions SET track_id = %s WHERE id = %s",
                    [(t, s) for s, t in chunk.begun_on],
                )
            save_laps(cursor, [(timed.session_id, timed.lap) for timed in chunk.laps])
            if chunk.corrections:
                cursor.executemany(
                    _SAVE_CORRECTIONS,
                    [
                        (c.session_id, c.from_sequence, c.offset_ms, c.placed_ms, c.reason)
                        for c in chunk.corrections
                    ],
                )
            if chunk.gaps:
                columns = zip(
                    *((g.session_id, g.from_sequence, g.to_sequence) for g in chunk.gaps),
                    strict=True,
                )
                cursor.execute(_SAVE_GAPS, list(map(list, columns)))
            if chunk.late:
                cursor.executemany(
                    _SAVE_LATE, [(late.from_us, late.session_id) for late in chunk.late]
                )
            if chunk.dead_letters:
                left_out = save_dead_letters(
                    cursor, self.partition, chunk.dead_letters, self._quota
                )
                self._note_not_kept(
                    {kind_of_reason(letter.reason) for letter in chunk.dead_letters}, left_out
                )

    def is_full(self, letter: DeadLetter) -> bool:
        """Return whether letters of this kind had no place when the last ones came."""
        return kind_of_reason(letter.reason) in self._full

    def _note_not_kept(self, kinds: set[str], left_out: Sequence[NotKept]) -> None:
        new = [one for one in left_out if one.kind not in self._full]
        self._full = self._full - kinds | {one.kind for one in left_out}
        for one in new:
            log.warning(
                "dead letters of this kind are only counted from now on: their places are full",
                partition=str(self.partition),
                kind=one.kind,
                reason=one.last_reason,
            )

    def _advance_and_commit(self, chunk: WriteBatch, fence: int) -> frozenset[int]:
        progress = chunk.progress
        # A client-side cursor sends both statements as one message. The server-side protocol
        # cannot.
        answer = ClientCursor(self._conn).execute(
            _ADVANCE_AND_COMMIT,
            [
                self.partition.topic,
                self.partition.index,
                fence,
                chunk.start,
                chunk.end,
                [p.id for p in progress],
                [p.received for p in progress],
                [p.frames for p in progress],
                [p.first_at_us for p in progress],
                [p.last_at_us for p in progress],
                [p.known_frames for p in progress],
                [p.known_to_us for p in progress],
                [f"{{{','.join(map(str, p.clock_state))}}}" for p in progress],
            ],
        )
        (shared,) = answer.fetchone() or ((),)
        return frozenset(shared)

    def _one(self, query: str, values: dict[str, Any] | list[Any]) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._conn.execute(query.encode(), values).fetchone()
        assert row is not None
        return row

    def _what_is_locked(self, error: psycopg.Error) -> str:
        """Name the processes that block us, as far as the database shows them. Ends the
        transaction.
        """
        reason = ", ".join(filter(None, [str(error).partition("\n")[0], error.diag.context]))
        try:
            self._conn.execute("ROLLBACK")
            return describe_locks(self._conn) or reason
        except psycopg.Error:
            return reason

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            reason = str(error).partition("\n")[0]
            if error.sqlstate == "PS001":
                raise PartitionTaken(self.partition, reason) from None
            if error.sqlstate == "PS002":
                raise SessionsChanged(self.partition, reason) from None
            if isinstance(error, psycopg.errors.DiskFull):
                raise StoreFull(self._address, reason) from error
            # A value may be too long for an index. That is an OperationalError, and stays one at
            # every retry.
            if isinstance(error, psycopg.errors.LockNotAvailable):
                raise StoreBusy(self.partition, self._what_is_locked(error)) from error
            for_data = isinstance(
                error,
                psycopg.DataError | psycopg.IntegrityError | psycopg.errors.ProgramLimitExceeded,
            )
            if (
                isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
                and not for_data
            ):
                raise StoreUnavailable(self._address, reason) from error
            raise StoreRefused(self.partition, reason, for_data=for_data) from error


def _has_late(frames: pa.Table, *, now_us: int) -> bool:
    """Return whether some frames are old enough for their chunk to be compressed by now."""
    if not frames.num_rows:
        return False
    oldest_us = pc.min(frames["time"]).cast(pa.int64()).as_py()
    return bool(oldest_us < now_us - COLUMNSTORE_AFTER / timedelta(microseconds=1))


def _nothing(start: int, end: int) -> WriteBatch:
    """Build a move from one offset to another that stores no record."""
    return WriteBatch(start, end, FRAMES.empty_table())


def _timed(
    frames: pa.Table, last: Lap | None, layout: TrackLayout
) -> tuple[list[Lap], EngineState | None]:
    """Time stored frames that begin with, or shortly before, the lap ``last``; return laps and
    engine state.
    """
    if last is None:
        return advance(frames, None, layout)
    return resume(
        frames, lap_number=last.lap_number, started_at_us=last.started_at_us, layout=layout
    )


def _times(
    state: Sequence[int],
    highest: int,
    latest_ms: int | None,
    written_ms: int | None,
    started_at_ms: int | None,
) -> SessionTimes:
    """Return what places a session's next frame in time.

    A worker of an older version stored no state, or none for its last frames.
    """
    if state and state[0] >= highest:
        return SessionTimes.restored(state)
    return SessionTimes(latest_ms, written_ms, highest, started_at_ms)
