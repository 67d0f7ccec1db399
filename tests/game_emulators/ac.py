"""What Assetto Corsa writes into its pages. Values that say nothing of the drive are those of a
real dump.
"""

from collections.abc import Mapping
from math import radians
from typing import Any

from tests.game_emulators.acc import driven_graphics, driven_physics
from tests.game_emulators.drive import SECTORS, Moment
from tests.game_emulators.pages import AC_GRAPHICS, AC_PHYSICS, AC_STATIC
from tests.game_emulators.playing import Playing

#: How the wheel is told in shared memory. The sources disagree and no dump shows it, so that
#: collectors meet all three.
STEERING = ("normalised", "degrees", "radians")


class AcPages:
    """``session_type`` as the graphics page counts: 0 practice, 1 qualifying, 2 race."""

    physics, graphics, static = AC_PHYSICS, AC_GRAPHICS, AC_STATIC

    def __init__(
        self,
        *,
        cars: int = 1,
        session_type: int = 0,
        steering: str = STEERING[0],
        lock_deg: float = 450.0,
    ) -> None:
        self._cars, self._session_type = cars, session_type
        self._full_lock = {"normalised": 1.0, "degrees": lock_deg, "radians": radians(lock_deg)}[
            steering
        ]

    def constants(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        physics = {
            "fuel": 29.5,
            "wheelLoad": (3359.0, 3336.0, 2324.2, 2331.7),
            "wheelPressure": (28.2, 28.1, 25.0, 24.9),
            "tyreWear": (100.0,) * 4,
            "tyreDirtyLevel": (1.05, 1.14, 1.11, 1.19),
            "tyreCoreTemp": (27.2, 26.5, 20.1, 19.3),
            "camberRAD": (-0.023, 0.021, -0.036, 0.033),
            "suspensionTravel": (0.078, 0.078, 0.093, 0.094),
            "tc": 0.1,  # the limits that are set, not that they act
            "abs": 0.11,
            "cgHeight": 0.5315,
            "rideHeight": (0.1523, 0.1952),
            "airDensity": 1.243,
            "airTemp": 12.0,
            "roadTemp": 10.0,
            "brakeTemp": (12.0,) * 4,
            "clutch": 1.0,
            "tyreTempI": (33.5, 33.4, 26.1, 25.9),
            "tyreTempM": (33.2, 33.0, 26.0, 25.7),
            "tyreTempO": (34.0, 33.8, 26.3, 26.0),
            "brakeBias": 0.85,
            "currentMaxRpm": 6500,
        }
        graphics = {
            "session": self._session_type,
            "position": 1,
            "sessionTimeLeft": 0.0,
            "tyreCompound": "Semislicks (SM)",
            "replayTimeMultiplier": 1.0,
            "surfaceGrip": 0.9414,
            "windSpeed": 10.0,
        }
        return physics, graphics

    def physics_values(self, moment: Moment, before: Moment, passed_s: float) -> Mapping[str, Any]:
        return driven_physics(moment, before, passed_s) | {
            "steerAngle": moment.steering * self._full_lock
        }

    def graphics_values(self, playing: Playing) -> Mapping[str, Any]:
        m = playing.moment
        return driven_graphics(playing, 0, "-:--:---") | {"carCoordinates": (m.x_m, m.y_m, m.z_m)}

    def static_values(self, playing: Playing) -> Mapping[str, Any]:
        outing = playing.outing
        first, last = outing.names
        return {
            "smVersion": "1.7",
            "acVersion": "1.16.4",
            "numberOfSessions": 1,
            "numCars": self._cars,
            "carModel": outing.car,
            "track": outing.track,
            "playerName": first,
            "playerSurname": last,
            "playerNick": first,
            "sectorCount": SECTORS,
            "maxTorque": 94.0,
            "maxPower": 116529.0,
            "maxRpm": 6500,
            "maxFuel": 35.0,
            "tyreRadius": (0.30815,) * 4,
            "maxTurboBoost": 1.38,
            "penaltiesEnabled": 1,
            "aidFuelRate": 1.0,
            "aidTireRate": 1.0,
            "aidMechanicalDamage": 1.0,
            "aidAutoClutch": 1,
            "trackSplineLength": outing.track_length_m,
            "trackConfiguration": "",
            "carSkin": "0_white_scorpion",
        }
