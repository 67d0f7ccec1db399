"""A value that cannot be blanks its channel, never the frame, and is counted: the same for
collectors, viewers and laps.
"""

import json
from math import inf, nan

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.json_format import MessageToDict

from analytics.laps.engine import advance
from analytics.laps.frame_arrays import FrameArrays
from analytics.model.channels import CHANNELS
from analytics.model.limits import LIMITS
from ingest.codec.blanking import blank_implausible, blanked_fields, plausible_frame
from ingest.codec.decode import decode
from ingest.telemetry_pb2 import TelemetryFrame, TelemetryMessage
from serve.bridge.live.decode import UndecodableRecord, read
from serve.bridge.live.hub import Hub, LiveRecord
from tests.unit.frames import NOON_MS, frame

IMPLAUSIBLE = [
    ("rpm", -62),
    ("speed", 3.4e38),
    ("speed", nan),
    ("heading", -inf),
    ("gear", 2147483647),
    ("lap_number", -1),
    ("lap_time", 2147483647),
]


def test_every_channel_has_limits_and_their_source():
    assert LIMITS.keys() == {channel.wire for channel in CHANNELS}
    assert all(limits.source for limits in LIMITS.values())


@pytest.mark.parametrize("field", LIMITS)
def test_both_judges_agree_at_the_limits(field):
    """One sees frames, the other columns of float32: a limit is the same number for both."""
    least, most, _ = LIMITS[field]
    inside = [
        plausible_frame({"timestamp": NOON_MS, "sequence": 1, field: value})
        for value in (least, most)
    ]
    is_float = isinstance(getattr(TelemetryFrame(), field), float)
    step = float(np.spacing(np.float32(most))) if is_float else 1
    outside = [frame(**{field: most + step})] if is_float else [frame(**{field: int(most) + 1})]
    answer = decode([one.SerializeToString() for one in (*inside, *outside)], [b"a"] * 3)

    assert [blanked_fields(one) for one in inside] == [(), ()]
    assert sum(answer.blanked.values()) == 1
    assert blank_implausible(outside[0]) == (field,)


@pytest.mark.parametrize(("field", "value"), IMPLAUSIBLE)
def test_viewer_gets_what_the_store_keeps(field, value):
    sent = frame(**{field: value}, brake=0.25)
    relayed = read(sent.SerializeToString(), "a")
    seen = TelemetryMessage.FromString(relayed.envelope.binary).telemetry

    assert relayed.blanked == (field,)
    assert blanked_fields(seen) == (field,)
    assert (getattr(seen, field), seen.brake) == (0, 0.25)


def test_frames_in_messages_and_json_are_judged_too():
    message = TelemetryMessage(frames=[frame(), frame(sequence=2, gear=2147483647)])
    batched = read(message.SerializeToString(), "a")
    written = read(json.dumps(MessageToDict(frame(gear=2147483647))).encode(), "a")

    assert batched.blanked == written.blanked == ("gear",)


def test_viewer_gets_the_bytes_of_a_plausible_frame():
    sent = frame().SerializeToString()

    assert sent in read(sent, "a").envelope.binary


@pytest.mark.parametrize("changes", [{"sequence": -1}, {"sequence": 2**53}])
def test_record_that_ingest_refuses_reaches_no_viewer(changes):
    with pytest.raises(UndecodableRecord, match="sequence"):
        read(frame(**changes).SerializeToString(), "a")


def test_bridge_counts_by_field():
    hub = Hub()
    hub.publish([LiveRecord("a", "anna", frame(rpm=-62).SerializeToString())] * 2, now=0.0)

    assert hub.blanked == {"rpm": 2}
    assert hub.unreadable == 0


def lap_frames(*, unknown_at: int | None = None) -> pa.Table:
    """Three laps of 20 s, 20 Hz; one frame does not know its lap, clock, position and speed."""
    values = []
    for i in range(1200):
        lap, clock_ms = divmod(i * 50, 20_000)
        some = frame(
            timestamp=NOON_MS + i * 50,
            sequence=i + 1,
            lap_number=lap + 1,
            lap_time=clock_ms,
            normalized_position=clock_ms / 20_000,
        )
        if i == unknown_at:
            some.lap_number, some.lap_time, some.normalized_position, some.speed = (
                -1,
                2147483647,
                nan,
                3.4e38,
            )
        values.append(some.SerializeToString())
    return decode(values, [b"a"] * len(values)).frames


@pytest.mark.parametrize("batch", [1200, 600, 1])
def test_unknown_value_costs_no_lap(batch):
    """As 0 the lap would have changed, the clock restarted and the car jumped to the line."""
    frames, timed, engine_state = lap_frames(unknown_at=600), {}, None
    for start in range(0, len(frames), batch):
        laps, engine_state = advance(frames.slice(start, batch), engine_state)
        timed |= {lap.lap_number: lap for lap in laps}
    whole, _ = advance(lap_frames(), None)

    assert [(lap.lap_number, lap.lap_time_ms, lap.flags) for lap in timed.values()] == [
        (lap.lap_number, lap.lap_time_ms, lap.flags)
        for lap in {lap.lap_number: lap for lap in whole}.values()
    ]


def test_unknown_value_holds_within_its_session():
    frames = pa.concat_tables([lap_frames().slice(0, 2), lap_frames(unknown_at=600).slice(600, 2)])
    arrays = FrameArrays.of(frames, 0.0, [(0, None), (2, None)])

    assert arrays.lap_number.tolist() == [1, 1, 2, 2]
    assert arrays.speed_kmh.tolist() == [212.5] * 4
