"""Defines the messages of ACC's broadcasting protocol as values. `broadcast_protocol` parses them
from bytes.
"""

from dataclasses import dataclass

#: Session types and phases on which decisions depend here.
REPLAY = 14
SESSION, SESSION_OVER, POST_SESSION = 5, 6, 7
#: Locations of a car.
ON_TRACK, PIT_LANE, PIT_ENTRY, PIT_EXIT = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class RegistrationResult:
    """The answer to a registration. It may arrive again, without success, when ACC ends the
    registration.
    """

    connection_id: int
    success: bool
    commands_allowed: bool
    error: str


@dataclass(frozen=True, slots=True)
class LapTimes:
    """A lap of a car, with its times and flags. A time of 2147483647 means no time."""

    lap_time_ms: int
    car_index: int
    driver_index: int
    splits_ms: tuple[int, ...]  # how long each sector took
    invalid: bool
    valid_for_best: bool
    out_lap: bool
    in_lap: bool


@dataclass(frozen=True, slots=True)
class SessionUpdate:
    """The state of the session."""

    event_index: int
    session_index: int
    session_type: int
    phase: int
    session_ms: float
    remaining_ms: float
    focused_car: int  # the car that the camera follows; -1: none
    replay_plays: bool
    best_lap: LapTimes


@dataclass(frozen=True, slots=True)
class CarUpdate:
    """The state of one car."""

    car_index: int
    driver_index: int
    driver_count: int
    gear: int  # 0 reverse, 1 neutral, 2 first
    x_m: float
    z_m: float
    yaw_rad: float
    location: int
    speed_kmh: int
    spline_position: float
    laps: int
    best_lap: LapTimes
    last_lap: LapTimes
    current_lap: LapTimes


@dataclass(frozen=True, slots=True)
class EntryList:
    """The cars of the session; each follows in a message of its own."""

    connection_id: int
    car_indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BroadcastDriver:
    """One of a car's drivers."""

    first_name: str
    last_name: str
    short_name: str

    def __str__(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()


@dataclass(frozen=True, slots=True)
class EntryListCar:
    """A car and its drivers."""

    car_index: int
    car_model: int
    team: str
    race_number: int
    driver_index: int
    drivers: tuple[BroadcastDriver, ...]


@dataclass(frozen=True, slots=True)
class TrackData:
    """The track, with its name, id and length."""

    connection_id: int
    name: str
    track_id: int
    length_m: int


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a car, with its text and session time."""

    kind: int
    text: str
    session_ms: int
    car_index: int


Message = (
    RegistrationResult | SessionUpdate | CarUpdate | EntryList | EntryListCar | TrackData | Event
)
