"""Frames for tests: a car at speed on lap 3, and whatever a test changes about it."""

import math
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from analytics.model.channels import CHANNELS, Channel
from ingest.telemetry_pb2 import TelemetryFrame

#: 2026-01-01T12:00:00Z
NOON_MS = 1_767_268_800_000


def frame(**changes: Any) -> TelemetryFrame:
    driven = {
        "timestamp": NOON_MS,
        "lap_time": 65_250,
        "throttle": 0.75,
        "speed": 212.5,
        "gear": 5,
        "rpm": 7350,
        "normalized_position": 0.375,
        "lap_number": 3,
        "sequence": 1,
    }
    return TelemetryFrame(**{**driven, **changes})


def frames(count: int) -> list[bytes]:
    """``count`` serialized frames at 60 Hz, numbered from 1."""
    return [
        frame(timestamp=NOON_MS + i * 50 // 3, sequence=i + 1).SerializeToString()
        for i in range(count)
    ]


_INT32 = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, -1, 127, 128, 2**31 - 1, -(2**31)])
_INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from(
    [0, 1, 2**53, 2**62, 2**63 - 1, -(2**63)]
)
_FLOAT = st.floats(width=32) | st.sampled_from([0.0, -0.0, float("nan"), float("inf")])
_OF_TYPE = {
    TelemetryFrame.DESCRIPTOR.fields_by_name["timestamp"].type: _INT64,
    TelemetryFrame.DESCRIPTOR.fields_by_name["lap_time"].type: _INT32,
    TelemetryFrame.DESCRIPTOR.fields_by_name["speed"].type: _FLOAT,
    TelemetryFrame.DESCRIPTOR.fields_by_name["pit"].type: _INT32,
}

#: Any frame that protobuf can carry, with any of its fields.
ANY_FRAME = st.fixed_dictionaries(
    {},
    optional={
        f.name: _OF_TYPE[f.type] for f in TelemetryFrame.DESCRIPTOR.fields if f.name != "blanked"
    },
).map(lambda fields: TelemetryFrame(**fields))


def _driven(channel: Channel) -> st.SearchStrategy[Any]:
    if channel.arrow == pa.float32():
        # Inwards to numbers that a float32 holds: its 1.01 is not quite ours.
        return st.floats(
            math.ceil(channel.low * 64) / 64, math.floor(channel.high * 64) / 64, width=32
        )
    return st.integers(
        int(channel.low or 0), int(2**31 - 1 if channel.high is None else channel.high)
    )


#: Frames that a car can drive.
DRIVEN_FRAME = st.fixed_dictionaries(
    {
        **{c.wire: _driven(c) for c in CHANNELS},
        "timestamp": st.integers(NOON_MS, NOON_MS + 10_000_000),
        "lap_number": st.integers(1, 100),
        "sequence": st.integers(0, 2**53 - 1),
    }
).map(lambda fields: TelemetryFrame(**fields))
