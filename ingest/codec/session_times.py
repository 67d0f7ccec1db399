"""Places frames whose clock may be wrong, frame by frame, for the store and for the live path.

The first frame of a session with an impossible time gets the broker's time of receipt. The frames
after it keep their spacing. Where the collector showed that its clock is behind, the frame is
placed later by that difference. It may have waited on a disk for the broker.

Where a clock jumps, the frame follows the one before it by the usual step. Where the broker saw a
pause, the frame follows after that pause. A frame whose sequence goes on is never placed more than
`BACK_MS` before the one that it follows. Pure: the broker's time is an argument.
"""

from bisect import bisect_right
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

_USUAL_STEP_MS = 16
_LONGEST_STEP_MS = 1000


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
    """The known times of a session: its latest frame, the broker's time of that frame, and the
    corrections.
    """

    latest_ms: int | None = None
    appended_ms: int | None = None
    starts: list[int] = field(default_factory=list)  # sequences, ascending
    offsets: list[int] = field(default_factory=list)  # one for each start, ms
    behind_ms: int = (
        0  # how far its collector's clock is behind the broker's, where more than `BEHIND_MS`
    )

    def offset_at(self, sequence: int) -> int:
        """Return the correction that is added to the time of this frame, ms."""
        place = bisect_right(self.starts, sequence)
        return self.offsets[place - 1] if place else 0

    def correct(self, from_sequence: int, offset_ms: int) -> None:
        """Add a correction that holds from ``from_sequence`` on, not before the last one."""
        if self.starts and self.starts[-1] == from_sequence:
            self.offsets[-1] = offset_ms
        else:
            self.starts.append(from_sequence)
            self.offsets.append(offset_ms)


class Placing:
    """Places one session's frames, one after the other.

    ``highest`` is the highest sequence that has arrived.
    """

    def __init__(
        self,
        times: SessionTimes,
        session_id: int = 0,
        *,
        highest: int = 0,
        start_ms: int | None = None,
    ) -> None:
        self.corrections: list[Correction] = []
        self._session_id, self._times = session_id, times
        self._highest, self._start_ms = highest, start_ms
        self.latest_ms, self._appended_ms = times.latest_ms, times.appended_ms
        self._step_ms = _USUAL_STEP_MS

    def learn_behind(self, behind_ms: int) -> None:
        """Note how far the clock of the session's collector is behind."""
        self._times.behind_ms = behind_ms

    @property
    def offset_at_start_ms(self) -> int:
        """Return the correction from the session's start on; 0 where its clock was right then."""
        return self._times.offset_at(0)

    def place(self, sequence: int, raw_ms: int, appended_ms: int) -> tuple[int, str | None]:
        """Return the frame's place in time, ms, and why it cannot be placed, or None.

        ``raw_ms`` is the frame's own time, ``appended_ms`` the broker's time of receipt.
        """
        if sequence and sequence <= self._highest:
            return self._place_late(sequence, raw_ms, appended_ms)
        return self._place_next(sequence, raw_ms, appended_ms)

    def _place_late(self, sequence: int, raw_ms: int, appended_ms: int) -> tuple[int, str | None]:
        """Place late data: a frame that frames of a higher sequence have overtaken.

        The frame gets its own correction, or else the first correction that gives a possible time.
        """
        first_fault = None
        for offset_ms in (self._times.offset_at(sequence), *self._times.offsets):
            fault = self._impossible(raw_ms + offset_ms, appended_ms)
            if fault is None:
                return raw_ms + offset_ms, None
            first_fault = first_fault or fault
        return raw_ms, first_fault

    def _place_next(self, sequence: int, raw_ms: int, appended_ms: int) -> tuple[int, str | None]:
        missing = sequence - self._highest if sequence and self._highest else 1
        placed_ms = raw_ms + self._offset_ms(sequence, raw_ms, appended_ms)
        fault = self._next_fault(sequence, placed_ms, appended_ms)
        if fault:
            if len(self._times.starts) >= MOST_CORRECTIONS:
                # Times that only go back are stored unchanged: the laps are timed again with them.
                return placed_ms, self._impossible(placed_ms, appended_ms)
            placed_ms = self._following_ms(missing, raw_ms, appended_ms)
            self._correct(sequence, placed_ms - raw_ms, placed_ms, fault)
        elif self.latest_ms is not None and 0 < placed_ms - self.latest_ms <= _LONGEST_STEP_MS:
            self._step_ms = max(1, (placed_ms - self.latest_ms) // missing)
        self._highest = max(self._highest, sequence)
        self._start_ms = placed_ms if self._start_ms is None else self._start_ms
        self.latest_ms = placed_ms if self.latest_ms is None else max(self.latest_ms, placed_ms)
        self._appended_ms = appended_ms
        return placed_ms, None

    def _offset_ms(self, sequence: int, raw_ms: int, appended_ms: int) -> int:
        # A frame without a sequence shows nothing about its neighbours: a right time is kept
        # unchanged.
        if not sequence and abs(raw_ms - appended_ms) <= AHEAD_MS:
            return 0
        return self._times.offset_at(max(sequence, self._highest))

    def _following_ms(self, missing: int, raw_ms: int, appended_ms: int) -> int:
        """Return when a frame with a useless clock was driven: after the one before it."""
        if self.latest_ms is None:
            moved_ms = raw_ms + self._times.behind_ms
            return (
                moved_ms
                if self._times.behind_ms and not self._impossible(moved_ms, appended_ms)
                else appended_ms
            )
        step_ms = self._step_ms * missing
        waited_ms = appended_ms - (
            self._appended_ms if self._appended_ms is not None else appended_ms
        )
        # In a session under way the usual step is more reliable than the delays to the broker,
        # which vary. Only the broker has seen a pause.
        return self.latest_ms + (waited_ms if waited_ms > step_ms + _LONGEST_STEP_MS else step_ms)

    def _correct(self, sequence: int, offset_ms: int, placed_ms: int, reason: str) -> None:
        from_sequence = 0 if self.latest_ms is None else sequence
        self._times.correct(from_sequence, offset_ms)
        self.corrections.append(
            Correction(self._session_id, from_sequence, offset_ms, placed_ms, reason)
        )

    def _next_fault(self, sequence: int, time_ms: int, appended_ms: int) -> str | None:
        if self.latest_ms is None:
            corrected = not self._times.behind_ms or self._times.starts
            return (
                self._impossible(time_ms, appended_ms)
                if corrected
                else behind_fault(self._times.behind_ms)
            )
        if sequence and time_ms < self.latest_ms - BACK_MS:
            return back_fault(time_ms, self.latest_ms)
        return self._impossible(time_ms, appended_ms, jumped=time_ms - self.latest_ms > AHEAD_MS)

    def _impossible(self, time_ms: int, appended_ms: int, *, jumped: bool = True) -> str | None:
        if fault := date_fault(time_ms):
            return fault
        if time_ms > appended_ms + (AHEAD_MS if jumped else DRIFTED_AHEAD_MS):
            return ahead_fault(time_ms, appended_ms)
        if self._start_ms is not None and time_ms < self._start_ms - BEFORE_START_MS:
            return before_start_fault(time_ms, self._start_ms)
        return None
