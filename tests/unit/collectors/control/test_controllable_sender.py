"""What replays and simulated cars do when they are commanded: send nothing, less, or all again."""

import pytest

from ingest.collectors.control.controllable_sender import ControllableSender
from ingest.collectors.delivery.statistics import Statistics
from ingest.collectors.replay_loop import collect
from ingest.telemetry_pb2 import Session, TelemetryFrame


class Arrivals:
    """A destination that remembers what arrives."""

    key = "s"
    has_room = True

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.facts: list[Session] = []

    @property
    def statistics(self) -> Statistics:
        return Statistics(frames_collected=len(self.frames))

    def send(self, frame: TelemetryFrame) -> None:
        self.frames.append(frame.timestamp)

    def describe(self, facts: Session) -> None:
        self.facts.append(facts)

    def poll(self, timeout_s: float) -> None:
        pass


@pytest.fixture
def arrivals() -> Arrivals:
    return Arrivals()


@pytest.fixture
def car(arrivals: Arrivals) -> ControllableSender:
    return ControllableSender(arrivals, Session(track="Imola", sample_rate=100))


def drive(car: ControllableSender, first_ms: int, last_ms: int) -> None:
    collect(
        (TelemetryFrame(timestamp=t) for t in range(first_ms, last_ms, 10)),
        car,
        speed=0,
        stop=lambda: False,
    )


def test_while_paused_frames_are_left_out(car: ControllableSender, arrivals: Arrivals) -> None:
    drive(car, 1_000, 1_030)
    car.pause()
    drive(car, 1_030, 1_060)
    assert (car.sending, car.statistics.frames_collected) == (False, 3)
    car.resume()
    drive(car, 1_060, 1_090)

    assert arrivals.frames == [1_000, 1_010, 1_020, 1_060, 1_070, 1_080]


def test_a_lower_rate_is_kept_to_and_in_the_facts(
    car: ControllableSender, arrivals: Arrivals
) -> None:
    car.limit_rate(20)
    drive(car, 1_000, 2_000)

    assert len(arrivals.frames) == pytest.approx(20, abs=2)
    assert [(facts.track, facts.sample_rate) for facts in arrivals.facts] == [("Imola", 20)]


def test_without_a_limit_all_frames_come_again(car: ControllableSender, arrivals: Arrivals) -> None:
    car.limit_rate(20)
    drive(car, 1_000, 1_100)
    car.limit_rate(0)
    drive(car, 1_100, 1_140)

    assert arrivals.frames[-4:] == [1_100, 1_110, 1_120, 1_130]
    assert arrivals.facts[-1].sample_rate == 100
