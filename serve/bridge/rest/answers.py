"""Builds the answers of REST from what the store has; FastAPI writes their types into OpenAPI."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import (
    Annotated,
    Any,
    NotRequired,  # pydantic refuses typing's before 3.12
)

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict, Field, PlainSerializer
from typing_extensions import TypedDict

from analytics.laps.best_laps import Colours
from analytics.model.lap import Lap
from analytics.model.session import SessionInfo
from analytics.model.summary import LapSummary

#: The columns that a comparison of laps draws.
TRACE = (
    "normalized_position",
    "lap_clock_ms",
    "speed_kmh",
    "throttle",
    "brake",
    "steering",
    "gear",
    "rpm",
    "x_m",
    "z_m",
)

#: An instant in whole seconds, UTC.
INSTANT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class SessionRow(SessionInfo):
    """A stored session, whether its frames arrive at the moment, and whether the caller may change
    it.
    """

    live: bool = field(kw_only=True)
    may_change: bool = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, newest first.

    ``older`` is the ``before`` of the next page, None on the last one.
    """

    sessions: list[SessionRow]
    older: int | None


class Health(TypedDict):
    """The state of broker and store. With logins there is the status alone."""

    status: str
    brokerReachable: NotRequired[bool]
    storeReachable: NotRequired[bool]
    partitions: NotRequired[int]


class SessionStatistics(TypedDict):
    """The frames of a session, and when the last one came, in ms since 1970."""

    count: int
    lastSeen: int


class KafkaStatistics(TypedDict):
    """Counts of the records that a replica has received from Kafka.

    Foreign records claimed a session of another user, and were shown to nobody.
    """

    messagesReceived: int
    recordsForeign: int
    valuesBlanked: dict[str, int]
    sessionStats: dict[str, SessionStatistics]


class ReplicaStatistics(TypedDict):
    """The counts of a replica since it started."""

    clientsConnected: int
    messagesRelayed: int
    bytesRelayed: int
    kafkaStats: KafkaStatistics


def instant(time_us: int) -> datetime:
    """Return µs since the Unix epoch as an instant in UTC."""
    return datetime.fromtimestamp(time_us / 1e6, UTC)


_AsInstant = PlainSerializer(instant, return_type=datetime)


@dataclass(frozen=True, slots=True, kw_only=True)
class LapRow(Lap):
    """A finished lap with its colours; start and end are instants in JSON."""

    __pydantic_config__ = ConfigDict(json_schema_serialization_defaults_required=True)

    started_at_us: Annotated[int, _AsInstant, Field(serialization_alias="started_at")]
    ended_at_us: Annotated[int, _AsInstant, Field(serialization_alias="ended_at")]
    colour: str
    sector_colours: tuple[str, ...]
    colour_version: int


@dataclass(frozen=True, slots=True)
class LapList:
    """The finished laps of a session, and the number and start of the lap in progress."""

    laps: list[LapRow]
    open_lap: int | None
    open_lap_started_at: datetime | None


@dataclass(frozen=True, slots=True)
class LapSummaries:
    """Sums of a session's laps."""

    session: str
    laps: list[LapSummary]


def session_row(session: SessionInfo, *, live: bool, may_change: bool) -> SessionRow:
    """Return a session as a row of an answer."""
    return SessionRow(**asdict(session), live=live, may_change=may_change)


def lap_row(lap: Lap, colours: Colours) -> LapRow:
    """Return a lap and its colours as a row of an answer."""
    return LapRow(
        **asdict(lap),
        colour=colours.lap,
        sector_colours=colours.sectors,
        colour_version=colours.version,
    )


def trace(frames: pa.Table) -> dict[str, list[Any]]:
    """Return the columns of `TRACE` as lists of the same length."""
    # A frame that does not know where the car is has no place in a comparison.
    known = frames.filter(
        pc.and_(frames["normalized_position"].is_valid(), frames["lap_clock_ms"].is_valid())
    )
    return {name: known.column(name).to_pylist() for name in TRACE}


def summed(seconds: pa.Table) -> dict[str, list[Any]]:
    """Return the columns of seconds as JSON: instants as text, numbers to a thousandth, which no
    pixel shows.
    """
    columns = {name: seconds.column(name) for name in seconds.column_names if name != "second"}
    floats = {name for name, column in columns.items() if pa.types.is_floating(column.type)}
    rounded = {
        name: pc.round(column.cast(pa.float64()), 3) if name in floats else column
        for name, column in columns.items()
    }
    second = pc.strftime(seconds.column("second").cast(pa.timestamp("s", tz="UTC")), format=INSTANT)
    return {"second": second.to_pylist()} | {
        name: column.to_pylist() for name, column in rounded.items()
    }
