"""Keeps the newest broadcasts of ACC: the track, the session, the cars. Pure."""

from dataclasses import dataclass, field

from ingest.collectors.games.acc.broadcast_messages import (
    CarUpdate,
    EntryListCar,
    LapTimes,
    Message,
    SessionUpdate,
    TrackData,
)
from ingest.collectors.games.acc.catalogue import CARS, track_named

#: An update older than this is not valid for the present moment.
_FRESH_S = 1.0


@dataclass(slots=True)
class BroadcastState:
    """The newest message of each kind; empty where the game broadcasts nothing."""

    track: TrackData | None = None
    session: SessionUpdate | None = None
    entries: dict[int, EntryListCar] = field(default_factory=dict)
    _updates: dict[int, tuple[CarUpdate, float]] = field(default_factory=dict)

    def take(self, message: Message, *, now_s: float) -> None:
        """Keep the messages that are of use later."""
        match message:
            case TrackData():
                self.track = message
            case SessionUpdate():
                if self.session and self.session.session_index != message.session_index:
                    self._updates.clear()
                self.session = message
            case EntryListCar():
                self.entries[message.car_index] = message
            case CarUpdate():
                self._updates[message.car_index] = (message, now_s)

    def length_m(self, track: str) -> float:
        """Return the length in m of the track with that name in the pages.

        0 means that it is unknown, or that the game has broadcast another track.
        """
        if self.track is None or self.track.length_m <= 0:
            return 0.0
        known = track_named(self.track.name)
        return (
            0.0
            if known and known.name.casefold() != track.casefold()
            else float(self.track.length_m)
        )

    def invalid(self, car_index: int, laps: int, *, now_s: float) -> bool:
        """Return whether the game has marked that car's lap, the one after ``laps``, as invalid."""
        update, received_s = self._updates.get(car_index, (None, 0.0))
        fresh = update is not None and now_s - received_s <= _FRESH_S and update.laps == laps
        return fresh and update is not None and update.current_lap.invalid

    def last_lap(self, car_index: int) -> tuple[int, LapTimes] | None:
        """Return the last lap that car has finished, with its number, official splits and time."""
        update, _ = self._updates.get(car_index, (None, 0.0))
        return (update.laps, update.last_lap) if update and update.laps else None

    def track_name(self) -> str:
        """Return the track's name as in the pages; empty means not received yet."""
        if self.track is None:
            return ""
        known = track_named(self.track.name)
        return known.name if known else self.track.name

    def car_name(self, car_index: int) -> str:
        """Return the car's name as in the pages; empty means not received yet."""
        entry = self.entries.get(car_index)
        return CARS.get(entry.car_model, f"car model {entry.car_model}") if entry else ""

    def driver_name(self, car_index: int, driver_index: int) -> str:
        """Return the driver of that car; empty means not received yet."""
        entry = self.entries.get(car_index)
        return (
            str(entry.drivers[driver_index]) if entry and driver_index < len(entry.drivers) else ""
        )
