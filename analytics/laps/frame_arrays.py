"""Holds a stretch of frames as NumPy arrays, in driven order, for the lap engine.

A stretch has only the channels that the engine needs, with NULL as 0 or as the last known value.
The module knows no laps. Rule: the times of a stretch increase strictly, which `FrameArrays.after`
ensures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analytics.model.arrays import Integers, Mask, Reals

_WHOLE = (
    "time",
    "sequence",
    "lap_number",
    "lap_clock_ms",
    "last_lap_time_ms",
    "sector",
    "pit",
    "validity",
)
_REAL = ("normalized_position", "speed_kmh")

# Counters, clocks, positions and speeds. In the other columns, zero means unknown.
_HELD = frozenset({"lap_number", "lap_clock_ms", "normalized_position", "speed_kmh"})

#: The columns of frames that the lap engine reads.
COLUMNS = (*_WHOLE, *_REAL)


class FramePair(NamedTuple):
    """Two consecutive frames as Python numbers: a pair of values for each channel.

    For so few values, NumPy takes longer to start than to compute.
    """

    time: tuple[int, int]
    lap_clock_ms: tuple[int, int]
    speed_kmh: tuple[float, float]
    since_line: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class FrameArrays:
    """Frames as arrays with a row for each channel and a column for each frame.

    A batch of 15 frames therefore costs two array operations, not ten. ``time`` is in µs since the
    Unix epoch. ``since_line`` is the share of the lap from the line to the position, 0..1.
    """

    whole: Integers
    real: Reals

    def __len__(self) -> int:
        return int(self.whole.shape[1])

    @property
    def time(self) -> Integers:
        """Return the time of each frame, in µs since 1970."""
        return _row(self.whole, 0)

    @property
    def sequence(self) -> Integers:
        """Return the sequence of each frame."""
        return _row(self.whole, 1)

    @property
    def lap_number(self) -> Integers:
        """Return the game's lap number."""
        return _row(self.whole, 2)

    @property
    def lap_clock_ms(self) -> Integers:
        """Return the game's lap clock, in ms."""
        return _row(self.whole, 3)

    @property
    def last_lap_time_ms(self) -> Integers:
        """Return the game's time of the last lap, in ms."""
        return _row(self.whole, 4)

    @property
    def sector(self) -> Integers:
        """Return the game's sector."""
        return _row(self.whole, 5)

    @property
    def pit(self) -> Integers:
        """Return whether the car is in the pits."""
        return _row(self.whole, 6)

    @property
    def validity(self) -> Integers:
        """Return the game's judgement of the lap."""
        return _row(self.whole, 7)

    @property
    def normalized_position(self) -> Reals:
        """Return the position on the lap, 0 to 1."""
        return _row(self.real, 0)

    @property
    def speed_kmh(self) -> Reals:
        """Return the speed, in km/h."""
        return _row(self.real, 1)

    @property
    def since_line(self) -> Reals:
        """Return the share of the lap from the line to the position, 0 to 1."""
        return _row(self.real, 2)

    @classmethod
    def of(
        cls,
        frames: pa.Table,
        line: Reals | float = 0.0,
        before: Sequence[tuple[int, "FrameArrays | None"]] = ((0, None),),
    ) -> Self:
        """Return the frames of a table that has the columns of `analytics.model.channels.FRAMES`.

        ``line`` is the position of the line of each frame. ``before`` has the first row of each
        session, and the frames before it. Where a position or speed is unknown, it does not become
        0: the last known value holds.
        """
        whole = np.empty((len(_WHOLE), frames.num_rows), np.int64)
        real = np.empty((len(_REAL) + 1, frames.num_rows), np.float64)
        for names, rows in ((_WHOLE, whole), (_REAL, real[:2])):
            for name, row in zip(names, rows, strict=True):
                column = frames.column(name)
                _fill(row, column)
                if name in _HELD and column.null_count > 0:
                    _hold(row, name, column.is_valid().to_numpy(), before)
        # As ``% 1.0`` to the bit, at a fifth of its cost.
        np.subtract(real[0], line, out=real[2])
        real[2] -= np.floor(real[2])
        return cls(whole, real)

    def pair(self, i: int) -> FramePair:
        """Return frame ``i - 1`` and frame ``i``."""
        time, _, _, clock, *_ = self.whole[:, i - 1 : i + 1].tolist()
        _, speed, since_line = self.real[:, i - 1 : i + 1].tolist()
        return FramePair(time, clock, speed, since_line)

    def take(self, frames: slice | Mask) -> Self:
        """Return the frames of the slice or mask."""
        return type(self)(self.whole[:, frames], self.real[:, frames])

    @classmethod
    def joined(cls, blocks: Sequence["FrameArrays"]) -> Self:
        """Join stretches one after the other. They may be of several sessions."""
        return cls(np.hstack([s.whole for s in blocks]), np.hstack([s.real for s in blocks]))

    def after(self, time_us: int | None) -> Self:
        """Return the frames that are later than ``time_us`` and than every frame before them."""
        time = self.time
        if len(self) and (time_us is None or time[0] > time_us) and (time[1:] > time[:-1]).all():
            return self
        start = np.iinfo(np.int64).min if time_us is None else time_us
        latest = np.maximum.accumulate(np.concatenate([[start], time]))
        return self.take(time > latest[:-1])

    def recent(self, span_us: int, *, least: int = 1) -> Self:
        """Return the frames within ``span_us`` of the last one.

        These are at least ``least`` frames if there are so many.
        """
        # Do not use searchsorted: it releases the interpreter lock. A worker's other threads would
        # take the lock once for each session.
        first = min(
            int(np.count_nonzero(self.time < self.time[-1] - span_us)), max(len(self) - least, 0)
        )
        # Copy, because a view would keep the whole batch in memory until the session's next frame.
        return type(self)(self.whole[:, first:].copy(), self.real[:, first:].copy())


def _fill(row: Integers | Reals, column: pa.ChunkedArray) -> None:
    if column.null_count == len(column):
        row[:] = 0
        return
    first = 0
    # One chunk after the other: a chunked column as a whole would be copied once more.
    for chunk in (column.fill_null(0) if column.null_count else column).chunks:
        values = chunk.to_numpy()
        row[first : first + len(values)] = (
            values.view(np.int64) if values.dtype.kind == "M" else values
        )
        first += len(values)


def _hold(
    row: Integers | Reals, name: str, known: Mask, before: Sequence[tuple[int, FrameArrays | None]]
) -> None:
    ends = [start for start, _ in before[1:]] + [len(row)]
    for (start, earlier), end in zip(before, ends, strict=True):
        mine, values = known[start:end], row[start:end]
        if mine.all():
            continue
        first = (
            getattr(earlier, name)[-1]
            if earlier is not None and len(earlier)
            else next(iter(values[mine]), 0)
        )
        latest = np.maximum.accumulate(np.where(mine, np.arange(len(mine)), -1))
        row[start:end] = np.where(latest < 0, first, values[latest])


_Number = TypeVar("_Number", np.int64, np.float64)


def _row(rows: NDArray[_Number], index: int) -> NDArray[_Number]:
    row: NDArray[_Number] = rows[index]
    return row
