"""Describes the content of the store: a session, a gap in it, and the offset of a partition."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A stored session. Text that nobody sent is empty; numbers and times are None.

    A ``title`` is shown in place of the key. A ``hidden`` session is for its user alone.
    """

    id: int
    key: str
    user_id: str
    game: str
    track: str
    car: str
    driver: str
    track_length_m: float | None
    sector_count: int | None
    sample_rate_hz: float | None
    started_at: datetime | None
    last_frame_at: datetime | None
    frames: int
    title: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """A loss that has not healed: sequences of a session, or offsets of a partition. Both ends are
    lost, too.
    """

    id: int
    session_key: str | None
    from_sequence: int | None
    to_sequence: int | None
    topic: str | None
    partition: int | None
    from_offset: int | None
    to_offset: int | None
    reason: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class PartitionOffset:
    """The progress of storing a partition. ``next_offset`` is the next record to read."""

    topic: str
    partition: int
    next_offset: int
    owner: str
    heartbeat: datetime
