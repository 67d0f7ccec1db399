"""Finds the sessions in Assetto Corsa's datagrams: their starts and ends, and their frames with
times. Pure.

The protocol reports nothing of the game's sessions but the car, the driver and the track.
`reordering` has the other signs that a session began. Nor does the protocol report that a replay
runs. No document states whether the game sends anything then. A replay of earlier driving is left
out. A replay from a session's very start looks like driving. The rule to remember: only movement
makes a frame, and silence ends a session only after `ABANDONED_AFTER_S`. A driver who pauses comes
back to the session.
"""

from ingest.collectors.games.ac.clocks import ClockReading
from ingest.collectors.games.ac.frames import facts_of_answer, frame_of_car
from ingest.collectors.games.ac.reordering import (
    ReceivedFrame,
    ReorderBuffer,
    goes_on,
    passed_ms,
    restarts,
)
from ingest.collectors.games.ac.sample_clock import SampleClock
from ingest.collectors.games.ac.steering import USUAL_LOCK_DEG, Steering
from ingest.collectors.games.ac.udp_protocol import Answer, CarInfo, LapDone
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import GameEvent
from ingest.collectors.games.session_tracker import SessionTracker

#: A driver who has paused for so long may come back to the session, but the collector stops
#: waiting.
ABANDONED_AFTER_S = 1800.0


class UdpSessions:
    """Finds sessions and frames in the messages of the game.

    ``steering_lock_deg`` is the lock of the cars that are driven; 0 means not known.
    """

    def __init__(self, complaints: AnomalyCounts, *, steering_lock_deg: float = 0.0) -> None:
        self._complaints, self._lock_deg = complaints, steering_lock_deg or USUAL_LOCK_DEG
        self._answer: Answer | None = None
        self._lap_done: LapDone | None = None
        self._last: ReceivedFrame | None = None
        self._reordering = ReorderBuffer(complaints)
        self._session = SessionTracker(complaints)

    def answered(self, answer: Answer) -> list[GameEvent]:
        """Take the driver, car and track; end the session where they changed.

        The game sends them again after each silence.
        """
        if answer == self._answer:
            return []
        ended = self.end("another car, track or driver")
        self._answer, self._facts = answer, facts_of_answer(answer)
        self._steering = Steering(self._lock_deg)
        return ended

    def lap_done(self, lap: LapDone) -> None:
        """Take the end of a lap of any car; only the names show that the car is ours."""
        if self._answer is not None and (lap.driver, lap.car) == (
            self._answer.driver,
            self._answer.car,
        ):
            self._lap_done = lap

    def car(self, info: CarInfo, now: ClockReading) -> list[GameEvent]:
        """Return the events that follow from the state of the car at one moment."""
        if self._answer is None:
            return []
        frame = frame_of_car(
            info, steering=self._steering.share(info.steer_deg), last_lap_ms=self._last_lap_ms(info)
        )
        ready = self._reordering.take(ReceivedFrame(frame, now.monotonic_s))
        return [event for moment in ready for event in self._emit(moment, now)]

    def waited(self, now_s: float) -> list[GameEvent]:
        """Return the events when no datagram has arrived: after a long silence, the session
        ends.
        """
        if self._last is None or now_s - self._last.at_s < ABANDONED_AFTER_S:
            return []
        return self.end("silent for too long")

    def end(self, reason: str) -> list[GameEvent]:
        """End the session, if one runs, and forget it."""
        self._last, self._reordering = None, ReorderBuffer(self._complaints)
        return self._session.end(reason)

    def _last_lap_ms(self, info: CarInfo) -> int:
        # `lastLap` may still belong to the lap before when the counter has risen. A lap's own
        # datagram counts from 0.
        done = self._lap_done
        return (
            done.time_ms
            if done is not None and done.lap + 1 == info.lap_count
            else info.last_lap_ms
        )

    def _emit(self, moment: ReceivedFrame, now: ClockReading) -> list[GameEvent]:
        last, ended = self._last, list[GameEvent]()
        unbroken = last is not None and goes_on(last, moment)
        if last is not None and not unbroken and restarts(last, moment):
            last, ended = None, self._session.end("begun again")
        if last is None:
            self._lap_done, self._samples = None, SampleClock(now_s=moment.at_s)
            placed_s = moment.at_s
        else:
            # Over a break, only our own clock shows the time that passed.
            passed = (
                passed_ms(last, moment) if unbroken else round((moment.at_s - last.at_s) * 1000)
            )
            placed_s = self._samples.place_s(passed, now_s=moment.at_s)
        self._last = moment
        wall_ms = now.wall_ms - round((now.monotonic_s - moment.at_s) * 1000)
        return [
            *ended,
            *self._session.track(moment.frame, self._facts, now_s=placed_s, wall_ms=wall_ms),
        ]
