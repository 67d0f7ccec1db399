"""Which frames can have been driven: ranges of channels, times, and frames that say nothing.

Protobuf finds almost no poison: an empty value, and one of quite another kind, are often valid messages full of zeros.
These checks see columns and give, for each frame that is absurd, its row and the reason. The limits are those of
`analytics.channels`. Almost always nothing is absurd, so a column is first asked only for its extremes.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from analytics.channels import CHANNELS, Channel
from ingest.instants import EARLIEST_MS, LATEST_MS, time_fault

#: JSON viewers hold a number exactly only below this.
SEQUENCE_END = 2**53

Columns = Mapping[str, npt.NDArray[Any]]
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def absurdities(columns: Columns) -> Iterator[tuple[int, str]]:
    """(row, reason) of the frames that cannot be: by wire field, the weightiest reason of a row first."""
    yield from _nothing_set(columns)
    yield from _impossible_times(columns["timestamp"])
    yield from _impossible_sequences(columns["sequence"])
    for channel in CHANNELS:
        yield from _out_of_range(channel, columns[channel.wire])


def _nothing_set(columns: Columns) -> Iterator[tuple[int, str]]:
    # Almost every moving car has a lap number and a sequence: only the rows without are worth a look at the rest.
    rows = np.flatnonzero((columns["lap_number"] == 0) & (columns["sequence"] == 0))
    if not len(rows):
        return
    said = [columns[name][rows] != 0 for name in columns if name != "timestamp"]
    for row in rows[~np.logical_or.reduce(said)].tolist():
        nothing = columns["timestamp"][row] == 0
        yield row, "empty: no known field is set" if nothing else "empty: nothing but a timestamp"


def _impossible_times(times_ms: npt.NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    for row in _outside(times_ms, EARLIEST_MS, LATEST_MS - 1):
        # A clock may be wrong: `ingest.clocks` replaces such times.
        if fault := time_fault(int(times_ms[row])):
            yield row, fault


def _impossible_sequences(sequences: npt.NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    for row in _outside(sequences, 0, SEQUENCE_END - 1):
        yield row, f"value: sequence={sequences[row]} is outside 1..2^53"


def _out_of_range(channel: Channel, values: npt.NDArray[Any]) -> Iterator[tuple[int, str]]:
    low, high = _limits(channel, values.dtype)
    for row in _outside(values, low, high):
        value = values[row].item()
        if not np.isfinite(value):
            yield row, f"value: {channel.name}={value} is not finite"
        else:
            yield row, f"value: {channel.name}={_short(value)} is outside {_bounds(channel)}"


def _limits(channel: Channel, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Bounds that hold also where the channel names none: then its stored type's."""
    if dtype.kind == "f":
        least, most = -_FLOAT32_MAX, _FLOAT32_MAX
    else:
        stored = np.iinfo(channel.arrow.to_pandas_dtype())
        least, most = int(stored.min), int(stored.max)
    return (least if channel.low is None else channel.low), (most if channel.high is None else channel.high)


def _bounds(channel: Channel) -> str:
    return "..".join("" if limit is None else _short(limit) for limit in (channel.low, channel.high))


def _short(number: float) -> str:
    return str(int(number)) if float(number).is_integer() and abs(number) < SEQUENCE_END else f"{number:g}"


def _outside(values: npt.NDArray[Any], low: float, high: float) -> list[int]:
    # A NaN makes both extremes NaN, and every comparison with it false.
    if not len(values) or (values.min() >= low and values.max() <= high):
        return []
    rows: list[int] = np.flatnonzero(~((values >= low) & (values <= high))).tolist()
    return rows
