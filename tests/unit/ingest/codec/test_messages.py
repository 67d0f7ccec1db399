"""The JSON form of a message."""

import json
import math

from google.protobuf.json_format import Parse
from hypothesis import given
from hypothesis import strategies as st

from ingest.telemetry_pb2 import Lap, Session, TelemetryFrame, TelemetryMessage
from serve.bridge.live.outgoing import OutgoingMessage, json_text, missed, status


def test_zeros_are_written():
    """A released throttle is 0, not absent."""
    message = TelemetryMessage(telemetry=TelemetryFrame(timestamp=1), session_id="monza")

    frame = json.loads(json_text(message))["telemetry"]

    assert (frame["throttle"], frame["gear"], frame["lapTime"], frame["normalizedPosition"]) == (
        0,
        0,
        0,
        0,
    )


def test_names_are_those_of_the_contract():
    message = TelemetryMessage(telemetry=TelemetryFrame(timestamp=1), session_id="monza")

    names = list(json.loads(json_text(message))["telemetry"])

    assert names[:10] == [
        "timestamp",
        "lapTime",
        "throttle",
        "brake",
        "steering",
        "speed",
        "gear",
        "rpm",
        "normalizedPosition",
        "lapNumber",
    ]


def test_an_envelope_names_only_what_it_carries():
    assert json.loads(json_text(TelemetryMessage(lap=Lap(lap_number=3), session_id="monza"))) == {
        "lap": {
            "sessionId": "",
            "lapNumber": 3,
            "startedAt": 0,
            "lapTime": 0,
            "officialLapTime": 0,
            "sectorTimes": [],
            "flags": [],
            "frames": 0,
            "maxSpeed": 0,
            "colour": "",
            "sectorColours": [],
            "colourVersion": 0,
            "endedAt": 0,
        },
        "sessionId": "monza",
    }


def test_numbers_are_short_and_exact():
    message = TelemetryMessage(
        telemetry=TelemetryFrame(timestamp=1_700_000_000_123, throttle=0.3, speed=287.65)
    )

    text = json_text(message)

    assert '"timestamp":1700000000123,' in text
    assert '"throttle":0.3,' in text
    assert '"speed":287.65,' in text


def test_what_is_no_number_is_null():
    """JSON has no NaN, and a browser that meets one parses nothing of the message."""
    message = TelemetryMessage(telemetry=TelemetryFrame(speed=math.nan, brake=math.inf))

    frame = json.loads(json_text(message))["telemetry"]

    assert (frame["speed"], frame["brake"]) == (None, None)


# Not to the very end: printed in decimal, the largest floats are beyond what the JSON parser takes.
FLOATS = st.floats(-(2.0**127), 2.0**127, width=32)


@given(
    st.builds(
        TelemetryFrame,
        timestamp=st.integers(0, 2**53),
        speed=FLOATS,
        x=FLOATS,
        gear=st.integers(-1, 9),
    )
)
def test_json_reads_back_as_the_same_message(frame):
    message = TelemetryMessage(
        telemetry=frame, session=Session(track="Monza"), frames=[frame, frame]
    )

    assert Parse(json_text(message), TelemetryMessage()) == message


def test_the_text_is_made_once():
    envelope = OutgoingMessage(
        TelemetryMessage(session_id="monza").SerializeToString(), session="monza"
    )

    assert envelope.payload(as_text=True) is envelope.payload(as_text=True)
    assert envelope.payload(as_text=False) is envelope.binary


def test_words_about_the_stream():
    assert json.loads(status("demo", detail="for you").text())["status"]["state"] == "demo"
    assert json.loads(missed(12).text()) == {
        "status": {"state": "live", "missedFrames": 12, "detail": ""}
    }
