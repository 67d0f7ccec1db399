"""Reads recorded sessions: a Parquet, Arrow or CSV file of frames, with the session's facts in a
JSON file beside it.

The JSON file has the same name. The module opens, checks and returns recordings; it knows no broker
and no database. Rule: a recording from `open_recording` is fit to be replayed. Every frame is later
than the one before, and an absent or impossible value is NULL. Everything else is a
`RecordingError` that names file, column and row.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analytics.errors import RecordingError
from analytics.files.table_files import read_arrow, read_csv, read_parquet, unnamed_index
from analytics.model.channels import CHANNELS, FRAMES, Channel
from analytics.model.sample_rate import mean_rate_hz

#: Columns of a recording whose name differs from the channel's. Optional channels may be there too,
#: under their own names.
_NAMES = {"lap_clock_ms": "lap_time_ms"}
_TIME = "timestamp_ms"
_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".csv": read_csv,
}
#: The suffixes of a recording's file.
SUFFIXES = frozenset(_READERS)
# The range of a calendar, with a day to spare at either end for time zones east and west of it.
_FIRST_MS, _LAST_MS = -62_135_510_400_000, 253_402_214_400_000
_SHORTEST_TRACK_M, _LONGEST_TRACK_M = 100.0, 1_000_000.0


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded session. Unknown facts are empty or None.

    ``blanked`` counts by channel the values that no car can have sent; they are NULL.
    """

    path: Path
    table: pa.Table
    game: str
    track: str
    car: str
    driver: str
    track_length_m: float | None
    sample_rate_hz: float | None
    blanked: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def started_at_ms(self) -> int:
        """Return the time of the first frame, in ms since the Unix epoch."""
        return int(self.table.column(_TIME)[0].as_py())

    @property
    def duration_s(self) -> float:
        """Return the time from the first frame to the last, in s."""
        return (int(self.table.column(_TIME)[-1].as_py()) - self.started_at_ms) / 1000

    def columns(self, *, rows: int = 4096) -> Iterator[dict[str, list[Any]]]:
        """Yield the frames as lists of at most ``rows``, by the file's column names; needs no
        Arrow.
        """
        for batch in self.table.to_batches(max_chunksize=rows):
            yield batch.to_pydict()

    def frames(self, *, session_id: int = 0) -> pa.Table:
        """Return the frames in the columns of `channels.FRAMES`, without sequences."""
        count = len(self)
        # The conversion starts from int64. An Arrow cast from ms to µs that does not fit raises,
        # while a product would wrap.
        time_ms = self.table.column(_TIME).cast(pa.timestamp("ms", tz="UTC"))
        time = time_ms.cast(FRAMES.field("time").type)
        known = {"time": time, "session_id": pa.array(np.full(count, session_id, np.int32))}
        for channel in CHANNELS:
            if _name(channel) in self.table.column_names:
                known[channel.name] = self.table.column(_name(channel))
        columns = [known[f.name] if f.name in known else pa.nulls(count, f.type) for f in FRAMES]
        return pa.table(columns, schema=FRAMES)


def recordings_at(path: Path) -> list[Path]:
    """List the recordings in a folder, by name, or the one that ``path`` is; none is opened."""
    if not path.is_dir():
        return [path]
    return sorted(
        file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()
    )


def open_recording(path: Path) -> Recording:
    """Read and check a ``.parquet``, ``.arrow`` or ``.csv`` file. Raises RecordingError."""
    table, blanked = _checked(path, _read(path))
    facts = facts_in(path.with_suffix(".json"))
    return Recording(
        path=path,
        table=table,
        **{name: _text(facts, name) for name in ("game", "track", "car", "driver")},
        track_length_m=_track_length_m(path.with_suffix(".json"), facts),
        sample_rate_hz=_number(facts.get("sampling"), "median_hz") or _rate_hz(table),
        blanked=blanked,
    )


def as_recorded(frames: pa.Table) -> pa.Table:
    """Return frames as a recording stores them, without channels that have no value.

    ``frames`` has the columns of `analytics.model.channels.FRAMES`. Times are whole ms, as games
    give them.
    """
    time_ms = frames.column("time").cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64())
    sent = [
        channel for channel in CHANNELS if frames.column(channel.name).null_count < frames.num_rows
    ]
    return pa.table(
        {_TIME: time_ms} | {_name(channel): frames.column(channel.name) for channel in sent}
    )


def _name(channel: Channel) -> str:
    return _NAMES.get(channel.name, channel.name)


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise RecordingError(
            path, "there is no such file; give the path of a .parquet, .arrow or .csv recording"
        )
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise RecordingError(path, "is none of .parquet, .arrow and .csv; export it as one of them")
    try:
        return read(path)
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as exc:
        raise RecordingError(path, f"cannot be read ({exc}); record or export it again") from exc


def _checked(path: Path, table: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    if not table.num_rows:
        raise RecordingError(path, "has no frames; record or export it again")
    _check_index(path, table)
    time = _times(path, _with_whole_ms(table))
    _check_order(path, time)
    _check_calendar(path, time)
    columns = {_TIME: time}
    blanked: dict[str, int] = {}
    for channel in CHANNELS:
        name = _name(channel)
        if channel.optional and name not in table.column_names:
            continue
        columns[name], implausible = _column(path, table, name, channel)
        if implausible == table.num_rows:
            problem = (
                f"has no value within {channel.low:g}..{channel.high:g} {channel.unit}".rstrip()
            )
            raise RecordingError(path, f"{problem}; check the unit of the export", column=name)
        if implausible:
            blanked[channel.name] = implausible
    return pa.table(columns), blanked


def _check_index(path: Path, table: pa.Table) -> None:
    """Refuse frames that pandas indexed by time without a name for the index."""
    index = unnamed_index(table)
    if index and _TIME not in table.column_names:
        problem = (
            f"is missing; the index, stored as {index}, has no name: name it {_TIME} if that is the"
            " time in ms"
        )
        raise RecordingError(path, problem, column=_TIME)


def _with_whole_ms(table: pa.Table) -> pa.Table:
    """Convert times of a known zone to ms since 1970; they need no unit."""
    place = table.schema.get_field_index(_TIME)
    if (
        place < 0
        or not pa.types.is_timestamp(table.schema.field(place).type)
        or not table.schema.field(place).type.tz
    ):
        return table
    instants = table.column(place).cast(pa.timestamp("ms", tz="UTC"), safe=False)
    return table.set_column(place, _TIME, instants.cast(pa.int64()))


def _times(path: Path, table: pa.Table) -> pa.ChunkedArray:
    column = _numbers(path, table, _TIME, pa.int64())
    _check_complete(path, column)
    return _cast(path, _TIME, column, pa.int64())


def _column(
    path: Path, table: pa.Table, name: str, channel: Channel
) -> tuple[pa.ChunkedArray, int]:
    """Return a channel, NULL where it is unknown, and the number of its values that no car can have
    sent.
    """
    column = _numbers(path, table, name, channel.arrow)
    if column.type == pa.null():
        return column.cast(channel.arrow), 0
    if pa.types.is_floating(column.type):
        # pandas writes NaN for a missing value; it does not count as implausible.
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    # The check comes before the cast. The cast refuses a number beyond the type, and with it the
    # file.
    column, implausible = _blanked(channel, column)
    return _cast(path, name, column, channel.arrow), implausible


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == pa.null())


def _numbers(path: Path, table: pa.Table, name: str, wanted: pa.DataType) -> pa.ChunkedArray:
    if table.column_names.count(name) != 1:
        problem = "appears more than once" if name in table.column_names else "is missing"
        raise RecordingError(path, f"{problem}; export the file with exactly one", column=name)
    column = table.column(name)
    if not _is_numeric(column.type):
        row = _first_not_a_number(column)
        found = f"is {column.type}" if row is None else f"{column[row - 1].as_py()!r} is no number"
        raise RecordingError(
            path, f"{found}, expected {wanted}; write plain numbers", column=name, row=row
        )
    return column


def _cast(path: Path, name: str, column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(wanted)
    except pa.ArrowInvalid as exc:
        raise RecordingError(
            path, f"does not fit {wanted} ({exc}); correct the export", column=name
        ) from exc


def _first_not_a_number(column: pa.ChunkedArray) -> int | None:
    """Return the row of the first cell that is not a number: one such cell turns a CSV column into
    text.
    """
    if not pa.types.is_string(column.type):
        return None
    number = pc.match_substring_regex(column, r"^\s*-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$")
    return _first(pc.invert(number.fill_null(False)))


def _check_complete(path: Path, time: pa.ChunkedArray) -> None:
    row = _first(pc.is_null(time, nan_is_null=True))
    if row is not None:
        raise RecordingError(
            path, "has no value; leave the frame out or fill the value in", column=_TIME, row=row
        )


def _check_order(path: Path, time: pa.ChunkedArray) -> None:
    values = time.to_numpy()
    back = np.flatnonzero(np.diff(values) <= 0)
    if len(back):
        row = int(back[0]) + 2
        problem = (
            f"{values[row - 1]} is not later than {values[row - 2]}; sort the frames by time and"
            " drop doubles"
        )
        raise RecordingError(path, problem, column=_TIME, row=row)


def _check_calendar(path: Path, time: pa.ChunkedArray) -> None:
    """Refuse times outside the calendar; times in order have their extremes at the ends."""
    for row in (1, len(time)):
        value = time[row - 1].as_py()
        if not _FIRST_MS <= value <= _LAST_MS:
            problem = f"{value} is no time in ms since 1970; check the unit of the export"
            raise RecordingError(path, problem, column=_TIME, row=row)


def _blanked(channel: Channel, column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    """Return the column without the values that no car can have sent, and the number of these
    values.
    """
    values = column.cast(pa.float64(), safe=False)
    plausible = pc.and_(pc.greater_equal(values, channel.low), pc.less_equal(values, channel.high))
    implausible = pc.sum(pc.invert(plausible)).as_py() or 0
    if not implausible:
        return column, 0
    return pc.if_else(plausible, column, pa.scalar(None, column.type)), implausible


def _first(mask: pa.ChunkedArray) -> int | None:
    """Return the row, counted from 1, of the first true value."""
    index = pc.index(mask, True).as_py()
    return None if index < 0 else index + 1


def _rate_hz(table: pa.Table) -> float | None:
    rate_hz = mean_rate_hz(table.column(_TIME).to_numpy(), per_second=1000)
    return round(rate_hz, 2) if rate_hz else None


def facts_in(path: Path) -> dict[str, Any]:
    """Return the facts in the JSON file of a recording; empty where there is no file. Raises
    RecordingError.
    """
    if not path.is_file():
        return {}
    try:
        # JSON has whole numbers that no float holds; they become infinite. The parser reads bytes:
        # UTF-8 with or without a byte order mark, or UTF-16, as an editor saves them.
        facts = json.loads(path.read_bytes(), parse_int=float)
    except ValueError as exc:
        raise RecordingError(path, f"is not JSON ({exc}); correct it or take it away") from exc
    if not isinstance(facts, dict):
        raise RecordingError(path, "is not a JSON object; correct it or take it away")
    return facts


def _text(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name)
    return value if isinstance(value, str) else ""


def _track_length_m(path: Path, facts: dict[str, Any]) -> float | None:
    """Return the track length; None where the file has none, or 0. Raises RecordingError for an
    impossible one.
    """
    length_m = _number(facts, "track_length_m")
    if not length_m:
        return None
    if not _SHORTEST_TRACK_M <= length_m <= _LONGEST_TRACK_M:
        raise RecordingError(
            path, f"track_length_m {length_m:g} is no track's; write metres, or take it away"
        )
    return length_m


def _number(facts: object, name: str) -> float | None:
    value = facts.get(name) if isinstance(facts, dict) else None
    return value if isinstance(value, float) else None
