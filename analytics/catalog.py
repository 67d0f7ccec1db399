"""Selects sessions and laps in a notebook, and reads their telemetry as Arrow tables.

`analytics.connect` and `analytics.open` return a `Catalog`; the rest follows from it. A selection
is a value: each step makes another one, and nothing is read before it is iterated. Rule: only the
requested columns and laps leave the store, one lap at a time.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

import pyarrow as pa

from analytics.errors import NoLap, NoSession
from analytics.files.export import export
from analytics.model.channels import FRAMES, schema_of
from analytics.model.lap import Lap
from analytics.model.lap_filter import EVERYTHING, LapFilter, SessionLap
from analytics.model.session import SessionInfo
from analytics.model.tabular import Tabular

#: The longest time that a followed session takes to show a new frame.
EVERY_S = 0.1


class FrameFeed(Protocol):
    """New frames of a session since the last poll."""

    def poll(self) -> pa.Table:
        """Return the new frames in order of time; late data comes before the others."""


class Source(Protocol):
    """Place that keeps sessions: the store, or files."""

    def sessions(self, wanted: LapFilter) -> list[SessionInfo]:
        """Return the sessions that the filter passes."""

    def laps(self, wanted: LapFilter) -> list[SessionLap]:
        """Return the laps that the filter passes, with their sessions."""

    def lap_frames(self, session: SessionInfo, lap_number: int, columns: Sequence[str]) -> pa.Table:
        """Return the frames of one lap, in these columns."""

    def frames(self, session: SessionInfo, columns: Sequence[str]) -> pa.Table:
        """Return all frames of a session, in these columns."""

    def feed(self, session: SessionInfo, columns: Sequence[str]) -> FrameFeed:
        """Return a feed of the frames that are new in a session."""

    def close(self) -> None:
        """Release what the source holds open."""


@dataclass(frozen=True, slots=True)
class TimedLap(Tabular):
    """A finished lap with its session and access to its frames. As a table, it is all of its
    frames.
    """

    session: SessionInfo
    lap: Lap
    source: Source = field(repr=False)

    def __str__(self) -> str:
        return (
            f"{self.session.driver or self.session.key}, lap {self.lap.lap_number},"
            f" {lap_time(self.time_ms)}"
        )

    @property
    def number(self) -> int:
        """Return the number of the lap."""
        return self.lap.lap_number

    @property
    def time_ms(self) -> int | None:
        """Return the game's official time where there is one, else ours."""
        return self.lap.time_ms

    @property
    def flags(self) -> tuple[str, ...]:
        """Return why the lap does not count, as `analytics.model.lap.FLAGS`; empty for a flying
        lap.
        """
        return self.lap.flags

    @property
    def started_at(self) -> datetime:
        """Return when the lap began, in UTC."""
        return datetime.fromtimestamp(self.lap.started_at_us / 1e6, UTC)

    @property
    def ended_at(self) -> datetime:
        """Return the start of the next lap; a pause or a rewind makes it later than the lap time
        suggests.
        """
        return datetime.fromtimestamp(self.lap.ended_at_us / 1e6, UTC)

    def telemetry(self, channels: Sequence[str] = FRAMES.names) -> pa.Table:
        """Return its frames in order of time, with these columns of
        `analytics.model.channels.FRAMES`.

        Raises UnknownChannel.
        """
        return self.source.lap_frames(self.session, self.number, _known(channels))

    def to_arrow(self) -> pa.Table:
        """Return the telemetry: `telemetry` for all columns."""
        return self.telemetry()

    def export(self, path: "str | os.PathLike[str]") -> Path:
        """Write its frames to a ``.parquet``, ``.csv``, ``.arrow`` or MoTeC ``.ld`` file. Raises
        analytics.errors.ExportError.
        """
        return export(Path(path), self.telemetry(), self.session, [self.lap])


@dataclass(frozen=True, slots=True)
class _Selection:
    source: Source = field(repr=False)
    wanted: LapFilter = EVERYTHING

    def of(self, *drivers: str) -> Self:
        """Select these drivers, by name or user id."""
        return self._with(drivers=drivers)

    def on(self, track: str) -> Self:
        """Select the tracks that have this in their name."""
        return self._with(track=track)

    def in_car(self, car: str) -> Self:
        """Select the cars that have this in their name."""
        return self._with(car=car)

    def between(self, since: datetime | None, until: datetime | None) -> Self:
        """Select from ``since`` on and before ``until``. Raises ValueError for a time without a
        zone.
        """
        return self._with(since=since, until=until)

    def _with(self, **conditions: Any) -> Self:
        return replace(self, wanted=replace(self.wanted, **conditions))


@dataclass(frozen=True, slots=True)
class Laps(_Selection, Tabular):
    """Finished laps, in the order of their start.
    ``catalog.laps.of("alice").on("spa").flying().fastest()``.
    """

    def __iter__(self) -> Iterator[TimedLap]:
        return (
            TimedLap(session, lap, self.source) for session, lap in self.source.laps(self.wanted)
        )

    def flying(self) -> Self:
        """Select the laps that count: driven from line to line, timed, and without a flag."""
        return self._with(flying=True)

    def numbered(self, *numbers: int) -> Self:
        """Select the laps with these numbers."""
        return self._with(numbers=numbers)

    def fastest_first(self, limit: int | None = None) -> Self:
        """Order the laps by time, and keep at most ``limit`` of them."""
        return self._with(fastest_first=True, limit=limit)

    def fastest(self) -> TimedLap:
        """Return the lap with the lowest time. Raises NoLap."""
        best = next(iter(self.fastest_first(1)), None)
        if best is None or best.time_ms is None:
            raise NoLap(self.wanted)
        return best

    def only(self) -> TimedLap:
        """Return the first of the laps, timed or not. Raises NoLap."""
        lap = next(iter(self), None)
        if lap is None:
            raise NoLap(self.wanted)
        return lap

    def telemetry(
        self, channels: Sequence[str] = FRAMES.names
    ) -> Iterator[tuple[TimedLap, pa.Table]]:
        """Iterate over the laps with their frames; one lap is in memory at a time. Raises
        UnknownChannel at once.
        """
        known = _known(channels)
        return ((lap, lap.telemetry(known)) for lap in self)

    def to_arrow(self) -> pa.Table:
        """Return one row per lap: its session and driver, start and end, times, and the flags that
        may exclude it.
        """
        return pa.Table.from_pylist([_row(lap) for lap in self], schema=LAPS)


@dataclass(frozen=True, slots=True)
class Session(Tabular):
    """A session, finished or being driven, with its laps and its frames. As a table, it is all its
    frames so far.
    """

    facts: SessionInfo
    source: Source = field(repr=False)

    @property
    def key(self) -> str:
        """Return the key of the session."""
        return self.facts.key

    @property
    def title(self) -> str:
        """Return driver, car and track, as far as they are known."""
        facts = self.facts
        return " · ".join(
            filter(None, [facts.driver or facts.user_id or facts.key, facts.car, facts.track])
        )

    @property
    def laps(self) -> Laps:
        """Return the laps."""
        return Laps(self.source, LapFilter(keys=(self.key,)))

    def telemetry(self, channels: Sequence[str] = FRAMES.names) -> pa.Table:
        """Return all its frames so far, in order of time. Raises UnknownChannel.

        An hour at 60 Hz with every channel takes 20 MB.
        """
        return self.source.frames(self.facts, _known(channels))

    def to_arrow(self) -> pa.Table:
        """Return the telemetry: `telemetry` for all columns."""
        return self.telemetry()

    def follow(
        self,
        channels: Sequence[str] = FRAMES.names,
        *,
        every_s: float = EVERY_S,
        quiet_s: float | None = None,
    ) -> Iterator[pa.Table]:
        """Yield its frames from the first on, and then new frames as they come, as tables that are
        never empty.

        No frame comes twice and none is left out. Late data that a collector resends comes when it
        is there. Ends when nothing has come for ``quiet_s``, or never. Raises UnknownChannel at
        once.
        """
        return _followed(self.source.feed(self.facts, _known(channels)), every_s, quiet_s)

    def export(self, path: "str | os.PathLike[str]") -> Path:
        """Write its frames to a ``.parquet``, ``.csv``, ``.arrow`` or MoTeC ``.ld`` file. Raises
        analytics.errors.ExportError.
        """
        return export(Path(path), self.telemetry(), self.facts, [lap.lap for lap in self.laps])


@dataclass(frozen=True, slots=True)
class Sessions(_Selection):
    """Sessions, the newest first."""

    def __iter__(self) -> Iterator[Session]:
        return (Session(session, self.source) for session in self.source.sessions(self.wanted))

    def __getitem__(self, key: str) -> Session:
        return self._with(keys=(key,)).newest()

    def newest(self) -> Session:
        """Return the session that came last. Raises NoSession."""
        session = next(iter(self._with(limit=1)), None)
        if session is None:
            raise NoSession(self.wanted)
        return session


@dataclass(frozen=True, slots=True)
class Catalog:
    """Sessions and laps of a store or of some files. Closes its source at the end of a ``with``."""

    source: Source = field(repr=False)

    @property
    def sessions(self) -> Sessions:
        """Return the sessions."""
        return Sessions(self.source)

    @property
    def laps(self) -> Laps:
        """Return the laps."""
        return Laps(self.source)

    def close(self) -> None:
        """Close the source."""
        self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


#: The schema of `Laps.to_arrow`.
LAPS = pa.schema(
    [
        ("session", pa.string()),
        ("driver", pa.string()),
        ("track", pa.string()),
        ("car", pa.string()),
        ("lap_number", pa.int32()),
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("ended_at", pa.timestamp("us", tz="UTC")),
        ("lap_time_ms", pa.int32()),
        ("official_lap_time_ms", pa.int32()),
        ("sector_times_ms", pa.list_(pa.int32())),
        ("flags", pa.list_(pa.string())),
        ("frames", pa.int32()),
        ("max_speed_kmh", pa.float32()),
    ]
)


def lap_time(time_ms: int | None) -> str:
    """Format a lap time as a stopwatch shows it: 1:58.432."""
    return "no time" if time_ms is None else f"{time_ms // 60_000}:{time_ms % 60_000 / 1000:06.3f}"


def _known(channels: Sequence[str]) -> Sequence[str]:
    schema_of(channels)
    return channels


def _followed(feed: FrameFeed, every_s: float, quiet_s: float | None) -> Iterator[pa.Table]:
    received_at = time.monotonic()
    while quiet_s is None or time.monotonic() - received_at < quiet_s:
        frames = feed.poll()
        if frames.num_rows:
            yield frames
            received_at = time.monotonic()
        else:
            time.sleep(every_s)


def _row(lap: TimedLap) -> dict[str, Any]:
    facts, timed = lap.session, lap.lap
    return {
        "session": facts.key,
        "driver": facts.driver,
        "track": facts.track,
        "car": facts.car,
        "started_at": lap.started_at,
        "ended_at": lap.ended_at,
        **{name: getattr(timed, name) for name in LAPS.names if hasattr(timed, name)},
    }
