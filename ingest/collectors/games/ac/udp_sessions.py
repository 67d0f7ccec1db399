"""The sessions in what Assetto Corsa's datagrams say: where each begins and ends, and its frames with their times. Pure.

Of the game's sessions the protocol says nothing but who drives what and where. What else tells that another began is in
`course`. Nor does it say that a replay runs, and nobody has written down whether the game sends anything then: one that shows
what was driven before is left out, one from a session's very start looks like driving. The rule to remember: only what moves
makes a frame, and silence alone ends no session, for a driver who pauses comes back to it.
"""

from ingest.collectors.games.ac.clocks import ClockReading
from ingest.collectors.games.ac.frames import facts_of_answer, frame_of_car
from ingest.collectors.games.ac.reordering import ReceivedFrame, ReorderBuffer, begins_anew, goes_on, passed_ms
from ingest.collectors.games.ac.sample_clock import SampleClock
from ingest.collectors.games.ac.steering import USUAL_LOCK_DEG, Steering
from ingest.collectors.games.ac.udp_protocol import Answer, CarInfo, LapDone
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import Happening
from ingest.collectors.games.session_tracker import SessionTracker

#: A driver who has paused for so long may come back to his session, but nobody waits for him.
FORGOTTEN_AFTER_S = 1800.0


class UdpSessions:
    """What each message means. ``steering_lock_deg``: of the cars that are driven; 0: not known."""

    def __init__(self, complaints: AnomalyCounts, *, steering_lock_deg: float = 0.0) -> None:
        self._complaints, self._lock_deg = complaints, steering_lock_deg or USUAL_LOCK_DEG
        self._answer: Answer | None = None
        self._lap_done: LapDone | None = None
        self._last: ReceivedFrame | None = None
        self._course = ReorderBuffer(complaints)
        self._session = SessionTracker(complaints)

    def answered(self, answer: Answer) -> list[Happening]:
        """The game has said who drives what, and where; it says so again after each silence."""
        if answer == self._answer:
            return []
        ended = self.end("another car, track or driver")
        self._answer, self._facts = answer, facts_of_answer(answer)
        self._steering = Steering(self._lock_deg)
        return ended

    def lap_done(self, lap: LapDone) -> None:
        """Some car has finished a lap; that it is ours only the names can tell."""
        if self._answer is not None and (lap.driver, lap.car) == (self._answer.driver, self._answer.car):
            self._lap_done = lap

    def car(self, info: CarInfo, now: ClockReading) -> list[Happening]:
        """The car at one moment."""
        if self._answer is None:
            return []
        frame = frame_of_car(info, steering=self._steering.share(info.steer_deg), last_lap_ms=self._last_lap_ms(info))
        believed = self._course.take(ReceivedFrame(frame, now.monotonic_s))
        return [happening for moment in believed for happening in self._tell(moment, now)]

    def waited(self, now_s: float) -> list[Happening]:
        """Nothing has come."""
        if self._last is None or now_s - self._last.at_s < FORGOTTEN_AFTER_S:
            return []
        return self.end("silent for too long")

    def end(self, reason: str) -> list[Happening]:
        """The session, if one runs, is over, and forgotten."""
        self._last, self._course = None, ReorderBuffer(self._complaints)
        return self._session.end(reason)

    def _last_lap_ms(self, info: CarInfo) -> int:
        # `lastLap` may still be that of the lap before when the counter has risen. A lap's own datagram counts from 0.
        done = self._lap_done
        return done.time_ms if done is not None and done.lap + 1 == info.lap_count else info.last_lap_ms

    def _tell(self, moment: ReceivedFrame, now: ClockReading) -> list[Happening]:
        last, ended = self._last, list[Happening]()
        unbroken = last is not None and goes_on(last, moment)
        if last is not None and not unbroken and begins_anew(last, moment):
            last, ended = None, self._session.end("begun again")
        if last is None:
            self._lap_done, self._samples = None, SampleClock(now_s=moment.at_s)
            placed_s = moment.at_s
        else:
            # Over a break nobody knows what has passed but we.
            passed = passed_ms(last, moment) if unbroken else round((moment.at_s - last.at_s) * 1000)
            placed_s = self._samples.place_s(passed, now_s=moment.at_s)
        self._last = moment
        wall_ms = now.wall_ms - round((now.monotonic_s - moment.at_s) * 1000)
        return [*ended, *self._session.drive(moment.frame, self._facts, now_s=placed_s, wall_ms=wall_ms)]
