"""Places frames whose clock may be wrong, frame by frame, for the store and for the live path.

The first frame of a session with an impossible time gets the broker's time of receipt. The frames
after it keep their spacing. Where the collector showed that its clock is behind, the frame is
placed later by that difference. It may have waited on a disk for the broker.

Where a clock jumps, the frame follows the one before it by the usual step. Where the broker saw a
pause, the frame follows after that pause. A frame whose sequence goes on is never placed more than
`BACK_MS` before the one that it follows. Pure: the broker's time is an argument.

Rule: the same records give the same times, wherever they are cut into batches and whoever places
them. So `SessionTimes` is all that is known of the frames before, and is stored with them. Late
frames change nothing of it: viewers do not get those that ingest requested again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest.codec.timestamps import (
    AHEAD_MS,
    BACK_MS,
    BEFORE_START_MS,
    DRIFTED_AHEAD_MS,
    ahead_fault,
    back_fault,
    before_start_fault,
    behind_fault,
    date_fault,
)

#: A clock that jumps more often than this in one session has no spacing left to keep.
MOST_CORRECTIONS = 100

#: The step between two frames of a session that has shown none yet.
USUAL_STEP_MS = 16
#: A longer step is a pause.
LONGEST_STEP_MS = 1000


@dataclass(frozen=True, slots=True)
class Correction:
    """A clock correction: ``offset_ms`` is added to a session's times from ``from_sequence`` on.

    The first corrected frame was placed at ``placed_ms``. ``from_sequence`` is 0 where the
    correction holds from the session's start, and for frames without a sequence.
    """

    session_id: int
    from_sequence: int
    offset_ms: int
    placed_ms: int
    reason: str


@dataclass(slots=True)
class SessionTimes:
    """The known times of a session: those of its frames that were not late, and the corrections.

    ``latest_ms`` is the latest time, ``appended_ms`` the broker's time of the last frame, and
    ``highest`` the highest sequence. ``start_ms`` is the time of the first frame, or the session's
    start if its collector reported that before. ``step_ms`` is the last step between two frames.
    """

    latest_ms: int | None = None
    appended_ms: int | None = None
    highest: int = 0
    start_ms: int | None = None
    step_ms: int = USUAL_STEP_MS
    starts: list[int] = field(default_factory=list)  # sequences, ascending
    offsets: list[int] = field(default_factory=list)  # one for each start, ms
    behind_ms: int = 0  # how far its collector's clock is behind, where more than `BEHIND_MS`

    @classmethod
    def restored(cls, state: Sequence[int]) -> "SessionTimes":
        """Return the times that had this `state`. The corrections are stored apart from it."""
        highest, latest_ms, appended_ms, start_ms, step_ms = state
        return cls(latest_ms, appended_ms, highest, start_ms, step_ms)

    @property
    def state(self) -> tuple[int, ...]:
        """Return what is to be stored with the frames; nothing before the first frame."""
        if self.latest_ms is None or self.appended_ms is None or self.start_ms is None:
            return ()
        return self.highest, self.latest_ms, self.appended_ms, self.start_ms, self.step_ms

    def offset_at(self, sequence: int) -> int:
        """Return the correction that is added to the time of this frame, ms."""
        place = bisect_right(self.starts, sequence)
        return self.offsets[place - 1] if place else 0

    def correct(self, from_sequence: int, offset_ms: int) -> None:
        """Add a correction that holds from ``from_sequence`` on, in place of one from there."""
        place = bisect_left(self.starts, from_sequence)
        if self.starts[place : place + 1] == [from_sequence]:
            self.offsets[place] = offset_ms
        else:
            self.starts.insert(place, from_sequence)
            self.offsets.insert(place, offset_ms)

    def expect_start(self, reported_ms: int, appended_ms: int) -> None:
        """Note the session's start as its collector reports it before the first frame.

        An impossible start is not noted.
        """
        if not reported_ms or self.latest_ms is not None:
            return
        start_ms = reported_ms + self.behind_ms
        began_ms = start_ms if self.start_ms is None else self.start_ms
        if date_fault(start_ms) or abs(reported_ms - began_ms) < abs(start_ms - began_ms):
            start_ms = reported_ms
        if not date_fault(start_ms) and start_ms <= appended_ms + AHEAD_MS:
            self.start_ms = start_ms

    def follow(self, placed_ms: int, appended_ms: int, sequence: int) -> None:
        """Note a frame that was placed and was not late."""
        self.highest = max(self.highest, sequence)
        self.start_ms = placed_ms if self.start_ms is None else self.start_ms
        self.latest_ms = placed_ms if self.latest_ms is None else max(self.latest_ms, placed_ms)
        self.appended_ms = appended_ms


class Placing:
    """Places one session's frames, one after the other, and keeps its times."""

    def __init__(self, times: SessionTimes, session_id: int = 0) -> None:
        self.corrections: list[Correction] = []
        self.times = times
        self._session_id = session_id

    @property
    def offset_at_start_ms(self) -> int:
        """Return the correction from the session's start on; 0 where its clock was right then."""
        return self.times.offset_at(0)

    def place(self, sequence: int, raw_ms: int, appended_ms: int) -> tuple[int, str | None]:
        """Return the frame's place in time, ms, and why it cannot be placed, or None.

        ``raw_ms`` is the frame's own time, ``appended_ms`` the broker's time of receipt.
        """
        if sequence and sequence <= self.times.highest:
            return self._place_late(sequence, raw_ms, appended_ms)
        return self._place_next(sequence, raw_ms, appended_ms)

    def _place_late(self, sequence: int, raw_ms: int, appended_ms: int) -> tuple[int, str | None]:
        """Place late data: a frame that frames of a higher sequence have overtaken.

        The frame gets its own correction, or else the first correction that gives a possible time.
        """
        first_fault = None
        for offset_ms in (self.times.offset_at(sequence), *self.times.offsets):
            fault = self._impossible(raw_ms + offset_ms, appended_ms)
            if fault is None:
                return raw_ms + offset_ms, None
            first_fault = first_fault or fault
        return raw_ms, first_fault

    def _place_next(self, sequence: int, raw_ms: int, appended_ms: int) -> tuple[int, str | None]:
        times = self.times
        missing = sequence - times.highest if sequence and times.highest else 1
        placed_ms = raw_ms + self._offset_ms(sequence, raw_ms, appended_ms)
        fault = self._next_fault(sequence, placed_ms, appended_ms)
        if fault:
            if len(times.starts) >= MOST_CORRECTIONS:
                # Times that only go back are stored unchanged: the laps are timed again with them.
                fault = self._impossible(placed_ms, appended_ms)
                if fault is None:
                    times.follow(placed_ms, appended_ms, sequence)
                return placed_ms, fault
            placed_ms = self._following_ms(missing, raw_ms, appended_ms)
            self._correct(sequence, placed_ms - raw_ms, placed_ms, fault)
        elif times.latest_ms is not None and 0 < placed_ms - times.latest_ms <= LONGEST_STEP_MS:
            times.step_ms = max(1, (placed_ms - times.latest_ms) // missing)
        times.follow(placed_ms, appended_ms, sequence)
        return placed_ms, None

    def _offset_ms(self, sequence: int, raw_ms: int, appended_ms: int) -> int:
        # A frame without a sequence shows nothing about its neighbours: a right time is kept
        # unchanged.
        if not sequence and abs(raw_ms - appended_ms) <= AHEAD_MS:
            return 0
        return self.times.offset_at(max(sequence, self.times.highest))

    def _following_ms(self, missing: int, raw_ms: int, appended_ms: int) -> int:
        """Return when a frame with a useless clock was driven: after the one before it."""
        times = self.times
        if times.latest_ms is None or times.appended_ms is None:
            moved_ms = raw_ms + times.behind_ms
            behind = times.behind_ms and not self._impossible(moved_ms, appended_ms)
            return moved_ms if behind else appended_ms
        step_ms = times.step_ms * missing
        waited_ms = appended_ms - times.appended_ms
        # In a session under way the usual step is more reliable than the delays to the broker,
        # which vary. Only the broker has seen a pause.
        return times.latest_ms + (waited_ms if waited_ms > step_ms + LONGEST_STEP_MS else step_ms)

    def _correct(self, sequence: int, offset_ms: int, placed_ms: int, reason: str) -> None:
        from_sequence = 0 if self.times.latest_ms is None else sequence
        self.times.correct(from_sequence, offset_ms)
        self.corrections.append(
            Correction(self._session_id, from_sequence, offset_ms, placed_ms, reason)
        )

    def _next_fault(self, sequence: int, time_ms: int, appended_ms: int) -> str | None:
        latest_ms = self.times.latest_ms
        if latest_ms is None:
            corrected = not self.times.behind_ms or self.times.starts
            return (
                self._impossible(time_ms, appended_ms)
                if corrected
                else behind_fault(self.times.behind_ms)
            )
        if sequence and time_ms < latest_ms - BACK_MS:
            return back_fault(time_ms, latest_ms)
        return self._impossible(time_ms, appended_ms)

    def _impossible(self, time_ms: int, appended_ms: int) -> str | None:
        """Return why no frame can have this time here; None if one can."""
        if fault := date_fault(time_ms):
            return fault
        latest_ms, start_ms = self.times.latest_ms, self.times.start_ms
        jumped = latest_ms is None or time_ms - latest_ms > AHEAD_MS
        if time_ms > appended_ms + (AHEAD_MS if jumped else DRIFTED_AHEAD_MS):
            return ahead_fault(time_ms, appended_ms)
        if start_ms is not None and time_ms < start_ms - BEFORE_START_MS:
            return before_start_fault(time_ms, start_ms)
        return None
