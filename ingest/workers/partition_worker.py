"""Carries one partition from Kafka to the store: reads, decodes, times laps, stores, and reads on.

A worker has turns: each does what is due, and uses a thread and a connection only so long. Its
records come meanwhile, and Kafka is paused while too many of them wait. After any error it drops
its state, reads the partition's position from the store, and continues there. It never stores a
batch again from memory. It ends after a takeover by another worker.
"""

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import structlog

from analytics.laps.best_laps import Category
from analytics.laps.engine import last_lap
from analytics.laps.state import EngineState
from ingest.backoff import Backoff
from ingest.batching.clock_corrections import place_in_time
from ingest.batching.deleted_sessions import unsure_keys, without_deleted
from ingest.batching.foreign_records import reject_false_claims, reject_taken
from ingest.batching.late_sessions import LateSessions
from ingest.batching.partition_log import Batch, Partition, PartitionLog
from ingest.batching.poison_search import PoisonSearch
from ingest.batching.silent_sessions import SilentSessions
from ingest.batching.throttle import Throttle
from ingest.batching.write_batch import (
    DeadLetter,
    FinishedLap,
    LateFrames,
    OpenSession,
    RunningLap,
    WriteBatch,
    make_chunk,
)
from ingest.codec.decode import Decoded, decode, reject_all
from ingest.codec.session_times import Correction
from ingest.errors import (
    BrokerUnavailable,
    LicenceLost,
    OffsetsLost,
    PartitionTaken,
    SessionsChanged,
    SessionWentOn,
    StoreBusy,
    StoreRefused,
    StoreUnavailable,
    TopicReplaced,
)
from ingest.kafka.partition_consumer import PartitionConsumer
from ingest.kafka.shared_consumer import SharedConsumers
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.store.partition_writer import Ownership, PartitionWriter
from ingest.store.tracks import Place
from ingest.workers.lanes import Tools

log = structlog.get_logger()

_READ_S = 0.05  # short, so that a batch closes on time and a stop takes effect
_LOOK_EVERY_S = 0.5  # for what is due without records: nothing of it is urgent
_HEARTBEAT_S = 2.0
_RETRY = Backoff(first_s=0.1, longest_s=5.0)
_REMEMBERED = 2_000  # sessions
_LEARN_EVERY_S = 10.0  # a track
_MOVE_EVERY_S = 5.0  # frames that waited for a locked chunk

_TRY_AGAIN = (
    StoreUnavailable,
    StoreBusy,
    StoreRefused,
    LicenceLost,
    SessionsChanged,
    BrokerUnavailable,
    OffsetsLost,
    TopicReplaced,
)

WAITING = "waiting"
#: The state of a worker that ended because nothing comes; `ingest.workers.idle_partitions` watches.
IDLE = "idle"

LapsListener = Callable[[Sequence[FinishedLap | RunningLap]], None]


@dataclass(slots=True)
class Progress:
    """A worker's progress, for people to read. Counts are since it started."""

    state: str = "starting"
    next_offset: int = 0
    batches: int = 0
    frames: int = 0
    laps: int = 0
    resent: int = 0
    dead_letters: int = 0
    errors: int = 0
    last_error: str = ""
    blanked: dict[str, int] = field(default_factory=dict)  # implausible values, by channel


@dataclass(frozen=True, slots=True)
class Assignment:
    """A partition to carry, with the settings for it.

    ``owner`` is the worker's name in the store. The worker ends once nothing has come for
    ``idle_after_s``.
    """

    partition: Partition
    owner: str
    kafka: KafkaSettings
    database: DatabaseSettings
    ingest: IngestSettings
    idle_after_s: float = math.inf


class PartitionWorker:
    """Owns one partition, a turn at a time, until another worker takes over or it is idle.

    It outlives failures of brokers and databases. Without ``consumers`` it has a Kafka consumer of
    its own. ``on_due`` is called in another thread with the time by which to give it a turn.
    """

    def __init__(
        self,
        assignment: Assignment,
        *,
        on_laps: LapsListener,
        consumers: SharedConsumers | None = None,
    ) -> None:
        self.progress = Progress()
        #: To be set by whoever gives turns.
        self.on_due: Callable[[float], None] = lambda _: None
        self._assignment = assignment
        self._consumers = consumers
        self._on_laps = on_laps
        self._fence: int | None = None
        # Topic id, and the end of that log.
        self._known_end: tuple[str | None, int | None] = (
            None,
            None,
        )
        self._isolation = PoisonSearch(assignment.ingest.batch_max_rows)
        self._log = log.bind(partition=str(assignment.partition), owner=assignment.owner)
        self._source: PartitionConsumer | None = None
        self._loop: RunLoop | None = None
        self._failures = 0
        self._batches_before = 0

    @property
    def failing(self) -> bool:
        """Return whether the last turn failed."""
        return self.progress.state == WAITING

    def run(self, stop: threading.Event) -> None:
        """Own the partition in this thread until ``stop`` is set, a takeover, or a long time
        without records.
        """
        task = self._assignment
        tools = Tools(task.kafka, task.database, f"purple-sector {task.partition}")
        try:
            while not stop.is_set():
                at = self.turn(tools)
                if at is None:
                    return
                stop.wait(min(at - time.monotonic(), _READ_S))
        finally:
            self.leave()
            tools.close()

    def turn(self, tools: Tools) -> float | None:
        """Read and store what is due. Return when to give it the next turn; None if it has ended.

        Its state after a failure is in the store only.
        """
        narrowing = False
        try:
            return self._turn(tools)
        except PartitionTaken as taken:
            self.progress.state = "taken over"
            self._log.warning("partition taken over", reason=str(taken))
            tools.store.tidy()
            return None
        except _TRY_AGAIN as error:
            # Half as many records next time: narrowing the search for the poison record is
            # progress too.
            narrowing = isinstance(error, StoreRefused) and error.for_data
            self._note(str(error))
        except Exception as error:
            # A bug of ours must not end a partition for good. The log gets it with its
            # traceback.
            self._log.exception("unexpected")
            self._note(repr(error))
        tools.store.tidy()
        return self._pause(narrowing)

    def leave(self) -> None:
        """Read no more. Does not wait."""
        self._drop()
        if self.progress.state not in (IDLE, "taken over"):
            self.progress.state = "stopped"

    def _turn(self, tools: Tools) -> float | None:
        if self._loop is None:
            self._batches_before = self.progress.batches
            self._loop = self._own(tools)
        at = self._loop.turn(tools)
        if self._loop.is_idle:
            self.progress.state = IDLE
            return None
        return self._pause(narrowing=False) if self._loop.is_over else at

    def _pause(self, narrowing: bool) -> float:
        """Drop the state, and return when to begin again."""
        self._drop()
        ahead = narrowing or self.progress.batches > self._batches_before
        self._failures = 1 if ahead else self._failures + 1
        return time.monotonic() + _RETRY.pause_s(self._failures, jitter=random.random())

    def _drop(self) -> None:
        source, self._source, self._loop = self._source, None, None
        if source is not None:
            self._known_end = (source.topic_id, source.known_end)
            source.close()

    def _note(self, error: str) -> None:
        self.progress.state = WAITING
        self.progress.errors += 1
        if error != self.progress.last_error:
            self._log.warning("will try again", error=error)
        self.progress.last_error = error

    def _own(self, tools: Tools) -> "RunLoop":
        """Become the partition's owner, and begin to read where the store stands."""
        task = self._assignment
        source = self._source = PartitionConsumer(
            task.kafka,
            task.partition,
            consumers=self._consumers,
            on_records=self._arrived,
            batch_max_rows=task.ingest.batch_max_rows,
        )
        topic_id = source.identify()
        first, end = source.offsets()
        store = PartitionWriter(task.database, task.partition, tools.store.opened())
        ownership = self._placed(store, self._claim(store, first, topic_id), topic_id, first, end)
        self._log.info("reading", offset=ownership.next_offset, fence=ownership.fence)
        self.progress.last_error = ""
        source.read_from(ownership.next_offset)
        source.commit(ownership.next_offset)
        return RunLoop(
            task, source, store, ownership, self._isolation, self.progress, self._on_laps
        )

    def _arrived(self, waiting: int) -> None:
        full = waiting >= self._isolation.limit
        wait_s = 0.0 if full else self._assignment.ingest.batch_max_age_ms / 1000
        self.on_due(time.monotonic() + wait_s)

    def _claim(self, store: PartitionWriter, first_offset: int, topic_id: str | None) -> Ownership:
        # Only the first claim may push another owner aside. A worker that wakes from a freeze must
        # find out that it was replaced.
        if self._fence is None:
            ownership = store.take_over(
                self._assignment.owner, first_offset=first_offset, topic_id=topic_id
            )
            self._fence = ownership.fence
            return ownership
        return store.resume(self._fence)

    def _placed(
        self,
        store: PartitionWriter,
        ownership: Ownership,
        topic_id: str | None,
        first: int,
        end: int,
    ) -> Ownership:
        """Return the place to read from: the store's position, or ``first`` if the broker has
        nothing to read there.
        """
        position = ownership.next_offset
        if topic_id and ownership.topic_id and topic_id != ownership.topic_id:
            of_topic, known_end = self._known_end
            old_end = known_end if of_topic == ownership.topic_id else None
            self._log.error(
                "the topic was deleted and made anew: reading it from its start",
                next=position,
                old_end=old_end,
            )
            store.switch_topic(ownership.fence, position, first, topic_id=topic_id, old_end=old_end)
            return Ownership(ownership.fence, first, topic_id)
        if first <= position <= end:
            return ownership
        if position < first:
            self._log.error(
                "records were deleted before they were read", next=position, first=first
            )
            store.skip_lost(ownership.fence, position, first)
        else:
            # Either the broker lost its last records, or it has no topic ids and the topic was made
            # again. So the log's records may differ from those that were read. Frames with a
            # sequence are still stored only once.
            self._log.error(
                "the log ends before what is stored of it: reading it anew",
                next=position,
                first=first,
                end=end,
            )
            store.rewind(ownership.fence, position, first)
        return Ownership(ownership.fence, first, topic_id)


class RunLoop:
    """Reads and stores. Its state between two errors is the sessions, and the records waiting to be
    stored.
    """

    def __init__(
        self,
        task: Assignment,
        source: PartitionConsumer,
        store: PartitionWriter,
        ownership: Ownership,
        isolation: PoisonSearch,
        progress: Progress,
        on_laps: LapsListener,
    ) -> None:
        self._isolation = isolation
        self._max_age_s = task.ingest.batch_max_age_ms / 1000
        self._source = source
        self._store = store
        self._fence = ownership.fence
        self._progress = progress
        self._on_laps = on_laps
        self._sessions: dict[str, OpenSession] = {}
        self._lateness = LateSessions()
        self._silence = SilentSessions()
        self._tracks: Throttle[Place] = Throttle(_LEARN_EVERY_S)
        self._unjudged: dict[Category, int] = {}
        self._move_at = 0.0
        self._idle_after_s, self._busy_at = task.idle_after_s, time.monotonic()
        self._waiting = PartitionLog(
            task.partition,
            ownership.next_offset,
            max_records=isolation.limit,
            max_age_s=task.ingest.batch_max_age_ms / 1000,
        )
        self._searching = isolation.searching
        self._beat_at = time.monotonic() + _HEARTBEAT_S
        #: Nothing has come for long, and nothing waits to be done.
        self.is_idle = False
        #: The search for a poison record that the database refuses handles one batch, and then
        #: begins again.
        self.is_over = False
        self._restore()

    def _restore(self) -> None:
        """Find what the last owner left to do."""
        now = time.monotonic()
        self._progress.state = "reading"
        self._progress.next_offset = self._waiting.stored
        self._lateness.note(self._store.late_sessions(), now=now)
        self._unjudged = self._store.unjudged()
        for key in self._store.recent_sessions():
            self._silence.note(key, now=now)

    def turn(self, tools: Tools) -> float:
        """Store what is due, and return when to do so again.

        The next owner reads the waiting records again.
        """
        self._tools = tools
        self._store.use(tools.store.opened())
        now = time.monotonic()
        records = self._receive()
        if self._waiting.due(now=now):
            self._keep(self._waiting.take())
            self._beat_at = now + _HEARTBEAT_S
            if self._searching:
                self.is_over = True
                return now
        elif now >= self._beat_at:
            self._beat(now)
        self._look_after_sessions(now)
        self.is_idle = self._has_nothing(records, now)
        return self._next_turn(now)

    def _receive(self) -> int:
        """Take records that came, but no more than a batch."""
        before = self._waiting.waiting
        for came_at, records in self._source.take(max(0, self._isolation.limit - before)):
            self._waiting.append(records, now=came_at)
        return self._waiting.waiting - before

    def _beat(self, now: float) -> None:
        self._store.beat(self._fence)
        # Commit the offset again. The broker may have missed it, a person may have reset it, and
        # Kafka drops it after a week.
        self._source.commit(self._waiting.stored)
        self._beat_at = now + _HEARTBEAT_S

    def _look_after_sessions(self, now: float) -> None:
        for late in self._lateness.due(now=now):
            self._time_again(late)
        self._end_silent(now)
        self._move_pending(now)
        for place in self._tracks.due(now=now):
            self._learn(place)
        if self._unjudged:
            self._publish_laps(())

    def _next_turn(self, now: float) -> float:
        """Return when something is due. Records that come later wake it themselves."""
        if self._source.waiting + self._waiting.waiting >= self._isolation.limit:
            return now
        again_s = _READ_S if self._unjudged else _LOOK_EVERY_S
        waiting_at = now + self._max_age_s if self._source.waiting else math.inf
        return min(now + again_s, self._waiting.due_at, waiting_at)

    def _has_nothing(self, records: int, now: float) -> bool:
        """Return whether nothing has come for a while, and nothing waits that only this can do."""
        if records:
            self._busy_at = now
        if now < self._busy_at + self._idle_after_s:
            return False
        self._busy_at = now  # what waits in the store is looked at no more often
        waiting = self._waiting.waiting + len(self._unjudged) + len(self._tracks)
        sessions = len(self._lateness) + len(self._silence) + self._source.waiting
        return not waiting and not sessions and not self._store.has_unfinished()

    def _move_pending(self, now: float) -> None:
        """Store frames that waited for a locked chunk, and time their sessions' laps again.

        Looks also for times to be judged again, because of a session that was deleted or hidden.
        """
        if now < self._move_at:
            return
        self._move_at = now + _MOVE_EVERY_S
        adopted = self._store.adopt_orphans()
        if adopted:
            log.info("sessions taken from partitions without a worker", sessions=adopted[:10])
        frames = self._store.move_pending()
        if frames:
            log.info("frames stored that waited for a locked chunk", frames=frames)
        if adopted or frames:
            self._lateness.note(self._store.late_sessions(), now=now)
        for scope, since_us in self._store.judgements_due().items():
            self._want_judged(scope, since_us)

    def _keep(self, batch: Batch) -> None:
        decoded = self._read_owned(batch)
        appended_ms = batch.records.appended_ms
        # A topic that keeps its producers' times has no append times of its own.
        appended_ms = np.where(appended_ms > 0, appended_ms, time.time_ns() // 1_000_000)
        if batch.start == self._isolation.poison:
            decoded = reject_all(
                decoded,
                len(batch.records),
                "refused: the database does not take what this record holds",
            )
        # A record that is not stored moves no later one.
        decoded, corrections = place_in_time(
            decoded, self._sessions, appended_ms, self._source.behind_ms
        )
        self._begin(decoded)
        chunk = self._with_headers(
            make_chunk(batch, decoded, self._sessions, corrections, self._source.users)
        )
        self._forget_shared(chunk, self._write(batch, chunk))
        self._note_corrections(corrections)
        self._note_blanked(decoded)
        self._waiting.mark_stored(batch)
        self._source.commit(batch.end)
        if chunk.moved:
            for scope, since_us in self._store.unjudged().items():
                self._want_judged(scope, since_us)
        self._publish_laps(chunk.laps)
        if chunk.running:
            # After the laps: sectors are compared with the records that those laps have just set.
            self._on_laps(self._store.colour(chunk.running))
        self._lateness.note(chunk.late, now=time.monotonic())
        for progress in chunk.progress:
            self._silence.note(progress.key, now=time.monotonic())
        self._count(chunk)

    def _read_owned(self, batch: Batch) -> Decoded:
        """Decode a batch and open its sessions, without records of other users' sessions."""
        keys, owner = batch.records.keys, self._source.owner
        decoded = decode(batch.records.values, keys)
        decoded = reject_false_claims(decoded, keys, owner, self._source.claims)
        unsure = unsure_keys(decoded, keys, self._sessions)
        if unsure:
            decoded = without_deleted(decoded, keys, self._store.deleted(unsure))
        self._open(decoded.sessions)
        return reject_taken(decoded, keys, owner, self._sessions)

    def _with_headers(self, chunk: WriteBatch) -> WriteBatch:
        """Add the original headers to those dead letters that may have a place."""
        wanted = [letter.offset for letter in chunk.dead_letters if not self._store.is_full(letter)]
        if not wanted:
            return chunk
        headers = self._tools.headers.headers_at(self._waiting.partition, wanted)
        letters = tuple(
            replace(letter, headers=headers.get(letter.offset)) for letter in chunk.dead_letters
        )
        return replace(chunk, dead_letters=letters)

    def _note_blanked(self, decoded: Decoded) -> None:
        """Count the values that were stored as NULL because no car can have sent them; log each
        channel once.
        """
        counts = self._progress.blanked
        for channel, values in decoded.blanked.items():
            if channel not in counts:
                log.warning(
                    "implausible values stored as NULL",
                    channel=channel,
                    sessions=decoded.sessions[:10],
                )
            counts[channel] = counts.get(channel, 0) + values

    def _begin(self, decoded: Decoded) -> None:
        """Put sessions that begin on the newest version of their track."""
        reported = ((decoded.sessions[f.session_index], f.message) for f in decoded.facts)
        places = {
            key: (facts.game, facts.track)
            for key, facts in reported
            if not self._sessions[key].engine_state
        }
        if not places:
            return
        tracks = self._store.newest_tracks(set(places.values()))
        for key, place in places.items():
            if place in tracks:
                self._sessions[key].begin_on(tracks[place].id, tracks[place].track.layout)

    def _publish_laps(self, laps: Sequence[FinishedLap]) -> None:
        """Judge the stored laps and announce them with their colours, plus all laps whose colours
        changed.
        """
        self._note(laps)
        published = {(timed.session_id, timed.lap.lap_number): timed for timed in laps}
        for scope, since_us in tuple(self._unjudged.items()):
            judged = self._store.judge(scope, since_us)
            if judged is not None:
                del self._unjudged[scope]
                published |= {(timed.session_id, timed.lap.lap_number): timed for timed in judged}
        if published:
            self._on_laps(tuple(published.values()))

    def _note(self, laps: Sequence[FinishedLap]) -> None:
        """Have these laps judged, and their tracks learnt."""
        now = time.monotonic()
        for timed in laps:
            session = self._sessions.get(timed.session_key)
            scope = session.scope if session else None
            if scope:
                self._want_judged(scope, timed.lap.started_at_us)
                self._tracks.want((scope.game, scope.track), now=now)

    def _want_judged(self, scope: Category, since_us: int) -> None:
        self._unjudged[scope] = min(self._unjudged.get(scope, since_us), since_us)

    def _learn(self, place: Place) -> None:
        learnt = self._store.learn_track(place)
        if learnt:
            log.info(
                "track learnt",
                track=learnt.name,
                version=learnt.version,
                line=learnt.line,
                laps=learnt.laps,
            )

    def _time_again(self, late: LateFrames) -> None:
        try:
            laps, engine_state = self._store.time_again(late, self._waiting.stored, self._fence)
        except SessionWentOn:
            # Another worker stored frames of the session meanwhile. The store still notes that its
            # laps must be timed.
            self._lateness.note([late], now=time.monotonic())
            return
        key = late.session_key
        self._go_on_from(key, engine_state)
        log.info("laps timed again, with frames that came late", session=key, laps=len(laps))
        self._publish_laps(laps)

    def _go_on_from(self, key: str, engine_state: EngineState | None) -> None:
        # Without its scope the laps are not judged. No batch of this worker may have opened it.
        self._open([key])
        self._sessions[key].engine_state = engine_state
        self._silence.note(key, now=time.monotonic())

    def _end_silent(self, now: float) -> None:
        """Store the lap that a session ended with, when no more of its frames come; one session per
        call.
        """
        key = self._silence.next_silent(now=now)
        if key is None:
            return
        self._open([key])
        session = self._sessions[key]
        lap = last_lap(session.engine_state, session.layout) if session.engine_state else None
        if lap:
            self._publish_laps(self._store.end_lap(session, lap, self._waiting.stored, self._fence))

    def _write(self, batch: Batch, chunk: WriteBatch) -> frozenset[int]:
        try:
            shared = self._store.write(chunk, self._fence)
        except StoreRefused as refused:
            if refused.for_data:
                self._isolation.refused(batch.start, len(batch.records))
            raise
        self._isolation.stored()
        return shared

    def _forget_shared(self, chunk: WriteBatch, shared: frozenset[int]) -> None:
        """Read these sessions again: another worker stored frames of them meanwhile, and their laps
        lack those.
        """
        if not shared:
            return
        forgotten = {
            session.id: self._sessions.pop(key)
            for key, session in tuple(self._sessions.items())
            if session.id in shared
        }
        lacking = [p for p in chunk.progress if p.id in shared]
        late = [LateFrames(p.id, forgotten[p.id].key, p.known_to_us) for p in lacking]
        self._lateness.note(late, now=time.monotonic())
        keys = [one.session_key for one in late]
        log.info("sessions come by another partition too", sessions=keys[:10])

    def _note_corrections(self, corrections: Sequence[Correction]) -> None:
        for one in corrections[:10]:
            log.warning(
                "times of a wrong clock were replaced by the broker's",
                session_id=one.session_id,
                from_sequence=one.from_sequence,
                moved_s=round(one.offset_ms / 1000, 1),
                reason=one.reason,
            )

    def _open(self, keys: Sequence[str]) -> None:
        if len(self._sessions) > _REMEMBERED:
            # Sessions end without any message. A session dropped here is read again if it continues
            # after all.
            self._sessions = {key: self._sessions[key] for key in keys if key in self._sessions}
        new = [key for key in keys if key not in self._sessions]
        if new:
            owner = self._source.owner
            users = self._source.users if owner is None else dict.fromkeys(new, owner)
            self._sessions |= self._store.open_sessions(new, users)
            if any(key not in self._sessions for key in new):
                raise SessionsChanged(self._waiting.partition, "a session was deleted just now")

    def _count(self, chunk: WriteBatch) -> None:
        progress = self._progress
        progress.batches += 1
        progress.next_offset = chunk.end
        progress.frames += chunk.frames.num_rows
        progress.laps += len(chunk.laps)
        progress.resent += chunk.resent
        progress.dead_letters += len(chunk.dead_letters)
        if chunk.dead_letters:
            self._warn_of_letters(chunk.dead_letters)

    def _warn_of_letters(self, letters: Sequence[DeadLetter]) -> None:
        log.warning(
            "dead letters",
            partition=str(self._waiting.partition),
            count=len(letters),
            offset=letters[0].offset,
            reason=letters[0].reason,
        )
