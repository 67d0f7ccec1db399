"""Simulated cars of one process: they neither step together nor keep the interpreter from each
other.
"""

import sys

import pytest

from ingest.collectors.delivery.sender import Sender
from ingest.collectors.simulator.circuit import val_sarine
from ingest.errors import PurpleSectorError
from ingest.settings import CollectorSettings, KafkaSettings
from ingest.telemetry_pb2 import Session
from serve.cli.collect import Instant, Outing, drive_cars

CARS = 4
RATE_HZ = 50.0
BEGUN = Instant(1_750_000_000_000, 100.0)


def drive(cars: int, stop=lambda: True) -> list[Session]:
    """The facts of the sessions that were opened, in the order of their drivers' seeds; no frame is
    sent.
    """
    opened: dict[str, Session] = {}

    def open_sender(told: Session, *, linger_ms: float) -> Sender:
        opened[told.driver] = told
        # Nobody listens there, and nobody is asked: the cars stop before their first frame.
        return Sender(
            KafkaSettings.read(brokers="127.0.0.1:1"),
            CollectorSettings.read(),
            told,
            linger_ms=linger_ms,
        )

    outing = Outing(val_sarine(), 1, RATE_HZ, 1.0, None, 0)
    drive_cars(
        outing, cars, "tests", open_sender, begun=BEGUN, stop=stop, quiet=True, controlled=[]
    )
    return list(opened.values())


def test_cars_begin_at_equal_distances_within_one_step():
    begun_ms = sorted(told.started_at - BEGUN.wall_ms for told in drive(CARS))

    assert begun_ms == [0, 5, 10, 15]


def test_a_car_begins_at_the_same_moment_on_both_clocks():
    begun = [BEGUN.of_car(car, cars=3, rate_hz=60.0) for car in range(3)]

    assert [one.wall_ms - BEGUN.wall_ms for one in begun] == [0, 6, 11]
    assert [one.monotonic_s - BEGUN.monotonic_s for one in begun] == pytest.approx(
        [0, 0.006, 0.011]
    )


def test_threads_get_the_interpreter_soon_while_cars_are_driven_and_only_then():
    before, seen = sys.getswitchinterval(), set()

    def stop() -> bool:
        seen.add(sys.getswitchinterval())
        return True

    drive(1, stop)

    assert max(seen) < 0.001
    assert sys.getswitchinterval() == before


def test_the_interpreter_is_given_up_as_before_where_a_car_cannot_be_driven():
    def open_sender(told: Session, *, linger_ms: float) -> Sender:
        raise PurpleSectorError("no room")

    before, outing = sys.getswitchinterval(), Outing(val_sarine(), 1, RATE_HZ, 1.0, None, 0)

    with pytest.raises(PurpleSectorError, match="no room"):
        drive_cars(
            outing,
            1,
            "tests",
            open_sender,
            begun=BEGUN,
            stop=lambda: True,
            quiet=True,
            controlled=[],
        )

    assert sys.getswitchinterval() == before
