"""What the real game wrote and sent is read as the sheet beside the dumps says."""

import json

import pytest

from ingest.collectors.games.acc import broadcast_protocol
from ingest.collectors.games.acc.broadcast_messages import (
    CarUpdate,
    EntryList,
    EntryListCar,
    Event,
    LapTimes,
    RegistrationResult,
    SessionUpdate,
    TrackData,
)
from ingest.collectors.games.acc.broadcasting_config import read_config
from ingest.collectors.games.acc.frames import build_frame
from ingest.collectors.games.acc.page_layout import (
    read_graphics,
    read_physics,
    read_place,
    read_static,
)
from ingest.collectors.games.shared_memory import Pages
from ingest.telemetry_pb2 import LapValidity, PitState
from tests.paths import SHARED

DATA = SHARED / "sim" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no dumps of real games at {DATA}")
EXPECTED = json.loads((DATA / "expected.json").read_text()) if DATA.is_dir() else {}
MESSAGES = sorted(name for name in EXPECTED if name.startswith("acc_bc_") and "_out_" not in name)


def fields(name):
    return EXPECTED[name]["fields"]


@pytest.fixture
def dump():
    return Pages(*((DATA / f"acc_shm_{name}_2048.bin").read_bytes() for name in Pages._fields))


def test_physics(dump):
    told = fields("acc_shm_physics_2048.bin")
    names = ("packetId", "gas", "brake", "gear", "rpms", "steerAngle", "speedKmh", "heading")

    assert read_physics(dump) == tuple(told[name] for name in names)


def test_graphics(dump):
    told = fields("acc_shm_graphics_2048.bin")
    names = (
        "status",
        "session",
        "completedLaps",
        "iCurrentTime",
        "iLastTime",
        "sessionTimeLeft",
        "isInPit",
    )
    names += (
        "currentSectorIndex",
        "normalizedCarPosition",
        "playerCarID",
        "isInPitLane",
        "sessionIndex",
        "isValidLap",
    )

    assert read_graphics(dump) == tuple(told[name] for name in names)
    assert read_place(dump, told["playerCarID"]) == tuple(told["carCoordinates"][:3])


def test_static(dump):
    told, read = fields("acc_shm_static_2048.bin"), read_static(dump.static)

    assert (read.version, read.car, read.track) == (
        told["smVersion"],
        told["carModel"],
        told["track"],
    )
    assert read.driver == f"{told['playerName']} {told['playerSurname']}"
    assert read.sector_count == told["sectorCount"]
    assert (read.configuration, read.skin) == (told["trackConfiguration"], told["carSkin"])
    assert read.is_acc


def test_the_pages_of_assetto_corsa_are_not_taken_for_accs():
    assert not read_static((DATA / "ac_shm_static_688.bin").read_bytes().ljust(820, b"\0")).is_acc


def test_the_frame_of_the_dump(dump):
    graphics = read_graphics(dump)
    place = read_place(dump, graphics.player_car_id)
    frame = build_frame(read_physics(dump), graphics, place, invalid=False)

    assert (frame.gear, frame.rpm, frame.lap_number, frame.lap_time) == (4, 6043, 2, 4910)
    assert (frame.last_lap_time, frame.sector) == (161_675, 1)
    assert frame.speed == pytest.approx(165.90, abs=0.01)
    assert (frame.pit, frame.validity) == (
        PitState.PIT_STATE_ON_TRACK,
        LapValidity.LAP_VALIDITY_VALID,
    )
    assert (frame.x, frame.y, frame.z) == pytest.approx((-1195.92, 24.07, -2077.78), abs=0.01)


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name):
    message, rest = broadcast_protocol.parse((DATA / name).read_bytes())

    assert rest == b""
    assert_told(message, fields(name))


def assert_told(message, told):
    match message:
        case RegistrationResult(connection, success, commands, error):
            assert (connection, success, commands, error) == (
                told["connectionId"],
                told["connectionSuccess"] > 0,
                told["commandRights"] > 0,
                told["errorMessage"],
            )
        case SessionUpdate():
            assert (message.event_index, message.session_index) == (
                told["eventIndex"],
                told["sessionIndex"],
            )
            assert (message.session_type, message.phase) == (told["sessionType"], told["phase"])
            assert (message.session_ms, message.remaining_ms) == (
                told["sessionTimeMs"],
                told["sessionEndTimeMs"],
            )
            assert (message.focused_car, message.replay_plays) == (
                told["focusedCarIndex"],
                told["isReplayPlaying"] > 0,
            )
            assert_lap(message.best_lap, told["bestSessionLap"])
        case CarUpdate():
            assert (message.car_index, message.driver_index) == (
                told["carIndex"],
                told["driverIndex"],
            )
            assert (message.driver_count, message.gear) == (told["driverCount"], told["gear"])
            assert (message.x_m, message.z_m, message.yaw_rad) == (
                told["worldPosX"],
                told["worldPosY"],
                told["yaw"],
            )
            assert (message.location, message.speed_kmh) == (told["carLocation"], told["kmh"])
            assert (message.spline_position, message.laps) == (told["splinePosition"], told["laps"])
            assert_lap(message.best_lap, told["bestSessionLap"])
            assert_lap(message.last_lap, told["lastLap"])
            assert_lap(message.current_lap, told["currentLap"])
        case EntryList(connection, cars):
            assert (connection, list(cars)) == (told["connectionId"], told["carIndexes"])
        case EntryListCar():
            assert (message.car_index, message.car_model) == (
                told["carIndex"],
                told["carModelType"],
            )
            assert (message.team, message.race_number) == (told["teamName"], told["raceNumber"])
            assert message.driver_index == told["currentDriverIndex"]
            assert [(d.first_name, d.last_name, d.short_name) for d in message.drivers] == [
                (d["firstName"], d["lastName"], d["shortName"]) for d in told["drivers"]
            ]
        case TrackData(connection, track, number, length_m):
            assert (connection, track, number, length_m) == (
                told["connectionId"],
                told["trackName"],
                told["trackId"],
                told["trackMeters"],
            )
        case Event(kind, text, session_ms, car):
            assert (kind, text, session_ms, car) == (
                told["type"],
                told["msg"],
                told["timeMs"],
                told["carId"],
            )


def assert_lap(lap: LapTimes, told):
    assert (lap.lap_time_ms, lap.car_index, lap.driver_index) == (
        told["laptimeMs"],
        told["carIndex"],
        told["driverIndex"],
    )
    assert list(lap.splits_ms) == told["splits"]
    assert (lap.invalid, lap.valid_for_best, lap.out_lap, lap.in_lap) == (
        told["isInvalid"] > 0,
        told["isValidForBest"] > 0,
        told["isOutlap"] > 0,
        told["isInlap"] > 0,
    )


def test_requests_are_what_others_send():
    assert (
        broadcast_protocol.request_entry_list(5)
        == (DATA / "acc_bc_out_10_request_entry_list.bin").read_bytes()
    )
    assert (
        broadcast_protocol.request_track_data(5)
        == (DATA / "acc_bc_out_11_request_track_data.bin").read_bytes()
    )
    # But for the password of commands, which we have no use for: three bytes and their count.
    registration = (DATA / "acc_bc_out_1_register_prule_sim.bin").read_bytes()
    assert broadcast_protocol.register("Test", "asd", 1000) == registration[:-5] + b"\0\0"


def test_broadcasting_json():
    config = read_config((DATA / "broadcasting_json_178.bin").read_bytes())

    assert (config.port, config.password) == (0, "moza")
