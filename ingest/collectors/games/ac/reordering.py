"""The order of the moments that a game tells of: which comes next, which came late, and where the course of things breaks. Pure.

Datagrams overtake each other, get lost, and have a value now and then that fits nothing; games are restarted, and drivers put
back into the pits. All of that shows as a lap clock or a place that does not go on from where it was. The rule to remember: a
break is believed when what follows goes on from it for a while. Until then it is held back, and the old course may still go on.
"""

from itertools import pairwise
from math import dist
from typing import NamedTuple

from ingest.codec.blanking import blanked_fields
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.telemetry_pb2 import TelemetryFrame

#: So much more may pass in the game than between two arrivals: one that was delayed comes right before the next.
SLACK_MS = 1000
#: What follows a break goes on for so long before it is believed. Datagrams overtake each other by a few, not by this.
CONVINCING_MS = 100
#: No game begins a session again without a menu or a picture to look at for so long.
LOADING_MS = 500
# Farther than any car gets: it was put there.
_STEP_M, _FASTEST_M_PER_MS = 20.0, 0.15
# What the order of moments is seen by.
_ORDER = frozenset({"lap_number", "lap_time", "x", "y", "z"})


class ReceivedFrame(NamedTuple):
    """A frame, still without its time, and when we got it.

    ``filled`` is that frame with what it does not know of its lap and place, as far as the moment before tells.
    """

    frame: TelemetryFrame
    at_s: float
    filled: TelemetryFrame | None = None

    @property
    def known(self) -> TelemetryFrame:
        """What shows where the car is in the course of things."""
        return self.frame if self.filled is None else self.filled

    def after(self, before: "ReceivedFrame | None") -> "ReceivedFrame":
        """Return this moment, filled where it came after ``before``: who does not know the lap has not gone back to lap 0."""
        unknown = _ORDER.intersection(blanked_fields(self.frame))
        if before is None or not unknown:
            return self
        filled = TelemetryFrame()
        filled.CopyFrom(self.frame)
        for name in unknown:
            setattr(filled, name, getattr(before.known, name))
        if "lap_time" in unknown:
            # The clock has moved on, by less than what has passed here: the next one is ahead of it.
            filled.lap_time += max(1, round(_waited_ms(before, self) / 2))
        return self._replace(filled=filled)


def stands(before: ReceivedFrame, moment: ReceivedFrame) -> bool:
    """The game is paused, or has told the same twice."""
    return (before.known.lap_number, before.known.lap_time) == (moment.known.lap_number, moment.known.lap_time)


def goes_on(before: ReceivedFrame, moment: ReceivedFrame) -> bool:
    """Whether ``moment`` can come after ``before``; others between them may have been lost."""
    laps = _laps(before, moment)
    since_ms = moment.known.lap_time - before.known.lap_time
    most_ms = _waited_ms(before, moment) + SLACK_MS
    if laps == 0:
        return 0 < since_ms <= most_ms and not _was_put(before, moment, since_ms)
    # The counter may be a moment ahead of the clock.
    return laps > 0 and (moment.known.lap_time <= most_ms or 0 <= since_ms <= most_ms)


def passed_ms(before: ReceivedFrame, moment: ReceivedFrame) -> int:
    """What has passed in the game from ``before`` to ``moment``, which goes on from it."""
    if _laps(before, moment) == 0:
        return moment.known.lap_time - before.known.lap_time
    # The rest of the old lap is known once its official time has come; until then, that of the lap before it does not fit.
    rest_ms = moment.known.last_lap_time - before.known.lap_time
    passed = rest_ms + moment.known.lap_time
    waited_ms = _waited_ms(before, moment)
    return passed if rest_ms >= 0 and passed <= waited_ms + SLACK_MS else round(waited_ms)


def begins_anew(before: ReceivedFrame, moment: ReceivedFrame) -> bool:
    """Whether a break between two moments is another session of the same driver in the same car on the same track.

    A lap counter that has gone back is. Once a lap has been counted, nothing else is: the car was put back into the pits. In
    the first lap the clock goes back at the line of a flying start too; but not where the car was put somewhere else, or the
    game had nothing to tell for a while.
    """
    laps, since_ms = _laps(before, moment), moment.known.lap_time - before.known.lap_time
    if laps or since_ms >= 0 or moment.known.lap_number > 1:
        return laps < 0
    waited_ms = _waited_ms(before, moment)
    return waited_ms > LOADING_MS or _was_put(before, moment, waited_ms)


def _is_past(last: ReceivedFrame, moment: ReceivedFrame, waited_s: float) -> bool:
    """A clock that goes back, but not to zero, while the game is talking: it came late, or is a replay."""
    laps, since_ms = _laps(last, moment), moment.known.lap_time - last.known.lap_time
    behind = laps < 0 or (laps == 0 and since_ms < 0)
    return behind and waited_s * 1000 < LOADING_MS and moment.known.lap_time > SLACK_MS


def _laps(before: ReceivedFrame, moment: ReceivedFrame) -> int:
    return moment.known.lap_number - before.known.lap_number


def _waited_ms(before: ReceivedFrame, moment: ReceivedFrame) -> float:
    return (moment.at_s - before.at_s) * 1000


def _was_put(before: ReceivedFrame, moment: ReceivedFrame, driven_ms: float) -> bool:
    a, b = before.known, moment.known
    return dist((a.x, a.y, a.z), (b.x, b.y, b.z)) > _STEP_M + _FASTEST_M_PER_MS * driven_ms


class ReorderBuffer:
    """Takes moments as they come, and gives back those that have turned out to come in order."""

    def __init__(self, complaints: AnomalyCounts) -> None:
        self._complaints = complaints
        self._last: ReceivedFrame | None = None
        self._held: list[ReceivedFrame] = []
        self._past = False  # what is held has been seen before
        self._heard_s = 0.0

    def take(self, moment: ReceivedFrame) -> list[ReceivedFrame]:
        """What can be believed now, oldest first. Only the first of it may be a break with what was believed before."""
        waited_s, self._heard_s = moment.at_s - self._heard_s, moment.at_s
        last = self._last
        moment = moment.after(last or (self._held[-1] if self._held else None))
        if last is not None and stands(last, moment):
            return []
        if last is None or not goes_on(last, moment):
            return self._hold(moment, waited_s)
        # The clock may be a moment ahead of the counter: then what was held back is the first of the new lap.
        if self._held and (self._past or goes_on(self._held[0], last) or not goes_on(self._held[-1], moment)):
            self._drop_held()
        return self._believe(moment)

    def _hold(self, moment: ReceivedFrame, waited_s: float) -> list[ReceivedFrame]:
        if self._held and stands(self._held[-1], moment):
            return []
        if not (self._held and goes_on(self._held[-1], moment)):
            self._drop_held()
            self._past = self._last is not None and _is_past(self._last, moment, waited_s)
        elif self._past:
            self._drop_held()
        self._held.append(moment)
        # The very first breaks with nothing. It need only move, as a paused game does not.
        needed_ms = CONVINCING_MS if self._last else 1
        if self._past or sum(passed_ms(a, b) for a, b in pairwise(self._held)) < needed_ms:
            return []
        return self._believe(self._held.pop())

    def _believe(self, moment: ReceivedFrame) -> list[ReceivedFrame]:
        believed, self._held, self._last = [*self._held, moment], [], moment
        return believed

    def _drop_held(self) -> None:
        for held in self._held:
            late = self._last is not None and goes_on(held, self._last)
            self._complaints.add("came late" if late else "does not go on from what came before")
        self._held = []
