import pytest

from analytics.channels import CHANNELS
from ingest.collectors.sound import LIMITS, unsound
from ingest.telemetry_pb2 import TelemetryFrame


def test_limits_are_those_of_ingest():
    named = {c.wire: (c.low, c.high) for c in CHANNELS if c.wire not in {"pit", "validity"}}
    for wire, (low, high) in named.items():
        assert LIMITS[wire] == (low, 2**31 - 1 if high is None else high), wire
    assert LIMITS.keys() == named.keys()


def test_sound_frame_has_no_fault():
    assert unsound(TelemetryFrame(timestamp=1, lap_number=1, speed=100, gear=3, normalized_position=0.5)) is None


@pytest.mark.parametrize("name", ["speed", "steering", "normalized_position", "x", "heading"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite(name, value):
    assert unsound(TelemetryFrame(**{name: value})) == f"{name} not finite"


@pytest.mark.parametrize(("name", "value"), [("speed", 701), ("gear", 21), ("lap_time", -1), ("throttle", 1.1)])
def test_out_of_range(name, value):
    assert unsound(TelemetryFrame(**{name: value})) == f"{name} out of range"
