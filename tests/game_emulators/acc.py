"""What Assetto Corsa Competizione writes into its pages. Values that say nothing of the drive are
those of a real dump.
"""

from collections.abc import Mapping
from math import cos, sin
from typing import Any

from tests.game_emulators.drive import SECTORS, Moment
from tests.game_emulators.pages import ACC_GRAPHICS, ACC_PHYSICS, ACC_STATIC
from tests.game_emulators.playing import Playing
from tests.game_emulators.rivals import rivals

NONE_MS = 2**31 - 1
GRAVITY_MPS2 = 9.80665
_TYRE_M = 0.35


def lap_text(ms: int) -> str:
    """``M:SS:mmm``, as both games write a time."""
    seconds, thousandths = divmod(ms, 1000)
    return f"{seconds // 60}:{seconds % 60:02}:{thousandths:03}"


def driven_physics(moment: Moment, before: Moment, passed_s: float) -> dict[str, Any]:
    """The part of the physics page that both games fill alike."""
    speed_mps = moment.speed_kmh / 3.6
    gain_mps2 = (moment.speed_kmh - before.speed_kmh) / 3.6 / passed_s if passed_s > 0 else 0.0
    turn_radps = (moment.heading_rad - before.heading_rad) / passed_s if passed_s > 0 else 0.0
    return {
        "gas": moment.throttle,
        "brake": moment.brake,
        "gear": moment.gear + 1,
        "rpms": moment.rpm,
        "steerAngle": moment.steering,
        "speedKmh": moment.speed_kmh,
        "velocity": (
            -sin(moment.heading_rad) * speed_mps,
            0.0,
            cos(moment.heading_rad) * speed_mps,
        ),
        "accG": (speed_mps * turn_radps / GRAVITY_MPS2, 0.0, gain_mps2 / GRAVITY_MPS2),
        "wheelAngularSpeed": (speed_mps / _TYRE_M,) * 4,
        "heading": moment.heading_rad,
        "localVelocity": (0.0, 0.0, speed_mps),
        "pitLimiterOn": int(moment.pit == 1),
    }


def driven_graphics(playing: Playing, none_ms: int, none_text: str) -> dict[str, Any]:
    """The part of the graphics page that both games fill alike."""
    m = playing.moment
    return {
        "status": playing.status,
        "currentTime": lap_text(m.lap_clock_ms),
        "lastTime": lap_text(m.last_lap_ms) if m.last_lap_ms else none_text,
        "bestTime": lap_text(m.best_lap_ms) if m.best_lap_ms else none_text,
        "split": lap_text(m.lap_clock_ms - m.sector_line_ms),
        "completedLaps": m.lap_count,
        "iCurrentTime": m.lap_clock_ms,
        "iLastTime": m.last_lap_ms or none_ms,
        "iBestTime": m.best_lap_ms or none_ms,
        "distanceTraveled": m.driven_m,
        "isInPit": int(m.pit == 2),
        "isInPitLane": int(m.pit > 0),
        "currentSectorIndex": m.sector,
        "lastSectorTime": m.sector_line_ms,
        "normalizedCarPosition": m.position,
    }


class AccPages:
    """With ``cars``, of which ``player`` is the player's; ``session_type``: 0 practice, 1
    qualifying, 2 race.
    """

    physics, graphics, static = ACC_PHYSICS, ACC_GRAPHICS, ACC_STATIC

    def __init__(self, *, cars: int = 1, player: int = 0, session_type: int = 0) -> None:
        self._cars, self._player, self._session_type = cars, player, session_type

    def constants(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        graphics = {
            "session": self._session_type,
            "activeCars": self._cars,
            "carID": [*reversed(range(self._cars))],  # a car's slot is not its id
            "playerCarID": self._player,
        }
        return _PHYSICS, _GRAPHICS | graphics

    def physics_values(self, moment: Moment, before: Moment, passed_s: float) -> Mapping[str, Any]:
        return driven_physics(moment, before, passed_s)

    def graphics_values(self, playing: Playing) -> Mapping[str, Any]:
        m = playing.moment
        return driven_graphics(playing, NONE_MS, lap_text(NONE_MS)) | {
            "carCoordinates": self._places(playing),
            "sessionIndex": playing.session_index,
            "iSplit": m.lap_clock_ms - m.sector_line_ms,
            "isValidLap": int(m.valid),
            "Clock": (32_720.0 + playing.driven_s) % 86_400,
        }

    def static_values(self, playing: Playing) -> Mapping[str, Any]:
        outing = playing.outing
        first, last = outing.names
        return {
            "smVersion": "1.9",
            "acVersion": "1.7",
            "numCars": self._cars,
            "carModel": outing.car,
            "track": outing.track,
            "playerName": first,
            "playerSurname": last,
            "playerNick": "",
            "sectorCount": SECTORS,
            "maxRpm": 8650,
            "maxFuel": 120.0,
            "aidStability": 1.0,
            "aidAutoClutch": 1,
            "aidAutoBlip": 1,
            "trackConfiguration": "track config",
            "carSkin": "skin",
            "PitWindowEnd": -1000,
            "dryTyresName": "DHD2",
            "wetTyresName": "WH",
        }

    def _places(self, playing: Playing) -> list[float]:
        """Of all cars, in the order of their slots."""
        m = playing.moment
        others = rivals(
            self._cars,
            player=self._player,
            track_length_m=playing.outing.track_length_m,
            driven_s=playing.driven_s,
        )
        places = {rival.car: (rival.x_m, 0.0, rival.z_m) for rival in others} | {
            self._player: (m.x_m, m.y_m, m.z_m)
        }
        return [value for car in reversed(range(self._cars)) for value in places[car]]


#: What the drive does not say, as in the dump.
_PHYSICS: dict[str, Any] = {
    "fuel": 62.0,
    "wheelPressure": (27.3, 27.2, 26.8, 26.9),
    "tyreCoreTemp": (87.1, 86.4, 84.9, 85.2),
    "tyreTemp": (87.1, 86.4, 84.9, 85.2),
    "brakeTemp": (377.8, 380.1, 290.3, 288.8),
    "autoShifterOn": 1,
    "airTemp": 27.16,
    "roadTemp": 27.98,
    "clutch": 1.0,
    "brakeBias": 0.76,
    "currentMaxRpm": 8650,
    "waterTemp": 83.98,
    "frontBrakeCompound": 1,
    "rearBrakeCompound": 1,
    "padLife": (29.0,) * 4,
    "discLife": (32.0,) * 4,
    "ignitionOn": 1,
    "isEngineRunning": 1,
}
_GRAPHICS: dict[str, Any] = {
    "position": 1,
    "sessionTimeLeft": -1.0,
    "tyreCompound": "dry_compound",
    "idealLineOn": 1,
    "TC": 3,
    "ABS": 4,
    "fuelXLap": 4.24,
    "exhaustTemperature": 448.4,
    "driverStintTotalTimeLeft": -1000,
    "driverStintTimeLeft": -313392,
    "deltaLapTime": "-:--:---",
    "estimatedLapTime": lap_text(NONE_MS),
    "iEstimatedLapTime": NONE_MS,
    "fuelEstimatedLaps": 14.6,
    "trackStatus": "БЫСТР.",
    "missingMandatoryPits": 255,
    "GlobalGreen": 1,
    "trackGripStatus": 1,
    "currentTyreSet": 2,
    "strategyTyreSet": 2,
}
