"""Of a datagram all is right, or it is malformed, by a name that can be counted."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analytics.model.limits import is_plausible
from ingest.codec.blanking import blanked_fields
from ingest.collectors.games.ac import udp_protocol
from ingest.collectors.games.ac.frames import facts_of_answer, frame_of_car
from ingest.collectors.games.ac.udp_protocol import InvalidDatagram, parse
from tests.game_emulators.ac_packets import CAR_INFO, RESPONSE, Request, read_request
from tests.unit import ac


@pytest.mark.parametrize(
    ("request_", "operation"),
    [("HANDSHAKE", 0), ("SUBSCRIBE_UPDATE", 1), ("SUBSCRIBE_SPOT", 2), ("UNSUBSCRIBE", 3)],
)
def test_requests(request_, operation):
    assert read_request(getattr(udp_protocol, request_)) == Request(1, 1, operation)


def test_a_car():
    car = parse(ac.info())

    assert (car.speed_kmh, car.lap_time_ms, car.last_lap_ms, car.lap_count) == (
        180.0,
        50_000,
        107_123,
        2,
    )
    assert (car.rpm, car.steer_deg, car.gear, car.position) == (7000.25, -90.0, 5, 0.5)
    assert not car.in_pit
    assert parse(ac.info(isInPit=1)).in_pit


def test_the_frame_of_a_car():
    frame = frame_of_car(parse(ac.info(gear=0)), steering=-0.2, last_lap_ms=107_123)

    assert (frame.lap_number, frame.gear, frame.rpm, frame.last_lap_time) == (3, -1, 7000, 107_123)
    assert frame.steering == pytest.approx(-0.2)
    assert (frame.heading, frame.sector, frame.validity) == (0, 0, 0), (
        "what is not told is not known"
    )


def test_a_layout_belongs_to_the_track():
    assert facts_of_answer(parse(ac.answer())).track == "ks_nurburgring/layout_gp"
    assert facts_of_answer(parse(ac.answer(trackConfig=""))).track == "ks_nurburgring"


def test_a_text_may_end_with_nul_and_hold_any_letter():
    datagram = bytearray(ac.answer(driverName="Łukasz Škoda 梅"))
    datagram[:8] = "mx5\0".encode("utf-16-le")

    assert parse(datagram)[:2] == ("mx5", "Łukasz Škoda 梅")


@pytest.mark.parametrize("field", ["carName", "driverName", "trackName", "trackConfig"])
def test_a_text_without_end(field):
    datagram = bytearray(ac.answer())
    place = RESPONSE.fields[field].offset
    datagram[place : place + 100] = ("x" * 50).encode("utf-16-le")

    assert kind(datagram).endswith(" without end")


@pytest.mark.parametrize("size", [0, 1, 12, 211, 213, 327, 329, 407, 409, 1500, 65_507])
def test_other_sizes(size):
    assert kind(bytes(size)) == "datagram of unknown size"


@pytest.mark.parametrize(
    ("datagram", "wrong"),
    [
        (ac.answer(version=2), "protocol version not known"),
        (ac.answer(identifier=0), "answer without its identifier"),
        (ac.answer(carName=""), "answer without a car or a track"),
        (ac.info(identifier=ord("b")), "car without its identifier"),
        (ac.info(size=324), "car of another size than it states"),
    ],
)
def test_malformed(datagram, wrong):
    assert kind(datagram) == wrong


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"speed_Kmh": float("nan")}, "speed"),
        ({"engineRPM": float("inf")}, "rpm"),
        ({"engineRPM": 3e38}, "rpm"),
        ({"engineRPM": -1000.0}, "rpm"),
        ({"gear": 77}, "gear"),
        ({"carCoordinates": (1e30, 0.0, 0.0)}, "x"),
        ({"carCoordinates": (0.0, 0.0, -float("inf"))}, "z"),
        ({"lapCount": -1}, "lap_number"),
        ({"lapCount": 2**31 - 1}, "lap_number"),
        ({"lapTime": -5}, "lap_time"),
        ({"carPositionNormalized": 7.0}, "normalized_position"),
        ({"carPositionNormalized": float("nan")}, "normalized_position"),
    ],
)
def test_implausible_value_costs_no_frame(fields, name):
    """It was a datagram that was thrown away until 622aa62."""
    frame = frame_of_car(parse(ac.info(**fields)), steering=0.25, last_lap_ms=0)

    assert blanked_fields(frame) == (name,)
    assert getattr(frame, name) == 0
    assert frame.steering == 0.25


@given(
    st.binary(max_size=500)
    | st.binary(min_size=212, max_size=212)
    | st.binary(min_size=408, max_size=408)
)
def test_any_bytes_are_a_message_or_malformed(datagram):
    kind(datagram)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                (f.name, f.kind)
                for f in CAR_INFO.fields.values()
                if f.count == 1 and f.kind in "if" and f.name != "size"
            ]
        ),
        st.integers(-(2**31), 2**31 - 1),
    )
)
@example({("engineRPM", "f"): 0x7FC00000, ("lapCount", "i"): 2**31 - 1})
def test_any_numbers_make_a_frame_that_ingest_takes(values):
    """Floats by their bits, so that there are NaNs, infinities and tiny ones."""
    fields = {
        name: number if kind == "i" else _float(number) for (name, kind), number in values.items()
    }
    frame = frame_of_car(
        parse(ac.info(**fields)), steering=0.0, last_lap_ms=fields.get("lastLap", 0)
    )
    lap = fields.get("lapCount", 2) + 1
    counts = lap >= 1 and is_plausible("lap_number", lap)
    assert ("lap_number" in blanked_fields(frame)) is not counts
    assert frame.lap_number == (lap if counts else 0)
    speed = fields.get("speed_Kmh", 180.0)
    known = is_plausible("speed", speed)
    assert ("speed" in blanked_fields(frame)) is not known
    assert frame.speed == pytest.approx(speed if known else 0.0)
    assert 0 <= frame.last_lap_time < 2**31 - 1


def _float(bits):
    return struct.unpack("<f", struct.pack("<i", bits))[0]


def kind(datagram):
    """Of what is wrong with it; None: nothing."""
    try:
        parse(bytes(datagram))
    except InvalidDatagram as wrong:
        return wrong.kind
    return None
