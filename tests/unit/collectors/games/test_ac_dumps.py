"""What the real game wrote and sent is read as the sheet beside the dumps says."""

import json

import pytest

from ingest.collectors.games.ac.frames import (
    facts_of_answer,
    facts_of_static,
    frame_of_car,
    frame_of_pages,
)
from ingest.collectors.games.ac.page_layout import (
    AC_VERSION,
    SIZES,
    parse_graphics,
    parse_physics,
    parse_static,
)
from ingest.collectors.games.ac.udp_protocol import parse
from ingest.collectors.games.shared_memory import Pages
from ingest.telemetry_pb2 import PitState
from tests.paths import SHARED

DATA = SHARED / "sim" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no dumps of real games at {DATA}")
EXPECTED = json.loads((DATA / "expected.json").read_text()) if DATA.is_dir() else {}
LAPS = sorted(name for name in EXPECTED if name.startswith("acudp_ps4_rtlap"))
DUMPS = Pages("ac_shm_physics_596.bin", "ac_shm_graphics_360.bin", "ac_shm_static_688.bin")


def real(name):
    return (DATA / name).read_bytes()


def told(name, *fields):
    return tuple(EXPECTED[name]["fields"][field] for field in fields)


@pytest.fixture
def dump():
    """As `SharedMemory` copies it: no more than is certain."""
    return Pages(*(real(name)[:size] for name, size in zip(DUMPS, SIZES, strict=True)))


def test_the_answer_to_a_handshake():
    name = "acudp_ps4_handshake_response_408.bin"

    assert parse(real(name)) == told(name, "carName", "driverName", "trackName", "trackConfig")
    assert facts_of_answer(parse(real(name))).track == "ks_silverstone", (
        "the layout of that name is the track itself"
    )


def test_the_car():
    name = "acudp_ps4_rtcarinfo_328.bin"
    fields = (
        "speed_Kmh",
        "isInPit",
        "lapTime",
        "lastLap",
        "lapCount",
        "gas",
        "brake",
        "engineRPM",
        "steer",
        "gear",
    )

    assert parse(real(name)) == told(name, *fields, "carPositionNormalized") + tuple(
        *told(name, "carCoordinates")
    )


@pytest.mark.parametrize("name", LAPS)
def test_the_laps(name):
    assert parse(real(name)) == told(name, "lap", "driverName", "carName", "time")


def test_the_frame_of_the_car():
    """It waits on the grid, in first gear, at 1283.04 rpm, which as an integer would be
    1,151,361,388.
    """
    frame = frame_of_car(parse(real("acudp_ps4_rtcarinfo_328.bin")), steering=0.0, last_lap_ms=0)

    assert (frame.gear, frame.rpm, frame.lap_number, frame.lap_time) == (1, 1283, 1, 684_044)
    assert (frame.x, frame.y, frame.z) == pytest.approx((-171.855, -2.865, 23.239), abs=0.001)
    assert (frame.pit, frame.last_lap_time) == (PitState.PIT_STATE_ON_TRACK, 0)


def test_physics(dump):
    fields = ("packetId", "gas", "brake", "gear", "rpms", "steerAngle", "speedKmh", "heading")

    assert parse_physics(dump.physics) == told(DUMPS.physics, *fields)


def test_graphics(dump):
    fields = (
        "packetId",
        "status",
        "session",
        "completedLaps",
        "iCurrentTime",
        "iLastTime",
        "isInPit",
    )
    fields += ("currentSectorIndex", "normalizedCarPosition")
    place = told(DUMPS.graphics, "carCoordinates")[0]

    assert parse_graphics(dump.graphics) == (
        *told(DUMPS.graphics, *fields),
        *place,
        *told(DUMPS.graphics, "isInPitLane"),
    )


def test_static(dump):
    fields = (
        "carModel",
        "track",
        "trackConfiguration",
        "playerName",
        "sectorCount",
        "trackSplineLength",
    )

    assert parse_static(dump.static) == told(DUMPS.static, *fields)
    assert dump.version == AC_VERSION == told(DUMPS.static, "smVersion")[0]


def test_the_frame_of_the_pages(dump):
    frame = frame_of_pages(parse_physics(dump.physics), parse_graphics(dump.graphics), steering=0.0)
    facts = facts_of_static(parse_static(dump.static), rate_hz=60)

    assert (frame.gear, frame.rpm, frame.lap_number, frame.lap_time) == (0, 850, 1, 103_398)
    assert (frame.x, frame.y, frame.z) == pytest.approx((-518.593, -82.326, -323.073), abs=0.001)
    assert (frame.sector, frame.heading) == (1, pytest.approx(0.369289, abs=1e-6))
    assert (facts.track, facts.car, facts.driver, facts.sector_count) == (
        "imola",
        "abarth500",
        "Player",
        3,
    )
    assert facts.track_length == pytest.approx(4864.107, abs=0.001)


def test_the_pages_of_competizione_are_not_taken_for_ours():
    assert Pages(b"", b"", real("acc_shm_static_2048.bin")).version != AC_VERSION
