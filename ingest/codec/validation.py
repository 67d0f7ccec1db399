"""Checks which frames can have been driven, and which of their values are plausible.

Covers times, limits of channels, and empty frames. Protobuf detects almost no poison record. An
empty value, and a value of quite another kind, are often valid messages full of zeros. These checks
read columns and return the row and the reason for each absurd frame.

An implausible value makes no frame absurd: it is unknown, by the limits of
`analytics.model.limits`. Almost always every value is plausible, so each check first looks only at
a column's extremes.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from analytics.model.channels import Channel
from ingest.codec.blanking import SEQUENCE_END
from ingest.codec.timestamps import EARLIEST_MS, LATEST_MS, time_fault
from ingest.telemetry_pb2 import TelemetryFrame

Columns = Mapping[str, npt.NDArray[Any]]
_NUMBERS = {field.name: field.number for field in TelemetryFrame.DESCRIPTOR.fields}


def absurdities(columns: Columns) -> Iterator[tuple[int, str]]:
    """Yield (row, reason) of the absurd frames, by wire field; the weightiest reason of a row
    first.
    """
    yield from _nothing_set(columns)
    yield from _impossible_times(columns["timestamp"])
    yield from _impossible_sequences(columns["sequence"])


def unknown_values(channel: Channel, columns: Columns) -> tuple[npt.NDArray[np.bool_] | None, int]:
    """Return the mask of a channel's unknown values, None for none, and the count of implausible
    ones.
    """
    values = columns[channel.wire]
    rows = _outside(values, channel.low, channel.high)
    blanked, bit = columns["blanked"], np.uint32(_NUMBERS[channel.wire])
    unknown = (blanked >> bit) & 1 != 0 if blanked.any() else None
    if channel.optional and not values.all():
        unknown = (values == 0) if unknown is None else unknown | (values == 0)
    if rows:
        unknown = np.zeros(len(values), np.bool_) if unknown is None else unknown
        unknown[rows] = True
    return unknown, len(rows)


def _nothing_set(columns: Columns) -> Iterator[tuple[int, str]]:
    # Almost every moving car has a lap number and a sequence: only rows without them need a further
    # check.
    rows = np.flatnonzero((columns["lap_number"] == 0) & (columns["sequence"] == 0))
    if not len(rows):
        return
    sent = [columns[name][rows] != 0 for name in columns if name != "timestamp"]
    for row in rows[~np.logical_or.reduce(sent)].tolist():
        nothing = columns["timestamp"][row] == 0
        yield row, "empty: no known field is set" if nothing else "empty: nothing but a timestamp"


def _impossible_times(times_ms: npt.NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    for row in _outside(times_ms, EARLIEST_MS, LATEST_MS - 1):
        # A clock may be wrong: `ingest.batching.clock_corrections` replaces such times.
        if fault := time_fault(int(times_ms[row])):
            yield row, fault


def _impossible_sequences(sequences: npt.NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    for row in _outside(sequences, 0, SEQUENCE_END - 1):
        yield row, f"value: sequence={sequences[row]} is outside 1..2^53"


def _outside(values: npt.NDArray[Any], low: float, high: float) -> list[int]:
    # A NaN makes both extremes NaN, and every comparison with it false.
    if not len(values) or (values.min() >= low and values.max() <= high):
        return []
    rows: list[int] = np.flatnonzero(~((values >= low) & (values <= high))).tolist()
    return rows
