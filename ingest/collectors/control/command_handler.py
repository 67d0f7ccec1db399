"""Handles commands to a collector: receives them from ingest and people, resends frames, and
answers.

A thread of its own does this, so that neither an absent broker nor a long resend keeps the game
waiting. A resend may cover an hour of frames. Commands on the game itself (start, stop, sample
rate, statistics) wait until the game's thread takes them in `pass_on`. The handler also states
once, unprompted, how far each session was sent. It does so for the sessions found at its start, and
for each one that ends. Ingest then knows of losses that no later frame would show.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ingest.collectors.control.command_consumer import CommandConsumer
from ingest.collectors.control.inventory import EmptyInventory, SessionInventory
from ingest.collectors.control.resend import Resending
from ingest.collectors.delivery.statistics import Statistics
from ingest.collectors.spool.folder import SpoolFolder
from ingest.collectors.spool.segments import Range
from ingest.kafka.topics import QUIET
from ingest.settings import CollectorSettings, KafkaSettings
from ingest.telemetry_pb2 import Command, CommandMessage, StatusReport

log = structlog.get_logger()

_LISTEN_S = 1.0
_LOOK_EVERY_S = 10.0
_STATED_WITHIN_S = 5.0
_AFTER_A_FAILURE_S = 10.0
_ANSWERS = QUIET | {"partitioner": "murmur2_random", "message.timeout.ms": 10_000}


class Commanded(Protocol):
    """Interface of a receiver of commands: a Follower of a game, or the sender of a replay or a
    simulated car.
    """

    @property
    def session(self) -> str | None:
        """Return the key of the session; None where none is open."""

    @property
    def statistics(self) -> Statistics:
        """Return the counts so far."""

    @property
    def sending(self) -> bool:
        """Return whether frames are sent now."""

    def pause(self) -> None:
        """Stop sending frames until `resume`."""

    def resume(self) -> None:
        """Send frames again."""

    def limit_rate(self, rate_hz: float) -> None:
        """Send at most ``rate_hz`` frames a second."""


class CommandHandler:
    """Handles commands for the user that ``collector`` names, and for the user's sessions in
    ``spool``.

    It runs from `start` to `close`. Without a spool there is no resend. ``listen_s`` is the longest
    time until it notices `close`.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        collector: CollectorSettings,
        spool: SpoolFolder | None,
        *,
        listen_s: float = _LISTEN_S,
    ) -> None:
        self._kafka, self._user_id, self._listen_s = kafka, collector.user_id, listen_s
        self._holdings = (
            SessionInventory(spool, collector.user_id) if spool is not None else EmptyInventory()
        )
        self._listener = CommandConsumer(kafka, collector.user_id)
        self._orders: SimpleQueue[Command] = SimpleQueue()
        # Sessions and the ranges to resend.
        self._waiting: deque[tuple[str, tuple[Range, ...]]] = deque()
        self._resending: Resending | None = None
        self._frames_resent = 0
        self._stated: set[str] | None = None  # ended sessions whose statement was queued
        self._look_at = 0.0
        self._producer: Producer | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)

    @property
    def listening(self) -> bool:
        """Return whether it receives the topic's commands from now on."""
        return self._listener.listening

    @property
    def ignored(self) -> dict[str, int]:
        """Return the counts of invalid commands, by kind."""
        return self._listener.ignored

    @property
    def frames_resent(self) -> int:
        """Return the number of frames that were resent and acknowledged."""
        under_way = self._resending
        return self._frames_resent + (under_way.frames if under_way else 0)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """State how far the sessions that have ended meanwhile were sent, if a broker is there, and
        stop.
        """
        self._closing.set()
        self._thread.join()
        if self._producer is not None:
            self._producer.flush(1.0)

    def pass_on(self, *followers: Commanded) -> None:
        """Pass the commands received meanwhile to the followers.

        The thread that follows the game calls it; it costs next to nothing.
        """
        while not self._orders.empty():
            try:
                command = self._orders.get_nowait()
            except Empty:
                return
            for follower in followers:
                if command.session_id in ("", follower.session):
                    self._apply(command, follower)

    def _apply(self, command: Command, follower: Commanded) -> None:
        match command.WhichOneof("order"):
            case "pause":
                follower.pause()
            case "resume":
                follower.resume()
            case "sample_rate":
                follower.limit_rate(command.sample_rate.rate)
            case "get_status":
                self._answer(self._status(command, follower))
                return
        log.info("command", order=command.WhichOneof("order"), session=command.session_id)

    def _status(self, command: Command, follower: Commanded) -> StatusReport:
        done = follower.statistics
        return StatusReport(
            command_id=command.id,
            user_id=self._user_id,
            session_id=follower.session or "",
            state="paused"
            if not follower.sending
            else "sending"
            if follower.session
            else "waiting",
            frames_collected=done.frames_collected,
            frames_published=done.frames_published,
            frames_resent=self.frames_resent,
            errors=done.errors,
            messages_sent=done.producer.messages_sent,
            bytes_sent=done.producer.bytes_sent,
            producer_errors=done.producer.errors,
            clock_ahead=done.clock_ahead_ms or 0,
        )

    def _open_producer(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(self._kafka.client(_ANSWERS | {"error_cb": lambda _: None}))
        return self._producer

    def _answer(self, answer: StatusReport) -> None:
        value = CommandMessage(status_report=answer).SerializeToString()
        topic, key = self._kafka.topic_status_reports, self._user_id.encode()
        try:
            self._open_producer().produce(topic, value, key, on_delivery=_note_answer)
        # Too many at once, or the topic or a certificate has gone.
        except (BufferError, KafkaException) as refused:
            log.warning("an answer was not sent", reason=str(refused))

    # --- the thread ---

    def _run(self) -> None:
        while not self._closing.is_set():
            self._try(self._turn)
        self._try(self._report_on_shutdown)
        self._stop_resend()
        self._listener.close()

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            # A disk or a broker that failed may work again later. Ingest requests the interrupted
            # resend again.
            log.exception("handling commands failed, going on later")
            self._stop_resend()
            self._closing.wait(_AFTER_A_FAILURE_S)

    def _stop_resend(self) -> None:
        resending, self._resending = self._resending, None
        if resending is not None:
            resending.close()
            self._frames_resent += resending.frames

    def _turn(self) -> None:
        command = self._listener.poll(0 if self._resending else self._listen_s)
        if command is not None:
            self._dispatch(command)
        if self._producer is not None:
            self._producer.poll(0)
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_EVERY_S
            self._state_what_ended()
        self._resend(timeout_s=0.05)

    def _dispatch(self, command: Command) -> None:
        match command.WhichOneof("order"):
            case "resend":
                ranges = tuple((r.from_sequence, r.to_sequence) for r in command.resend.ranges)
                self._queue(command.session_id, ranges)
            case "report_sessions":
                for holding in self._holdings.all():
                    self._queue(holding.session.key, ())
            case _:
                self._orders.put(command)

    def _queue(self, session: str, ranges: tuple[Range, ...]) -> None:
        """Queue a resend or a statement, each at most once.

        Ingest repeats its request as long as anything is missing: a resend under way need not wait
        here twice. A request for session reports comes along with requests for missing frames: a
        statement must not replace those.
        """
        waiting = dict(self._waiting)
        under_way = (
            self._resending is not None
            and self._resending.session == session
            and self._resending.ranges
        )
        if waiting.get(session) or (ranges and under_way):
            return
        if ranges:
            self._waiting = deque(
                (other, theirs) for other, theirs in self._waiting if other != session
            )
            self._waiting.append((session, ranges))
        elif session not in waiting:
            # Statements come before frames, and each in its turn. Otherwise repeated requests
            # would get statements of one session only.
            statements = sum(not theirs for _, theirs in self._waiting)
            self._waiting.insert(statements, (session, ranges))

    def _begin_resend(self) -> None:
        session, ranges = self._waiting.popleft()
        # Not held: another PC of this user has it, or it was kept long enough and removed.
        if (holding := self._holdings.of(session)) is not None:
            self._resending = Resending(self._kafka, holding, ranges)

    def _resend(self, *, timeout_s: float) -> None:
        # Without a broker each attempt would cost more than a day of polling for commands.
        if self._resending is None and self._waiting and self._listener.reached:
            self._begin_resend()
        if self._resending is None:
            return
        self._resending.poll(timeout_s)
        if self._resending.done:
            done = self._resending
            self._stop_resend()
            if done.frames:
                log.info("frames sent again", session=done.session, frames=done.frames)

    def _state_what_ended(self) -> None:
        ended = self._holdings.ended()
        for session in ended - (self._stated or set()):
            self._queue(session, ())
        self._stated = ended

    def _report_on_shutdown(self) -> None:
        self._state_what_ended()
        until = time.monotonic() + _STATED_WITHIN_S
        self._waiting = deque((session, ranges) for session, ranges in self._waiting if not ranges)
        while (
            (self._waiting and self._listener.reached) or self._resending
        ) and time.monotonic() < until:
            self._resend(timeout_s=0.05)


def _note_answer(error: KafkaError | None, _: Message) -> None:
    if error is not None:
        log.warning("an answer did not arrive", reason=error.str())
