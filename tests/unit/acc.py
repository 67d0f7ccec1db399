"""ACC's pages and broadcasts for tests, made by what plays the game."""

from functools import partial

from ingest.collectors.games.acc.broadcast_state import BroadcastState
from ingest.collectors.games.acc.page_sessions import AccPageSessions
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import FactsChanged, SessionBegan, SessionEnded
from ingest.collectors.games.shared_memory import Pages
from ingest.telemetry_pb2 import TelemetryFrame
from tests.game_emulators.acc_messages import CarUpdate, Lap, Update
from tests.game_emulators.pages import ACC_GRAPHICS, ACC_PHYSICS, ACC_STATIC

OFF, REPLAY, LIVE, PAUSE = range(4)
NONE_MS = 2**31 - 1
CAR = {"smVersion": "1.9", "carModel": "ferrari_296_gt3", "track": "monza", "sectorCount": 3}
DRIVER = {"playerName": "Ada", "playerSurname": "Lovelace"}


def page(layout, values):
    image = bytearray(layout.size)
    layout.put(image, values)
    return bytes(image)


def pages(packet_id, *, physics=None, graphics=None, static=None):
    """A car that drives in the second sector of its third lap, but for what is given."""
    return Pages(
        page(
            ACC_PHYSICS,
            {"packetId": packet_id, "gas": 0.5, "gear": 4, "rpms": 7000, "speedKmh": 180}
            | (physics or {}),
        ),
        page(
            ACC_GRAPHICS,
            {
                "status": LIVE,
                "completedLaps": 2,
                "iCurrentTime": 50_000,
                "iLastTime": 107_123,
                "sessionTimeLeft": -1.0,
                "currentSectorIndex": 1,
                "normalizedCarPosition": 0.5,
                "carID": [7, 3],
                "playerCarID": 3,
                "carCoordinates": [9, 9, 9, 100, 5, -200],
                "isValidLap": 1,
            }
            | (graphics or {}),
        ),
        page(ACC_STATIC, CAR | DRIVER | (static or {})),
    )


class Followed:
    """A drive, look by look, 60 a second."""

    def __init__(self):
        self.complaints = AnomalyCounts("test")
        self.driving = AccPageSessions(rate_hz=60, complaints=self.complaints)
        self.broadcast = BroadcastState()
        self.now_s, self.packet_id = 1000.0, 0

    def look(self, *, moved=True, **fields):
        """At pages of which the physics have moved on, or not."""
        self.now_s += 1 / 60
        self.packet_id += 7 * moved
        return self.at(pages(self.packet_id, **fields))

    def at(self, snapshot):
        return self.driving.take(
            snapshot, now_s=self.now_s, wall_ms=round(self.now_s * 1000), broadcast=self.broadcast
        )

    def drive(self, looks=3, **fields):
        """What several looks said, all in one."""
        return [event for _ in range(looks) for event in self.look(**fields)]


def kinds(events):
    """One word for each: began, changed, frame, ended."""
    words = {
        SessionBegan: "began",
        FactsChanged: "changed",
        TelemetryFrame: "frame",
        SessionEnded: "ended",
    }
    return " ".join(words[type(event)] for event in events)


def frames(events):
    return [event for event in events if isinstance(event, TelemetryFrame)]


lap = partial(Lap, car=3)


def update(session_ms, **fields):
    """The state of a running session whose camera is on car 3."""
    values = {
        "event": 0,
        "session": 0,
        "session_type": 10,
        "phase": 5,
        "session_time_ms": session_ms,
    }
    rest = {
        "remaining_ms": 1e6,
        "focused_car": 3,
        "camera_set": "Drivable",
        "camera": "Cockpit",
        "hud_page": "",
    }
    weather = {
        "time_of_day_s": 5e4,
        "ambient_celsius": 30,
        "track_celsius": 38,
        "clouds": 0,
        "rain": 0,
        "wetness": 0,
    }
    best = {"replay": None, "best_lap": lap(NONE_MS, splits_ms=(NONE_MS,) * 3)}
    return Update(**(values | rest | weather | best | fields))


def car_update(lap_clock_ms, **fields):
    """Car 3 in its third lap."""
    values = {
        "car": 3,
        "driver": 0,
        "driver_count": 1,
        "gear": 4,
        "x_m": 100.0,
        "z_m": -200.0,
        "yaw_rad": 1.5,
    }
    place = {
        "location": 1,
        "kmh": 180,
        "position": 1,
        "cup_position": 1,
        "track_position": 0,
        "spline_position": 0.5,
    }
    laps = {"best_lap": lap(NONE_MS), "last_lap": lap(107_123), "current_lap": lap(lap_clock_ms)}
    return CarUpdate(**(values | place | {"laps": 2, "delta_ms": 0} | laps | fields))
