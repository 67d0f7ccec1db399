"""What is driven: a recorded session, or the simulated car where there is no file."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from analytics.files.recording import Recording, open_recording
from ingest.collectors.replay import replay
from ingest.collectors.simulator.circuit import CIRCUITS
from ingest.collectors.simulator.driver import driver
from ingest.collectors.simulator.frames import drive
from ingest.telemetry_pb2 import TelemetryFrame
from tests.game_emulators.drive import Drive

STARTED_AT_MS = 1_750_000_000_000
#: A car that both games have, for recordings whose car nobody wrote down.
CAR = "lamborghini_huracan_gt3_evo"


@dataclass(frozen=True, slots=True)
class Outing:
    """One session. Track and car are what the game calls them."""

    track: str
    car: str
    driver: str
    track_length_m: float
    begin: Callable[[], Drive] = field(repr=False)

    @property
    def names(self) -> tuple[str, str]:
        """The driver's first name and surname."""
        first, _, last = self.driver.partition(" ")
        return first, last


def simulated(circuit: str = "aldermoor", *, seed: int = 1) -> Outing:
    """Our simulated car, for ever."""
    road = CIRCUITS[circuit]()

    def begin() -> Drive:
        frames = drive(road, seed=seed, started_at_ms=STARTED_AT_MS)
        return Drive(map(_mirrored, frames), track_length_m=road.length_m)

    return Outing(_internal(road.name), CAR, driver(seed).name, road.length_m, begin)


def recorded(path: Path) -> Outing:
    """A session from a Parquet or CSV file, with the lap times that its JSON file has. Raises
    RecordingError.
    """
    recording = open_recording(path)
    length_m = recording.track_length_m or _length_m(recording)

    def begin() -> Drive:
        frames = replay(recording.columns(), first_timestamp_ms=STARTED_AT_MS)
        return Drive(
            frames, track_length_m=length_m, official_ms=_official_ms(path.with_suffix(".json"))
        )

    car = CAR if not recording.car or "unknown" in recording.car else recording.car
    return Outing(
        _internal(recording.track), _internal(car), recording.driver or "Somebody", length_m, begin
    )


def _mirrored(frame: TelemetryFrame) -> TelemetryFrame:
    """Our simulator's world on the games' axes (`analytics.model.axes`): it looks along (sin, cos)
    of its heading, they along (-sin, cos).
    """
    frame.x = -frame.x
    return frame


def _internal(name: str) -> str:
    """As a game would write it, without what a recording's notes say in brackets."""
    return name.partition(" (")[0].lower().replace(" ", "_")


def _length_m(recording: Recording) -> float:
    """The way by speed, over the laps by position."""
    table = recording.table
    seconds = table.column("timestamp_ms").to_numpy() / 1000
    speeds_mps = table.column("speed_kmh").to_numpy() / 3.6
    places = table.column("lap_number").to_numpy() + table.column("normalized_position").to_numpy()
    way_m = float(((speeds_mps[1:] + speeds_mps[:-1]) / 2 * (seconds[1:] - seconds[:-1])).sum())
    return way_m / max(0.01, float(places[-1] - places[0]))


def _official_ms(path: Path) -> dict[int, int]:
    if not path.is_file():
        return {}
    laps = json.loads(path.read_text(encoding="utf-8")).get("true_laps", [])
    return {lap["lap_number"]: lap["lap_time_ms"] for lap in laps if lap.get("complete")}
