"""Runs the loop of a collector that follows a game for days: passes its frames to the sender of
their session.

The module knows no game and no Kafka, only the interfaces of a game and of a sender. The rule to
remember: the game never waits. A thread of its own closes a session that has ended. Another thread
sends the records that an earlier run left.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from ingest.codec.blanking import blanked_fields
from ingest.collectors.delivery.statistics import Statistics
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import (
    FactsChanged,
    Game,
    GameEvent,
    SessionBegan,
    SessionEnded,
)
from ingest.collectors.replay_loop import STEP_S
from ingest.telemetry_pb2 import Session, TelemetryFrame

log = structlog.get_logger()

REPORT_EVERY_S = 60.0
#: A session that has ended waits so long for the broker. The backlog sends the rest, like records
#: of an earlier run.
ACKNOWLEDGED_WITHIN_S = 5.0
_CLOSING_AT_ONCE = 4
_LOOK_AGAIN_S = 1.0
_AFTER_A_FAILURE_S = 10.0
_NOT_CLOSED = "a session that ended was not closed as it should be"


class Sending(Protocol):
    """Interface of the sender of one session; a Sender implements it."""

    @property
    def key(self) -> str:
        """Return the key of the session."""

    @property
    def statistics(self) -> Statistics:
        """Return the counts so far."""

    def keep(self, frame: TelemetryFrame) -> None:
        """Spool a frame with the next sequence."""

    def describe(self, facts: Session) -> None:
        """Send the session's facts."""

    def poll(self, timeout_s: float) -> None:
        """Produce what is due; wait at most ``timeout_s``."""

    def close(self, *, timeout_s: float) -> object | None:
        """End the session; return what is left after ``timeout_s``, if anything."""


@dataclass(slots=True)
class RateLimiter:
    """Throttles frames to ``rate_hz`` a second, by the frames' own times; 0 lets all of them
    through.
    """

    rate_hz: float = 0.0
    _due_ms: float = 0.0

    def lets_through(self, timestamp_ms: int) -> bool:
        """Return whether the frame of that time is to be sent."""
        if not self.rate_hz:
            return True
        interval_ms = 1000 / self.rate_hz
        # Games do not keep time to the millisecond: a frame that is a little early is the due one.
        if timestamp_ms < self._due_ms - interval_ms / 4:
            return False
        late_ms = timestamp_ms - self._due_ms
        self._due_ms = (self._due_ms if late_ms < interval_ms else timestamp_ms) + interval_ms
        return True


class Follower:
    """Follows ``game``; each session that the game begins gets a sender from ``open_sender``."""

    def __init__(self, game: Game, open_sender: Callable[[Session], Sending]) -> None:
        self._game, self._open_sender = game, open_sender
        self._live: Sending | None = None
        self._facts = Session()
        self._closer = ThreadPoolExecutor(_CLOSING_AT_ONCE, thread_name_prefix="close-session")
        self._closing: dict[Future[object | None], Sending] = {}
        self._past = Statistics()  # sum over the closed senders
        self._complaints = AnomalyCounts(game.name)
        self._thinning = RateLimiter()
        self._sending = True
        self._seen_running = False

    @property
    def session(self) -> str | None:
        """Return the key of the running session; None without one."""
        return self._live.key if self._live else None

    @property
    def sending(self) -> bool:
        """Return whether frames are sent, as far as commands decide it."""
        return self._sending

    @property
    def statistics(self) -> Statistics:
        """Return the statistics of all sessions so far."""
        senders = [*self._closing.values(), *([self._live] if self._live else [])]
        return sum((sender.statistics for sender in senders), start=self._past)

    @property
    def unused(self) -> dict[str, int]:
        """Return the counts of unusable input from the game, by kind."""
        return {**self._game.counts, **self._complaints.counts}

    def step(self, timeout_s: float) -> None:
        """Take the game's events, waiting ``timeout_s`` at most, and poll the sender."""
        for event in self._game.poll(timeout_s):
            self._take(event)
        self._note_game()
        if self._live is not None:
            self._live.poll(0)
        self._count_closed()

    def pause(self) -> None:
        """Send no frames until `resume`; the follower still follows the game."""
        self._sending = False

    def resume(self) -> None:
        """Send frames again."""
        self._sending = True

    def limit_rate(self, rate_hz: float) -> None:
        """Send at most ``rate_hz`` frames a second; 0: as many as the game gives."""
        self._thinning = RateLimiter(rate_hz)
        if self._live is not None:
            self._live.describe(at_rate(self._facts, rate_hz))

    def close(self) -> None:
        """Close the game, and wait until each session is acknowledged or its wait has run out."""
        for event in self._game.close():
            self._take(event)
        self._end("the collector stops")
        wait(self._closing)
        self._count_closed()
        self._closer.shutdown()

    def _take(self, event: GameEvent) -> None:
        match event:
            case TelemetryFrame():
                self._keep(event)
            case SessionBegan(facts):
                self._end("another began")
                self._begin(facts)
            case FactsChanged(facts):
                self._facts = facts
                if self._live is not None:
                    self._live.describe(at_rate(facts, self._thinning.rate_hz))
            case SessionEnded(reason):
                self._end(reason)

    def _keep(self, frame: TelemetryFrame) -> None:
        for name in blanked_fields(frame):
            self._complaints.add(f"{name} not plausible, sent as unknown")
        if self._live is None:
            self._complaints.add("frame outside of a session")
        elif self._sending and self._thinning.lets_through(frame.timestamp):
            self._live.keep(frame)

    def _begin(self, facts: Session) -> None:
        self._facts = facts
        # Its times may be earlier: clocks are set back.
        self._thinning = RateLimiter(self._thinning.rate_hz)
        self._live = self._open_sender(at_rate(facts, self._thinning.rate_hz))
        log.info(
            "session began",
            session=self._live.key,
            game=facts.game,
            track=facts.track,
            car=facts.car,
        )

    def _end(self, reason: str) -> None:
        if self._live is None:
            return
        frames = self._live.statistics.frames_collected
        log.info("session ended", session=self._live.key, reason=reason, frames=frames)
        closed = self._closer.submit(self._live.close, timeout_s=ACKNOWLEDGED_WITHIN_S)
        self._closing[closed] = self._live
        self._live = None

    def _count_closed(self) -> None:
        for closed in [future for future in self._closing if future.done()]:
            sender = self._closing.pop(closed)
            self._past += sender.statistics
            if (failed := closed.exception()) is not None:
                # The session that is being driven goes on. The next run sends the records of this
                # one that are on disk.
                log.error(_NOT_CLOSED, session=sender.key, exc_info=failed)
            elif (left := closed.result()) is not None:
                log.info("to be sent later", session=sender.key, left=str(left))

    def _note_game(self) -> None:
        if self._game.running != self._seen_running:
            self._seen_running = self._game.running
            log.info(
                "game found" if self._seen_running else "game gone, looking for it",
                game=self._game.name,
            )


def at_rate(facts: Session, rate_hz: float) -> Session:
    """Return a copy of the facts with the rate at which frames are sent, limited to ``rate_hz``; 0:
    no limit.
    """
    limited = Session()
    limited.CopyFrom(facts)
    if rate_hz:
        limited.sample_rate = min(facts.sample_rate or rate_hz, rate_hz)
    return limited


@contextmanager
def in_background(work: Callable[[], bool], *, name: str) -> Iterator[None]:
    """Repeat ``work`` in a thread until the end of the block; pause where it returns that there was
    nothing to do.
    """
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            try:
                if not work():
                    stopping.wait(_LOOK_AGAIN_S)
            except Exception:
                # The follower still follows the game. A disk or a broker that failed may work again
                # later.
                log.exception("failed, trying again later", work=name)
                stopping.wait(_AFTER_A_FAILURE_S)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def follow(
    follower: Follower,
    *,
    stop: Callable[[], bool],
    report: Callable[[Statistics], None],
    between: Callable[[], None] = lambda: None,
    report_every_s: float = REPORT_EVERY_S,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Follow the game until ``stop()``.

    Every ``report_every_s``, ``report`` gets the statistics if they have changed. The loop calls
    ``between`` after each step; the game waits while it runs.
    """
    reported, report_at = Statistics(), clock() + report_every_s
    while not stop():
        follower.step(STEP_S)
        between()
        if clock() < report_at:
            continue
        report_at = clock() + report_every_s
        if (statistics := follower.statistics) != reported:
            report(statistics)
            reported = statistics
