"""Numbers that mean "no time", in each message that carries a lap time: 0, -1 or 0xFFFFFFFF, which
have the same 32 bits, and 2^31 - 1.
"""

from collections.abc import Callable

import pytest

from ingest.codec.blanking import blank_implausible
from ingest.collectors.games.ac.udp_protocol import parse
from ingest.telemetry_pb2 import TelemetryFrame
from tests.unit import ac, acc
from tests.unit.acc import car_update, update
from tests.unit.collectors.games.test_ac_page_sessions import Followed as AcPages
from tests.unit.collectors.games.test_acc_broadcast_sessions import Watched


def by_ac_datagram(none_ms: int) -> list[TelemetryFrame]:
    remote = ac.Remote()
    remote.drive(4, lastLap=none_ms)
    return ac.frames(remote.said)


def by_ac_lap_datagram(none_ms: int) -> list[TelemetryFrame]:
    """A lap of its own datagram; the car's has none yet."""
    remote = ac.Remote()
    remote.lap_count = 2
    remote.drive(6, lastLap=0)
    remote.sessions.lap_done(parse(ac.lap(1, none_ms)))
    return ac.frames(remote.drive(4, lastLap=0))[-2:]


def by_ac_pages(none_ms: int) -> list[TelemetryFrame]:
    return ac.frames(AcPages().drive(4, graphics={"iLastTime": none_ms}))


def by_acc_pages(none_ms: int) -> list[TelemetryFrame]:
    return acc.frames(acc.Followed().drive(4, graphics={"iLastTime": none_ms}))


def by_acc_broadcasts(none_ms: int) -> list[TelemetryFrame]:
    watched = Watched()
    each = [(update(1000.0 + 50 * n), car_update(50 * n + 50)) for n in range(4)]
    sent = [one for session, car in each for one in (session, _without(car, none_ms))]
    return acc.frames(watched.take(*sent))


def _without(car: acc.CarUpdate, none_ms: int) -> acc.CarUpdate:
    return car_update(car.current_lap.time_ms, last_lap=acc.lap(none_ms))


@pytest.mark.parametrize("none_ms", [0, 2**31 - 1, 0xFFFFFFFF - 2**32])
@pytest.mark.parametrize(
    "told", [by_ac_datagram, by_ac_lap_datagram, by_ac_pages, by_acc_pages, by_acc_broadcasts]
)
def test_no_time_is_no_time_and_costs_no_frame(
    told: Callable[[int], list[TelemetryFrame]], none_ms: int
) -> None:
    frames, known = told(none_ms), told(107_123)

    assert len(frames) == len(known) >= 2
    for frame in frames:
        blank_implausible(frame)
        assert frame.last_lap_time == 0
        assert frame.lap_time > 0
    assert {frame.last_lap_time for frame in known} == {107_123}
