"""Keeps the set of a session's stored sequences.

A SequenceSet is a set of integers kept as ranges, because a session's sequences arrive almost in
order. The set of an undisturbed session is one range. It uses no SQL, but reads and writes
PostgreSQL's int8multirange. Sequences count from 1. `decode` refuses any from 2**53 on, and this
set itself is right up to 2**62.
"""

import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Sequences = npt.NDArray[np.int64]

_RANGE = re.compile(r"\[(-?\d+),(-?\d+)\)")
_MULTIRANGE = re.compile(rf"\{{(?:{_RANGE.pattern}(?:,{_RANGE.pattern})*)?\}}")


class SequenceSet:
    """A set of integers.

    ``ranges`` are half-open ``(start, end)`` pairs; they may overlap and come in any order.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        pairs = np.array(
            [(start, end) for start, end in ranges if start < end], dtype=np.int64
        ).reshape(-1, 2)
        self._starts, self._ends = _merged(pairs[:, 0], pairs[:, 1])

    @classmethod
    def from_multirange(cls, text: str) -> "SequenceSet":
        """Return the set that PostgreSQL prints as ``{[1,501),[600,601)}``.

        Raises ValueError for any other form.
        """
        if not _MULTIRANGE.fullmatch(text):
            raise ValueError(f"multirange: expected ranges like {{[1,501)}}, got {text[:80]!r}")
        return cls((int(start), int(end)) for start, end in _RANGE.findall(text))

    def to_multirange(self) -> str:
        """Return the set as PostgreSQL prints an int8multirange."""
        return "{" + ",".join(f"[{start},{end})" for start, end in self.ranges) + "}"

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Return half-open ranges, ascending, none touching the next."""
        return list(zip(self._starts.tolist(), self._ends.tolist(), strict=True))

    @property
    def highest(self) -> int:
        """Return the highest sequence in the set, 0 if the set is empty."""
        return int(self._ends[-1]) - 1 if len(self._ends) else 0

    def __len__(self) -> int:
        return int((self._ends - self._starts).sum())

    def __contains__(self, sequence: int) -> bool:
        return bool(self._holds(np.array([sequence], dtype=np.int64))[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SequenceSet) and self.ranges == other.ranges

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SequenceSet({self.to_multirange()})"

    def unseen(self, sequences: Sequences) -> npt.NDArray[np.bool_]:
        """Return the mask of the new sequences.

        Only the first of a repeated sequence is new.
        """
        if _ascending(sequences):
            if not len(sequences) or not len(self._ends) or sequences[0] >= self._ends[-1]:
                return np.ones(len(sequences), dtype=np.bool_)
            return ~self._holds(sequences)
        first = np.zeros(len(sequences), dtype=np.bool_)
        first[np.unique(sequences, return_index=True)[1]] = True
        return first & ~self._holds(sequences)

    def extend(self, last: int) -> None:
        """Put every sequence after the highest one up to ``last`` into the set."""
        if len(self._ends):
            self._ends[-1] = last + 1
        else:
            self._starts, self._ends = (
                np.array([1], dtype=np.int64),
                np.array([last + 1], dtype=np.int64),
            )

    def add(self, sequences: Sequences) -> None:
        """Put these sequences into the set, in any order and any number of times."""
        if not len(sequences):
            return
        starts, ends = _runs(sequences if _ascending(sequences) else np.unique(sequences))
        self._starts, self._ends = _merged(
            np.concatenate((self._starts, starts)), np.concatenate((self._ends, ends))
        )

    def holes(self) -> list[tuple[int, int]]:
        """Return the gaps below the highest sequence, from 1 on, as ``(first, last)`` with both
        included.
        """
        starts = np.concatenate(([1], self._ends[:-1])) if len(self._ends) else self._ends
        missing = [(a, b - 1) for a, b in zip(starts.tolist(), self._starts.tolist(), strict=True)]
        return [(first, last) for first, last in missing if first <= last]

    def _holds(self, sequences: Sequences) -> npt.NDArray[np.bool_]:
        if not len(self._ends):
            return np.zeros(len(sequences), dtype=np.bool_)
        place = np.searchsorted(self._starts, sequences, side="right") - 1
        inside: npt.NDArray[np.bool_] = (place >= 0) & (sequences < self._ends[place])
        return inside


def _ascending(sequences: Sequences) -> bool:
    return bool((sequences[1:] > sequences[:-1]).all())


def _runs(ascending: Sequences) -> tuple[Sequences, Sequences]:
    """Return runs of consecutive numbers as half-open ranges."""
    breaks = np.flatnonzero(np.diff(ascending) > 1)
    starts = ascending[np.concatenate(([0], breaks + 1))]
    ends = ascending[np.concatenate((breaks, [len(ascending) - 1]))] + 1
    return starts, ends


def _merged(starts: Sequences, ends: Sequences) -> tuple[Sequences, Sequences]:
    """Return the same numbers as ranges that are sorted and do not touch."""
    if len(starts) < 2:
        return starts, ends
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    apart = starts[1:] > reach[:-1]
    return starts[np.concatenate(([True], apart))], reach[np.concatenate((apart, [True]))]
