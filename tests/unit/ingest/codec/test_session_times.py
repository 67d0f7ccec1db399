"""Viewers see a car whose clock is wrong at the times that the store gives its frames."""

import pytest

from ingest.telemetry_pb2 import Session, TelemetryFrame, TelemetryMessage
from serve.bridge.live.hub import Hub, LiveRecord, Subscription
from serve.bridge.live.viewer import Viewer

NOON_MS = 1_767_268_800_000
MINUTES_6_MS = 360_000


class Watching:
    """A hub with a viewer of one session, and what it is sent. Times are ms after noon."""

    def __init__(self) -> None:
        self.hub, self.viewer = (
            Hub(),
            Viewer(as_text=False, wake=lambda: None, close=lambda _: None),
        )
        self.hub.join(self.viewer)
        self.hub.watch(self.viewer, Subscription("session", "spa"), now=0)

    def sent(
        self, message: TelemetryMessage | TelemetryFrame, *, at: int | None, behind: int = 0
    ) -> TelemetryMessage:
        appended_ms = 0 if at is None else NOON_MS + at
        self.hub.publish(
            [LiveRecord("spa", "anna", message.SerializeToString(), appended_ms, behind)], now=0
        )
        envelope = self.viewer.queue.take(now=0)
        return TelemetryMessage.FromString(envelope.payload(as_text=False))

    def frames(self, times: dict[int, int], *, at: int | None) -> list[int]:
        seen = [self.sent(frame(n, t), at=at) for n, t in times.items()]
        return [message.telemetry.timestamp - NOON_MS for message in seen]


def frame(sequence: int, at_ms: int) -> TelemetryFrame:
    return TelemetryFrame(timestamp=NOON_MS + at_ms, sequence=sequence, lap_number=1, rpm=7000)


@pytest.fixture
def watching() -> Watching:
    return Watching()


def test_right_clock_is_passed_on_as_it_came(watching):
    assert watching.frames({1: 16, 2: 32}, at=40) == [16, 32]


def test_clock_that_is_ahead(watching):
    assert watching.frames({1: MINUTES_6_MS, 2: MINUTES_6_MS + 16}, at=40) == [40, 56]


def test_clock_that_goes_back_while_the_sequences_go_on(watching):
    """The page draws no frame that is older than the one before: it would stand still for as long
    as the clock went back.
    """
    assert watching.frames({1: 16, 2: 32, 3: -9_968, 4: -9_952}, at=40) == [16, 32, 48, 64]


def test_clock_that_showed_to_be_a_year_behind(watching):
    year_ms = 365 * 86_400_000
    facts = TelemetryMessage(session=Session(track="Spa", started_at=NOON_MS - year_ms))
    assert watching.sent(facts, at=7, behind=year_ms).session.started_at == NOON_MS
    assert watching.frames({1: 16 - year_ms, 2: 32 - year_ms}, at=40) == [16, 32]
    assert watching.sent(facts, at=50).session.started_at == NOON_MS


def test_several_frames_in_one_message_move_together(watching):
    message = TelemetryMessage(frames=[frame(1, MINUTES_6_MS), frame(2, MINUTES_6_MS + 16)])
    seen = watching.sent(message, at=40)
    assert [one.timestamp - NOON_MS for one in seen.frames] == [40, 56], "as ingest places each"


def test_start_of_the_facts_is_not_in_the_future(watching):
    facts = TelemetryMessage(session=Session(track="Spa", started_at=NOON_MS + MINUTES_6_MS))
    assert watching.sent(facts, at=7).session.started_at == NOON_MS + 7
    assert watching.hub.sessions["spa"].facts is not None
    known = TelemetryMessage.FromString(watching.hub.sessions["spa"].facts.binary)
    assert known.session.started_at == NOON_MS + 7


def test_what_ingest_refuses_is_not_shown(watching):
    in_seconds = TelemetryFrame(timestamp=NOON_MS // 1000, sequence=1, lap_number=1, rpm=7000)
    watching.hub.publish(
        [LiveRecord("spa", "anna", in_seconds.SerializeToString(), NOON_MS)], now=0
    )
    assert watching.viewer.queue.take(now=0) is None
    assert watching.hub.unreadable == 1


def test_where_the_broker_does_not_state_when_nothing_is_moved(watching):
    assert watching.frames({1: MINUTES_6_MS}, at=None) == [MINUTES_6_MS]
