"""Lists the telemetry channels of a frame, once for all code.

The following derive from `CHANNELS`: the Arrow schema, the table's columns and the COPY column
list. So do the field names of the wire decoder and the table in the documentation.
`analytics.model.limits` holds the limits of their values. No other module lists the channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from analytics.errors import UnknownChannel
from analytics.model.limits import LIMITS

Interpolation = Literal["linear", "previous"]

_INTEGER, _REAL, _SMALL = pa.int32(), pa.float32(), pa.int16()
_SQL = {_INTEGER: "integer", _REAL: "real", _SMALL: "smallint"}


@dataclass(frozen=True, slots=True)
class Channel:
    """A column of telemetry.

    ``wire`` is the field of ``TelemetryFrame`` that carries it. A value outside ``low``..``high``
    (both included) is stored as NULL, and its frame is kept. Any channel may therefore be unknown.
    For an ``optional`` channel, zero on the wire means unknown, too.
    """

    name: str
    wire: str
    arrow: pa.DataType
    unit: str
    about: str
    interpolation: Interpolation = "linear"
    optional: bool = False

    @property
    def sql(self) -> str:
        """Return the column's type in SQL."""
        return _SQL[self.arrow]

    @property
    def low(self) -> float:
        """Return the lowest plausible value."""
        return LIMITS[self.wire].least

    @property
    def high(self) -> float:
        """Return the highest plausible value."""
        return LIMITS[self.wire].most


# Wide types come first, because PostgreSQL pads a row to the alignment of each column. The time of
# COPY grows with the width of the row.
CHANNELS: tuple[Channel, ...] = (
    Channel("lap_number", "lap_number", _INTEGER, "", "the lap being driven, from 1", "previous"),
    Channel(
        "lap_clock_ms", "lap_time", _INTEGER, "ms", "since the start of the lap, the game's clock"
    ),
    Channel(
        "normalized_position", "normalized_position", _REAL, "0..1", "along the track's spline"
    ),
    Channel("speed_kmh", "speed", _REAL, "km/h", "ground speed"),
    Channel("throttle", "throttle", _REAL, "0..1", "pedal"),
    Channel("brake", "brake", _REAL, "0..1", "pedal"),
    Channel("steering", "steering", _REAL, "-1..1", "of full lock, right positive"),
    Channel("rpm", "rpm", _INTEGER, "1/min", "engine speed, 0 where the game gives none"),
    Channel("x_m", "x", _REAL, "m", "world position, the game's axes", optional=True),
    Channel("y_m", "y", _REAL, "m", "world position, the game's axes", optional=True),
    Channel("z_m", "z", _REAL, "m", "world position, the game's axes", optional=True),
    Channel("heading_rad", "heading", _REAL, "rad", "in the ground plane", optional=True),
    Channel(
        "last_lap_time_ms",
        "last_lap_time",
        _INTEGER,
        "ms",
        "the game's official time of the lap before",
        "previous",
        optional=True,
    ),
    Channel("gear", "gear", _SMALL, "", "-1 reverse, 0 neutral, 1..", "previous"),
    Channel(
        "sector", "sector", _SMALL, "", "the sector being driven, from 1", "previous", optional=True
    ),
    Channel(
        "pit", "pit", _SMALL, "", "1 on track, 2 pit lane, 3 pit box", "previous", optional=True
    ),
    Channel(
        "validity",
        "validity",
        _SMALL,
        "",
        "of this lap: 1 valid, 2 invalid",
        "previous",
        optional=True,
    ),
)

#: Columns that identify a frame: its time, its session and its number in the session. They are
#: never interpolated.
TIME = pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False)
SEQUENCE = pa.field("sequence", pa.int64())
SESSION_ID = pa.field("session_id", pa.int32(), nullable=False)

#: Frames of one or several sessions, in driven order. `session_id` is the store's number of the
#: session.
FRAMES = pa.schema([TIME, SEQUENCE, SESSION_ID, *(pa.field(c.name, c.arrow) for c in CHANNELS)])

_SQL_OF_PLACE = {
    "time": "timestamptz NOT NULL",
    "sequence": "bigint",
    "session_id": "integer NOT NULL",
}


def column_definitions() -> list[str]:
    """Return the columns of table ``telemetry`` as SQL, in the order of `FRAMES`."""
    by_name = {c.name: c for c in CHANNELS}
    return [
        f"{name} {_SQL_OF_PLACE[name] if name in _SQL_OF_PLACE else by_name[name].sql}"
        for name in FRAMES.names
    ]


def schema_of(columns: Sequence[str]) -> pa.Schema:
    """Return the given columns of FRAMES, in the given order. Raises UnknownChannel."""
    for name in columns:
        if name not in FRAMES.names:
            raise UnknownChannel(name, FRAMES.names)
    return pa.schema([FRAMES.field(name) for name in columns])
