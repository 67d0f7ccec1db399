"""Defines the selection of laps that both the store and the files evaluate.

The filter is a value. The selections of `analytics.catalog` build it step by step. Rule:
`LapFilter.has_session` and `LapFilter.has_lap` select the same laps of a recording as the SQL of
`analytics.store.source` selects of the store. A test compares the results of both.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from analytics.model.lap import Lap
from analytics.model.session import SessionInfo

SessionLap = tuple[SessionInfo, Lap]


@dataclass(frozen=True, slots=True)
class LapFilter:
    """A set of conditions that must all hold. An empty one or None restricts nothing.

    Text is compared without regard to case. ``drivers`` are whole names or user ids. ``track`` and
    ``car`` need only be part of the name. A lap lies between ``since`` and before ``until`` if it
    began there. A session lies there if any part of it was driven there.
    """

    keys: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    track: str = ""
    car: str = ""
    since: datetime | None = None
    until: datetime | None = None
    numbers: tuple[int, ...] = ()
    flying: bool = False
    fastest_first: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        for instant in (self.since, self.until):
            if instant is not None and instant.tzinfo is None:
                raise ValueError(f"{instant} names no time zone; write datetime(…, tzinfo=UTC)")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"a selection has at least 1 lap, not {self.limit}")

    def __str__(self) -> str:
        chosen = [
            f"{f.name}={value!r}"
            for f in fields(self)
            if (value := getattr(self, f.name)) != f.default
        ]
        return f"fits {', '.join(chosen)}" if chosen else "is there"

    def has_session(self, session: SessionInfo) -> bool:
        """Return whether a session matches, without regard to its laps."""
        names = {session.driver.lower(), session.user_id.lower()}
        return (
            (not self.keys or session.key in self.keys)
            and (not self.drivers or not names.isdisjoint(name.lower() for name in self.drivers))
            and self.track.lower() in session.track.lower()
            and self.car.lower() in session.car.lower()
        )

    def overlaps(self, session: SessionInfo) -> bool:
        """Return whether any part of a session was driven between ``since`` and ``until``."""
        begun, ended = session.started_at, session.last_frame_at
        after = self.since is None or (ended is not None and ended >= self.since)
        return after and (self.until is None or (begun is not None and begun < self.until))

    def has_lap(self, lap: Lap) -> bool:
        """Return whether a lap matches, provided that its session does."""
        begun = datetime.fromtimestamp(lap.started_at_us / 1e6, UTC)
        return (
            (self.since is None or begun >= self.since)
            and (self.until is None or begun < self.until)
            and (not self.numbers or lap.lap_number in self.numbers)
            and (not self.flying or (not lap.flags and lap.time_ms is not None))
        )

    def in_order(self, found: Iterable[SessionLap]) -> list[SessionLap]:
        """Return at most ``limit`` laps, sorted by start or by time.

        Laps without a time come last.
        """
        laps = sorted(found, key=lambda one: one[1].started_at_us)
        if self.fastest_first:
            laps.sort(key=lambda one: one[1].time_ms or float("inf"))
        return laps[: self.limit]

    def as_parameters(self) -> dict[str, Any]:
        """Return the conditions as SQL parameters. A condition that restricts nothing is None."""
        return {
            "keys": list(self.keys) or None,
            "drivers": [name.lower() for name in self.drivers] or None,
            "track": self.track,
            "car": self.car,
            "since": self.since,
            "until": self.until,
            "numbers": list(self.numbers) or None,
            "flying": self.flying,
            "fastest_first": self.fastest_first,
            "limit": self.limit,
        }


#: A filter that restricts nothing.
EVERYTHING = LapFilter()
