"""Orders the received frames of a game: finds the next frame, late data, and breaks in the
sequence. Pure.

Datagrams overtake each other, get lost, and now and then have a value that fits nothing. Games are
restarted, and drivers are put back into the pits. In each case, a lap clock or a place does not
continue from its last value. The rule to remember: a break is accepted when the frames after it
continue from it for a while. Until then its frames are held back, and the old sequence may still
continue.
"""

from itertools import pairwise
from math import dist
from typing import NamedTuple

from ingest.codec.blanking import blanked_fields
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.telemetry_pb2 import TelemetryFrame

#: The game time between two frames may exceed the time between their arrivals by so much.
#: The reason is that a delayed frame arrives right before the next.
SLACK_MS = 1000
#: The frames after a break must continue for so long before the break is accepted.
#: Datagrams overtake each other by a few, not by so much.
CONVINCING_MS = 100
#: A game that begins a session again shows a menu or a picture for at least so long.
LOADING_MS = 500
# No car drives farther than this between two frames: the game put it there.
_STEP_M, _FASTEST_M_PER_MS = 20.0, 0.15
# The fields that show the order of frames.
_ORDER = frozenset({"lap_number", "lap_time", "x", "y", "z"})


class ReceivedFrame(NamedTuple):
    """A received frame, still without its time, and its time of arrival.

    ``filled`` is that frame with its unknown lap and place fields taken from the frame before.
    """

    frame: TelemetryFrame
    at_s: float
    filled: TelemetryFrame | None = None

    @property
    def known(self) -> TelemetryFrame:
        """Return the frame that shows the car's lap and place: the filled one, if any."""
        return self.frame if self.filled is None else self.filled

    def after(self, before: "ReceivedFrame | None") -> "ReceivedFrame":
        """Return this moment, with its unknown fields filled where it came after ``before``.

        An unknown lap is not a return to lap 0.
        """
        unknown = _ORDER.intersection(blanked_fields(self.frame))
        if before is None or not unknown:
            return self
        filled = TelemetryFrame()
        filled.CopyFrom(self.frame)
        for name in unknown:
            setattr(filled, name, getattr(before.known, name))
        if "lap_time" in unknown:
            # The lap clock has advanced, by less than the time that passed here. The next value is
            # ahead of it.
            filled.lap_time += max(1, round(_waited_ms(before, self) / 2))
        return self._replace(filled=filled)


def stands(before: ReceivedFrame, moment: ReceivedFrame) -> bool:
    """Return whether the game is paused, or has sent the same moment twice."""
    return (before.known.lap_number, before.known.lap_time) == (
        moment.known.lap_number,
        moment.known.lap_time,
    )


def goes_on(before: ReceivedFrame, moment: ReceivedFrame) -> bool:
    """Return whether ``moment`` can come after ``before``; others between may be lost."""
    laps = _laps(before, moment)
    since_ms = moment.known.lap_time - before.known.lap_time
    most_ms = _waited_ms(before, moment) + SLACK_MS
    if laps == 0:
        return 0 < since_ms <= most_ms and not _was_put(before, moment, since_ms)
    # The lap counter may be a moment ahead of the lap clock.
    return laps > 0 and (moment.known.lap_time <= most_ms or 0 <= since_ms <= most_ms)


def passed_ms(before: ReceivedFrame, moment: ReceivedFrame) -> int:
    """Return the game time in ms from ``before`` to ``moment``, which continues from it."""
    if _laps(before, moment) == 0:
        return moment.known.lap_time - before.known.lap_time
    # The rest of the old lap is known once its official time has arrived.
    # Until then the frame has the official time of the lap before it, which does not fit.
    rest_ms = moment.known.last_lap_time - before.known.lap_time
    passed = rest_ms + moment.known.lap_time
    waited_ms = _waited_ms(before, moment)
    return passed if rest_ms >= 0 and passed <= waited_ms + SLACK_MS else round(waited_ms)


def restarts(before: ReceivedFrame, moment: ReceivedFrame) -> bool:
    """Return whether a break between two moments is another session of the same driver, car and
    track.

    A lap counter that has gone back means another session. Once a lap has been counted, no other
    break does: the car was put back into the pits. In the first lap, the clock also goes back at
    the line of a flying start. So another session needs one more sign. Either the car was put
    somewhere else, or the game sent nothing for a while.
    """
    laps, since_ms = _laps(before, moment), moment.known.lap_time - before.known.lap_time
    if laps or since_ms >= 0 or moment.known.lap_number > 1:
        return laps < 0
    waited_ms = _waited_ms(before, moment)
    return waited_ms > LOADING_MS or _was_put(before, moment, waited_ms)


def _is_past(last: ReceivedFrame, moment: ReceivedFrame, waited_s: float) -> bool:
    """Return whether ``moment`` is late data or part of a replay.

    Its clock goes back, but not to zero, while the game keeps sending.
    """
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
    """Takes moments as they arrive, and returns those that have proven to be in order."""

    def __init__(self, complaints: AnomalyCounts) -> None:
        self._complaints = complaints
        self._last: ReceivedFrame | None = None
        self._held: list[ReceivedFrame] = []
        self._past = False  # the held frames have been seen before
        self._received_s = 0.0

    def take(self, moment: ReceivedFrame) -> list[ReceivedFrame]:
        """Return the moments that can be accepted now, oldest first.

        Only the first of them may be a break with the moments accepted before.
        """
        waited_s, self._received_s = moment.at_s - self._received_s, moment.at_s
        last = self._last
        moment = moment.after(last or (self._held[-1] if self._held else None))
        if last is not None and stands(last, moment):
            return []
        if last is None or not goes_on(last, moment):
            return self._hold(moment, waited_s)
        # The lap clock may be a moment ahead of the counter. Then the held frames are the first of
        # the new lap.
        if self._held and (
            self._past or goes_on(self._held[0], last) or not goes_on(self._held[-1], moment)
        ):
            self._drop_held()
        return self._accept(moment)

    def _hold(self, moment: ReceivedFrame, waited_s: float) -> list[ReceivedFrame]:
        if self._held and stands(self._held[-1], moment):
            return []
        if not (self._held and goes_on(self._held[-1], moment)):
            self._drop_held()
            self._past = self._last is not None and _is_past(self._last, moment, waited_s)
        elif self._past:
            self._drop_held()
        self._held.append(moment)
        # The very first moment breaks with nothing. It needs only movement, which a paused game
        # does not have.
        needed_ms = CONVINCING_MS if self._last else 1
        if self._past or sum(passed_ms(a, b) for a, b in pairwise(self._held)) < needed_ms:
            return []
        return self._accept(self._held.pop())

    def _accept(self, moment: ReceivedFrame) -> list[ReceivedFrame]:
        accepted, self._held, self._last = [*self._held, moment], [], moment
        return accepted

    def _drop_held(self) -> None:
        for held in self._held:
            late = self._last is not None and goes_on(held, self._last)
            self._complaints.add("came late" if late else "does not go on from what came before")
        self._held = []
