"""The store of one partition: a connection that writes chunks exactly once.

The order inside the transaction matters: COPY first, the small tables next, and last, in one message to the server,
``SELECT advance(...); COMMIT``. A worker that freezes anywhere before holds no lock that its successor needs, and one that
was replaced is refused by the fence and has written nothing. After any error the caller drops what it has in memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pgpq
import psycopg
import pyarrow as pa
from psycopg import ClientCursor, sql

from analytics.channels import FRAMES
from analytics.database import frames_to_resume
from analytics.laps import Carry, advance, resume
from ingest.chunk import Chunk, DeadLetter, OpenSession, TimedLap
from ingest.errors import PartitionTaken, SessionsChanged, StoreRefused, StoreUnavailable
from ingest.partition import Partition
from ingest.sequences import SequenceSet
from ingest.settings import DatabaseSettings
from ingest.telemetry_pb2 import Session as SessionFacts

COPY_FRAMES = sql.SQL("COPY telemetry ({}) FROM STDIN (FORMAT BINARY)").format(
    sql.SQL(", ").join(map(sql.Identifier, FRAMES.names))
)

_TAKE_OVER = """
INSERT INTO positions (topic, partition, next_offset, fence, owner, backend_pid, backend_start)
SELECT %(topic)s, %(index)s, %(first)s, 1, %(owner)s, pid, backend_start
  FROM pg_stat_activity WHERE pid = pg_backend_pid()
ON CONFLICT (topic, partition) DO UPDATE
   SET fence = positions.fence + 1, owner = excluded.owner, backend_pid = excluded.backend_pid,
       backend_start = excluded.backend_start, heartbeat = clock_timestamp()
RETURNING next_offset, fence
"""

_RESUME = """
UPDATE positions p SET backend_pid = a.pid, backend_start = a.backend_start, heartbeat = clock_timestamp()
  FROM pg_stat_activity a
 WHERE a.pid = pg_backend_pid() AND p.topic = %(topic)s AND p.partition = %(index)s AND p.fence = %(fence)s
RETURNING next_offset
"""

_END_PREDECESSOR = """
SELECT pg_terminate_backend(a.pid, 5000)
  FROM positions p JOIN pg_stat_activity a ON a.pid = p.backend_pid AND a.backend_start = p.backend_start
 WHERE p.topic = %(topic)s AND p.partition = %(index)s AND a.pid <> pg_backend_pid()
"""

# A conflict takes a number from the sequence too, and sessions are opened again with every restart: look first.
_MAKE_SESSIONS = """
INSERT INTO sessions (key, user_id, topic, partition)
SELECT key, user_id, %s, %s FROM unnest(%s::text[], %s::text[]) AS new(key, user_id)
 WHERE NOT EXISTS (SELECT FROM sessions s WHERE s.key = new.key)
ON CONFLICT (key) DO NOTHING
"""

_OPEN_SESSIONS = """
SELECT key, id, received::text, (extract(epoch FROM started_at) * 1000)::bigint, frames
  FROM sessions WHERE key = ANY (%s)
"""

_SAVE_FACTS = """
UPDATE sessions SET user_id = coalesce(nullif(%(user_id)s, ''), user_id), game = %(game)s, track = %(track)s, car = %(car)s,
       driver = %(driver)s, track_length_m = nullif(%(track_length)s, 0), sector_count = nullif(%(sector_count)s, 0),
       sample_rate_hz = nullif(%(sample_rate)s, 0),
       started_at = CASE WHEN %(started_at)s > 0 THEN to_timestamp(%(started_at)s / 1000.0) ELSE started_at END
 WHERE id = %(id)s
"""

_SAVE_LAP = """
INSERT INTO laps (session_id, lap_number, started_at, lap_time_ms, official_lap_time_ms, sector_times_ms, sector_source,
                  flags, frames, gaps, max_speed_kmh)
VALUES (%s, %s, to_timestamp(%s / 1e6), %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (session_id, lap_number) DO UPDATE
   SET started_at = excluded.started_at, lap_time_ms = excluded.lap_time_ms,
       official_lap_time_ms = excluded.official_lap_time_ms, sector_times_ms = excluded.sector_times_ms,
       sector_source = excluded.sector_source, flags = excluded.flags, frames = excluded.frames, gaps = excluded.gaps,
       max_speed_kmh = excluded.max_speed_kmh
"""

_ADVANCE_AND_COMMIT = """
SELECT advance(%s, %s, %s, %s, %s, %s::integer[], %s::int8multirange[], %s::bigint[], %s::bigint[], %s::bigint[]);
COMMIT
"""

# A log that begins anew has its own record at an offset that the old one had a dead letter at.
_SAVE_DEAD_LETTERS = """
INSERT INTO dead_letters (topic, partition, "offset", key, value, reason)
SELECT %s, %s, * FROM unnest(%s::bigint[], %b::bytea[], %b::bytea[], %s::text[])
ON CONFLICT (topic, partition, "offset") DO UPDATE
   SET key = excluded.key, value = excluded.value, reason = excluded.reason, seen_at = now()
"""

_LETTERS_AT_ONCE = 200  # of 64 KiB at most: a statement and its values must stay far below a gigabyte


@dataclass(frozen=True, slots=True)
class Ownership:
    """That a worker owns a partition: the fence it holds, and the next offset to read."""

    fence: int
    next_offset: int


class Store:
    """One partition's connection to PostgreSQL. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, settings: DatabaseSettings, partition: Partition) -> None:
        self.partition = partition
        self._address = settings.address
        with self._reachable():
            self._conn = psycopg.connect(
                settings.url.get_secret_value(),
                autocommit=True,
                application_name=f"purple-sector {partition}",
                connect_timeout=3,
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=3,
                tcp_user_timeout=10_000,
                options="-c lock_timeout=5s -c idle_in_transaction_session_timeout=10s",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._conn.close()

    def take_over(self, owner: str, *, first_offset: int) -> Ownership:
        """Become the partition's owner, ending the predecessor's connection.

        ``first_offset`` is where to begin a partition that nobody has read yet.
        """
        row = {"topic": self.partition.topic, "index": self.partition.index, "owner": owner, "first": first_offset}
        with self._reachable():
            # A predecessor that is frozen in a COPY can be ended by nothing else, and its rows must not come later.
            self._conn.execute(_END_PREDECESSOR, row)
            next_offset, fence = self._one(_TAKE_OVER, row)
            return Ownership(fence=fence, next_offset=next_offset)

    def resume(self, fence: int) -> Ownership:
        """Go on as the owner over a new connection. Raises PartitionTaken if somebody else has taken over since."""
        with self._reachable():
            found = self._conn.execute(
                _RESUME, {"topic": self.partition.topic, "index": self.partition.index, "fence": fence}
            ).fetchone()
        if found is None:
            raise PartitionTaken(self.partition, f"fence {fence} is not in force any more")
        return Ownership(fence=fence, next_offset=found[0])

    def beat(self, fence: int) -> None:
        """Say that the owner is alive although nothing arrives. Raises PartitionTaken."""
        self.resume(fence)

    def open_sessions(self, keys: Sequence[str], users: dict[str, str]) -> dict[str, OpenSession]:
        """The sessions of these keys, made where they are new, remembered where frames of them are stored."""
        with self._reachable():
            self._conn.execute(
                _MAKE_SESSIONS,
                [self.partition.topic, self.partition.index, list(keys), [users.get(key, "") for key in keys]],
            )
            rows = self._conn.execute(_OPEN_SESSIONS, [list(keys)]).fetchall()
            return {
                key: OpenSession(id, key, SequenceSet.from_multirange(received), started_at_ms, self._carry(id, frames))
                for key, id, received, started_at_ms, frames in rows
            }

    def _carry(self, session_id: int, frames: int) -> Carry | None:
        """What the lap engine would remember of a session if this worker had timed it from its start."""
        if frames == 0:
            return None
        stored, last = frames_to_resume(self._conn, session_id)
        if last is None:
            return advance(stored, None)[1]
        return resume(stored, lap_number=last.lap_number, started_at_us=last.started_at_us)[1]

    def write(self, chunk: Chunk, fence: int) -> None:
        """Store a chunk and move the partition on, all or nothing. Raises PartitionTaken, SessionsChanged."""
        with self._reachable():
            self._conn.execute("BEGIN")
            self._copy_frames(chunk.frames)
            self._save_the_rest(chunk)
            self._advance_and_commit(chunk, fence)

    def skip_lost(self, fence: int, position: int, earliest: int) -> None:
        """Go on at ``earliest``: retention took the records from ``position`` on before they were read."""
        place = [self.partition.topic, self.partition.index]
        with self._reachable():
            self._conn.execute("BEGIN")
            self._conn.execute(
                "INSERT INTO gaps (topic, partition, from_offset, to_offset, reason) VALUES (%s, %s, %s, %s, 'retention')",
                [*place, position, earliest - 1],
            )
            self._advance_and_commit(_nothing(position, earliest), fence)

    def rewind(self, fence: int, position: int, earliest: int) -> None:
        """Go on at ``earliest``, which is before ``position``: the log that was read up to there is not there any more."""
        with self._reachable():
            self._conn.execute("BEGIN")
            self._advance_and_commit(_nothing(position, earliest), fence)

    def _copy_frames(self, frames: pa.Table) -> None:
        if not frames.num_rows:
            return
        encoder = pgpq.ArrowToPostgresBinaryEncoder(frames.schema)
        with self._conn.cursor().copy(COPY_FRAMES) as copy:
            copy.write(encoder.write_header())
            for batch in frames.to_batches():
                copy.write(encoder.write_batch(batch))
            copy.write(encoder.finish())

    def _save_the_rest(self, chunk: Chunk) -> None:
        with self._conn.cursor() as cursor:
            if chunk.facts:
                cursor.executemany(_SAVE_FACTS, [_facts_row(id, facts) for id, facts in chunk.facts])
            if chunk.laps:
                cursor.executemany(_SAVE_LAP, [_lap_row(timed) for timed in chunk.laps])
            if chunk.gaps:
                cursor.executemany(
                    "INSERT INTO gaps (session_id, from_sequence, to_sequence, reason) VALUES (%s, %s, %s, 'missing')",
                    [(g.session_id, g.from_sequence, g.to_sequence) for g in chunk.gaps],
                )
            for start in range(0, len(chunk.dead_letters), _LETTERS_AT_ONCE):
                self._save_letters(cursor, chunk.dead_letters[start : start + _LETTERS_AT_ONCE])

    def _save_letters(self, cursor: psycopg.Cursor, letters: Sequence[DeadLetter]) -> None:
        columns = zip(*((d.offset, d.key, d.value, d.reason) for d in letters), strict=True)
        cursor.execute(_SAVE_DEAD_LETTERS, [self.partition.topic, self.partition.index, *map(list, columns)])

    def _advance_and_commit(self, chunk: Chunk, fence: int) -> None:
        progress = chunk.progress
        # A client-side cursor sends both statements as one message; the server-side protocol cannot.
        ClientCursor(self._conn).execute(
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
            ],
        )

    def _one(self, query: str, values: dict[str, Any]) -> tuple[Any, ...]:
        row = self._conn.execute(query, values).fetchone()
        assert row is not None
        return row

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            said = str(error).partition("\n")[0]
            if error.sqlstate == "PS001":
                raise PartitionTaken(self.partition, said) from None
            if error.sqlstate == "PS002":
                raise SessionsChanged(self.partition, said) from None
            if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
                raise StoreUnavailable(self._address, said) from error
            for_data = isinstance(error, psycopg.DataError | psycopg.IntegrityError)
            raise StoreRefused(self.partition, said, for_data=for_data) from error


def _nothing(start: int, end: int) -> Chunk:
    """A move from one offset to another that stores no record."""
    return Chunk(start, end, FRAMES.empty_table())


def _facts_row(id: int, facts: SessionFacts) -> dict[str, Any]:
    return {
        "id": id,
        "user_id": facts.user_id,
        "game": facts.game,
        "track": facts.track,
        "car": facts.car,
        "driver": facts.driver,
        "track_length": facts.track_length,
        "sector_count": facts.sector_count,
        "sample_rate": facts.sample_rate,
        "started_at": facts.started_at,
    }


def _lap_row(timed: TimedLap) -> tuple[Any, ...]:
    lap = timed.lap
    return (
        timed.session_id,
        lap.lap_number,
        lap.started_at_us,
        lap.lap_time_ms,
        lap.official_lap_time_ms,
        list(lap.sector_times_ms),
        lap.sector_source,
        list(lap.flags),
        lap.frames,
        lap.gaps,
        lap.max_speed_kmh,
    )
