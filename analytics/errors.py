"""Defines the errors of the analysis. They have one root, so that ``except AnalyticsError`` catches
all of them.

Each message gives a remedy.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path


class AnalyticsError(Exception):
    """Root of the errors that analytics raises for the arguments of a caller, or for missing
    things.
    """


class ExportError(AnalyticsError, ValueError):
    """A file of this kind cannot be written, or not with these frames."""


class TooFewLaps(AnalyticsError, ValueError):
    """Too few laps qualify to measure how evenly they were driven."""

    def __init__(self, qualifying: int, least: int, left_out: Mapping[int, str]) -> None:
        reasons = "; ".join(f"lap {number}: {reason}" for number, reason in left_out.items())
        super().__init__(
            f"{qualifying} laps qualify, and it takes {least}"
            + (f" ({reasons})" if reasons else "")
        )
        self.qualifying = qualifying


class NoFrames(AnalyticsError, ValueError):
    """A stored session has no frames that can be timed."""

    def __init__(self, key: str) -> None:
        super().__init__(f"session {key!r} has no frames in the store; have they been deleted?")


class RecordingError(AnalyticsError):
    """A file cannot be used as a recording. ``row`` counts from 1, without a header; it and
    ``column`` may be None.
    """

    def __init__(
        self, path: Path, problem: str, *, column: str | None = None, row: int | None = None
    ) -> None:
        place = [
            str(path),
            *([f"column {column}"] if column else []),
            *([f"row {row}"] if row else []),
        ]
        super().__init__(f"{', '.join(place)}: {problem}")
        self.path = path
        self.column = column
        self.row = row


class NoLap(AnalyticsError, LookupError):
    """A selection holds no lap where one was requested."""

    def __init__(self, wanted: object) -> None:
        super().__init__(f"no lap {wanted}; take a step of the selection back to see what there is")


class NoSession(AnalyticsError, LookupError):
    """A selection holds no session where one was requested."""

    def __init__(self, wanted: object) -> None:
        super().__init__(f"no session {wanted}; iterate catalog.sessions to see what there is")


class UnknownChannel(AnalyticsError, LookupError):
    """A requested column that no frame has."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no column {name!r}; there are {', '.join(known)}")
        self.name = name


class TooLong(AnalyticsError, ValueError):
    """A log would be larger than a .ld file can be."""

    def __init__(self, hours: float, rate_hz: int) -> None:
        super().__init__(
            f"{hours:,.0f} h at {rate_hz} Hz are more than a .ld file holds; export single laps"
        )


class UnknownSession(AnalyticsError, LookupError):
    """No frame of this session is stored."""

    def __init__(self, key: str) -> None:
        super().__init__(f"session {key!r} is not in the store; sessions() lists those that are")
        self.key = key


class UnknownLap(AnalyticsError, LookupError):
    """The session is stored, but no such lap of it has ended."""

    def __init__(self, key: str, lap_number: int) -> None:
        super().__init__(
            f"session {key!r} has no finished lap {lap_number}; laps() lists those that it has"
        )
        self.key = key
        self.lap_number = lap_number


class NoCorners(AnalyticsError, ValueError):
    """The laps show no corners; corners are found in laps that show some."""


class NoDatabase(AnalyticsError, LookupError):
    """No database is named."""

    def __init__(self) -> None:
        super().__init__(
            "no database is named, and no system runs here: give connect() a postgresql:// URL, set"
            " DATABASE_URL, or start one with purple-sector up"
        )


class ResultsBusy(AnalyticsError):
    """Another run writes to these results."""

    def __init__(self, results: Path) -> None:
        super().__init__(
            f"{results}: another run is writing here; wait for it, or choose another folder"
        )
