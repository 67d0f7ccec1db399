"""AC's datagrams and pages for tests, made by what plays the game."""

from random import Random

from ingest.collectors.games.ac.clocks import ClockReading
from ingest.collectors.games.ac.udp_protocol import parse
from ingest.collectors.games.ac.udp_sessions import UdpSessions
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import FactsChanged, SessionBegan, SessionEnded
from ingest.collectors.games.shared_memory import Pages
from ingest.telemetry_pb2 import TelemetryFrame
from tests.game_emulators.ac_packets import CAR_INFO, LAP, RESPONSE, packet
from tests.game_emulators.pages import AC_GRAPHICS, AC_PHYSICS, AC_STATIC

OFF, REPLAY, LIVE, PAUSE = range(4)
GARBAGE = Random("what was in memory before")
WALL_MS = 1_790_000_000_000

ANSWER = {
    "carName": "ks_ferrari_488_gt3",
    "driverName": "Ada Lovelace",
    "identifier": 4242,
    "version": 1,
    "trackName": "ks_nurburgring",
    "trackConfig": "layout_gp",
}
INFO = {
    "identifier": ord("a"),
    "size": 328,
    "speed_Kmh": 180.0,
    "lapTime": 50_000,
    "lastLap": 107_123,
    "lapCount": 2,
    "gas": 0.5,
    "brake": 0.0,
    "engineRPM": 7000.25,
    "steer": -90.0,
    "gear": 5,
    "isInPit": 0,
    "carPositionNormalized": 0.5,
    "carCoordinates": (100.0, 5.0, -200.0),
}


def answer(**fields):
    return packet(RESPONSE, ANSWER | fields, GARBAGE)


def info(**fields):
    return packet(CAR_INFO, INFO | fields, GARBAGE)


def lap(lap, time_ms, *, driver=ANSWER["driverName"], car=ANSWER["carName"]):
    values = {
        "carIdentifierNumber": 0,
        "lap": lap,
        "driverName": driver,
        "carName": car,
        "time": time_ms,
    }
    return packet(LAP, values, GARBAGE)


class Remote:
    """A game that tells of its car by datagram, and what has been understood. 60 datagrams a second
    by its lap clock.
    """

    def __init__(self, **answered):
        self.complaints = AnomalyCounts("test")
        self.sessions = UdpSessions(self.complaints)
        self.now_s = 1000.0
        self.lap_count, self.clock_ms, self.x_m = 0, 0, 0.0
        self.said = self.sessions.answered(parse(answer(**answered)))

    def tell(self, *, arrives_s=None, **fields):
        """One datagram, whatever it says."""
        self.now_s = self.now_s if arrives_s is None else arrives_s
        said = self.sessions.car(
            parse(info(**fields)), ClockReading(self.now_s, WALL_MS + round(self.now_s * 1000))
        )
        self.said += said
        return said

    def here(self, **fields):
        """One datagram about the car as it is."""
        place = {
            "lapCount": self.lap_count,
            "lapTime": self.clock_ms,
            "carCoordinates": (self.x_m, 0.0, 0.0),
        }
        return self.tell(**(place | fields))

    def drive(self, steps, **fields):
        """A step is 15 ms or 18 ms, 50 m/s fast."""
        said = []
        for step in range(steps):
            passed_ms = (15, 18)[step % 2]
            self.now_s += passed_ms / 1000
            self.clock_ms += passed_ms
            self.x_m += 0.05 * passed_ms
            said += self.here(**fields)
        return said

    def wait(self, seconds):
        """Nothing is told."""
        self.now_s += seconds


def pages(physics_id, graphics_id, *, physics=None, graphics=None, static=None):
    """A car in the second sector of its third lap, but for what is given."""
    driven = {
        "packetId": physics_id,
        "gas": 0.5,
        "gear": 5,
        "rpms": 7000,
        "speedKmh": 180.0,
        "steerAngle": -0.25,
    }
    place = {
        "packetId": graphics_id,
        "status": LIVE,
        "session": 0,
        "completedLaps": 2,
        "iCurrentTime": 50_000,
        "iLastTime": 107_123,
        "currentSectorIndex": 1,
        "normalizedCarPosition": 0.5,
        "carCoordinates": (100.0, 5.0, -200.0),
    }
    who = {
        "smVersion": "1.7",
        "carModel": "abarth500",
        "track": "imola",
        "playerName": "Ada",
        "playerSurname": "Lovelace",
        "sectorCount": 3,
        "trackSplineLength": 4864.0,
        "trackConfiguration": "",
    }
    return Pages(
        _page(AC_PHYSICS, {"heading": 0.5} | driven | (physics or {})),
        _page(AC_GRAPHICS, place | (graphics or {})),
        _page(AC_STATIC, who | (static or {})),
    )


def _page(layout, values):
    image = bytearray(layout.size)
    layout.fill_texts(image, "what stood here before")
    layout.put(image, values)
    return bytes(image)


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
