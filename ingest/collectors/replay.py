"""Turns a recording into telemetry frames, row by row.

The module takes plain lists by column name from the code that opened the file. It knows no file and
no Arrow. It yields frames as fast as the caller requests them. The rule to remember: a wrong row
ends the replay, and the error gives column and row. Nothing is repaired in silence.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from ingest.codec.blanking import blank_fields, plausible_frame
from ingest.errors import ReplayError
from ingest.telemetry_pb2 import TelemetryFrame

TIMESTAMP = "timestamp_ms"
#: The columns that every recording has, and the field of the frame that each becomes. The frame
#: marks a missing (None) or impossible value as unknown. A time must be there.
REQUIRED = {
    TIMESTAMP: "timestamp",
    "lap_time_ms": "lap_time",
    "throttle": "throttle",
    "brake": "brake",
    "steering": "steering",
    "speed_kmh": "speed",
    "gear": "gear",
    "rpm": "rpm",
    "normalized_position": "normalized_position",
    "lap_number": "lap_number",
}
#: The optional columns; a missing value there is zero on the wire.
OPTIONAL = {
    "x_m": "x",
    "y_m": "y",
    "z_m": "z",
    "heading_rad": "heading",
    "last_lap_time_ms": "last_lap_time",
    "sector": "sector",
    "pit": "pit",
    "validity": "validity",
}

Columns = Mapping[str, Sequence[Any]]


def replay(
    batches: Iterable[Columns], *, first_timestamp_ms: int | None = None
) -> Iterator[TelemetryFrame]:
    """Yield the frames of a recording from its rows in batches (column name to values).

    ``first_timestamp_ms`` moves the whole session in time so that it begins there. None keeps the
    times at which it was driven. Raises ReplayError, with the row counted from 0 over all batches.
    """
    first_row, shift_ms, last_ms = 0, 0, None
    for batch in batches:
        columns = _columns(batch, first_row)
        times = columns[TIMESTAMP]
        if first_row == 0 and times and first_timestamp_ms is not None:
            shift_ms = first_timestamp_ms - times[0]
        _check_order(last_ms, times, first_row)
        for frame in _frames(columns, first_row):
            frame.timestamp += shift_ms
            yield frame
        first_row += len(times)
        last_ms = times[-1] if times else last_ms


def _columns(batch: Columns, first_row: int) -> dict[str, Sequence[Any]]:
    """Return the known columns, and check that all are as long as the first and that all times are
    finite numbers.
    """
    for name in REQUIRED:
        if name not in batch:
            raise ReplayError(name, None, "is missing")
    rows = len(batch[TIMESTAMP])
    known = {name: batch[name] for name in (*REQUIRED, *OPTIONAL) if name in batch}
    for name, values in known.items():
        if len(values) != rows:
            raise ReplayError(name, None, f"has {len(values)} rows where {TIMESTAMP} has {rows}")
    for row, time_ms in enumerate(known[TIMESTAMP], first_row):
        if not isinstance(time_ms, int | float) or not isfinite(time_ms):
            raise ReplayError(TIMESTAMP, row, f"{time_ms!r} is not a finite number")
    return known


def _check_order(last_ms: int | None, times: Sequence[int], first_row: int) -> None:
    for row, time_ms in enumerate(times, first_row):
        if last_ms is not None and time_ms <= last_ms:
            raise ReplayError(TIMESTAMP, row, f"{time_ms} is not after {last_ms}")
        last_ms = time_ms


def _frames(columns: Mapping[str, Sequence[Any]], first_row: int) -> Iterator[TelemetryFrame]:
    names = [(REQUIRED | OPTIONAL)[name] for name in columns]
    required = {*REQUIRED.values()}
    for row, values in enumerate(zip(*columns.values(), strict=True), first_row):
        named = zip(names, values, strict=True)
        known = {name: value for name, value in named if value is not None}
        try:
            frame = plausible_frame(known)
        except (TypeError, ValueError):
            raise _blame(columns, values, row) from None
        if None in values:
            blank_fields(frame, required - known.keys())
        yield frame


def _blame(columns: Iterable[str], values: Iterable[Any], row: int) -> ReplayError:
    """Build the error for the first value that does not fit: a fraction of a gear, a number beyond
    32 bits.
    """
    for name, value in zip(columns, values, strict=True):
        field = (REQUIRED | OPTIONAL)[name]
        try:
            plausible_frame({} if value is None else {field: value})
        except (TypeError, ValueError) as refused:
            return ReplayError(name, row, f"{value!r} does not fit: {refused}")
    return ReplayError(TIMESTAMP, row, "does not make a frame")
