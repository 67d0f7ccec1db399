"""Times that no driver can have driven at: the frames stay, in their order and spacing, at the
broker's time, and are marked.
"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.batching.clock_corrections import place_in_time
from ingest.batching.sequence_set import SequenceSet
from ingest.batching.write_batch import OpenSession
from ingest.codec.decode import Decoded, decode
from ingest.codec.session_times import MOST_CORRECTIONS, Correction, SessionTimes
from ingest.telemetry_pb2 import Session, TelemetryMessage
from tests.unit.frames import NOON_MS, frame

SECOND_MS = 1000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
YEAR_MS = 365 * 24 * HOUR_MS
STEP_MS = 16


class Session60Hz:
    """What a worker remembers of one session, and what it reads of it. Times are ms after noon."""

    def __init__(self) -> None:
        self.car = OpenSession(7, "spa", SequenceSet())
        self.corrections: list[Correction] = []
        self.last: Decoded

    def read(self, times: dict[int, int] | list[int], *, at: int, behind: int = 0) -> list[int]:
        """Where frames with these times, by sequence or without, are placed when the broker gets
        them ``at``.
        """
        numbered = times.items() if isinstance(times, dict) else ((0, t) for t in times)
        values = [frame(timestamp=NOON_MS + t, sequence=n).SerializeToString() for n, t in numbered]
        return self.read_values(values, at=at, behind=behind)

    def read_values(self, values: list[bytes], *, at: int, behind: int = 0) -> list[int]:
        decoded = decode(values, [b"spa"] * len(values))
        appended_ms = np.full(len(values), NOON_MS + at)
        cars = dict.fromkeys(decoded.sessions, self.car)
        self.last, corrections = place_in_time(
            decoded, cars, appended_ms, {"spa": behind} if behind else {}
        )
        self.corrections += corrections
        sequences = self.last.frames["sequence"].drop_null().to_numpy()
        self.car.received.add(sequences)
        placed = [int(t.timestamp() * 1000) - NOON_MS for t in self.last.frames["time"].to_pylist()]
        if placed and self.car.started_at_ms is None:
            self.car.started_at_ms = NOON_MS + placed[0]
        return placed

    @property
    def rejected(self) -> list[tuple[int, str]]:
        return [(r.record, r.reason) for r in self.last.rejected]


@pytest.fixture
def session() -> Session60Hz:
    return Session60Hz()


def steps(first: int, count: int, *, ahead: int = 0) -> dict[int, int]:
    """Frames from sequence ``first`` on, at 60 Hz, of a clock that is ``ahead``."""
    return {n: n * STEP_MS + ahead for n in range(first, first + count)}


def test_right_clock_is_left_alone(session):
    assert session.read(steps(1, 5), at=80) == [16, 32, 48, 64, 80]
    assert session.corrections == []


def test_clock_may_be_five_minutes_ahead(session):
    assert session.read({1: 5 * MINUTE_MS}, at=0) == [5 * MINUTE_MS]
    assert session.corrections == []


@pytest.mark.parametrize(
    "ahead",
    [5 * MINUTE_MS + 200, 6 * MINUTE_MS, 3 * HOUR_MS, 2 * YEAR_MS, 80 * YEAR_MS, -20 * YEAR_MS],
)
def test_frames_of_a_wrong_clock_are_kept_in_order_and_spacing(session, ahead):
    placed = session.read(steps(1, 3, ahead=ahead), at=100)
    placed += session.read(steps(4, 3, ahead=ahead), at=150)

    assert placed == [100, 116, 132, 148, 164, 180]
    (correction,) = session.corrections
    assert (correction.session_id, correction.from_sequence, correction.offset_ms) == (
        7,
        0,
        84 - ahead,
    )
    assert correction.placed_ms == NOON_MS + 100
    assert session.rejected == []


def test_clock_that_starts_in_1970_is_a_wrong_clock(session):
    assert session.read({1: 5 * HOUR_MS - NOON_MS, 2: 5 * HOUR_MS - NOON_MS + STEP_MS}, at=0) == [
        0,
        STEP_MS,
    ]


def test_frames_that_are_sent_again_come_to_the_same_time(session):
    first = session.read(steps(1, 6, ahead=HOUR_MS), at=0)
    assert session.read(steps(1, 6, ahead=HOUR_MS), at=40 * SECOND_MS) == first
    assert len(session.corrections) == 1


def test_who_takes_over_goes_on_with_the_stored_correction(session):
    session.read(steps(1, 3, ahead=HOUR_MS), at=0)
    successor = Session60Hz()
    successor.car.received.add(np.array([1, 2, 3]))
    (stored,) = session.corrections
    successor.car.times = SessionTimes.restored(session.car.times.state)
    successor.car.times.correct(stored.from_sequence, stored.offset_ms)

    assert successor.read(steps(4, 2, ahead=HOUR_MS), at=70) == [48, 64]
    assert successor.corrections == []


@pytest.mark.parametrize("jump", [6 * MINUTE_MS, -10 * SECOND_MS, -2 * HOUR_MS, 30 * YEAR_MS])
def test_clock_that_jumps_moves_no_frame(session, jump):
    """It is set, by hand or by the network, while the sequences go on."""
    placed = session.read(steps(1, 3), at=48)
    placed += session.read(steps(4, 3, ahead=jump), at=96)
    placed += session.read(steps(7, 2, ahead=jump), at=128)

    assert placed == [n * STEP_MS for n in range(1, 9)]
    (correction,) = session.corrections
    assert (correction.from_sequence, correction.offset_ms) == (4, -jump)


def test_clock_that_is_set_right_moves_no_frame(session):
    assert session.read(steps(1, 2, ahead=HOUR_MS), at=32) == [32, 48]
    assert session.read(steps(3, 2), at=64) == [64, 80]
    assert [c.from_sequence for c in session.corrections] == [0, 3]


def test_pause_during_which_the_clock_was_set_is_as_long_as_the_broker_saw(session):
    session.read(steps(1, 2), at=32)
    assert session.read({3: -HOUR_MS}, at=32 + MINUTE_MS) == [32 + MINUTE_MS]


def test_fast_clock_is_no_jump(session):
    """Frames that drift over the limit, or a recording that is sent quicker than it was driven, go
    on as they are.
    """
    placed = session.read({n: n * MINUTE_MS for n in range(1, 30)}, at=SECOND_MS)
    assert placed == [n * MINUTE_MS for n in range(1, 30)]
    assert session.corrections == []


def test_late_frame_has_the_correction_of_its_own_sequence(session):
    session.read({n: t for n, t in steps(1, 6).items() if n != 3}, at=96)
    session.read(steps(7, 4, ahead=-HOUR_MS), at=160)
    assert session.read({3: 48}, at=MINUTE_MS) == [48]


def test_late_frame_from_behind_a_jump_has_the_next_correction(session):
    session.read(steps(1, 3), at=48)
    session.read(steps(8, 3, ahead=HOUR_MS), at=160)
    assert session.read(steps(5, 2, ahead=HOUR_MS), at=200) == [5 * STEP_MS, 6 * STEP_MS]


def test_frame_before_its_session_began_is_placed_by_the_broker(session):
    session.car.times.expect_start(NOON_MS, NOON_MS)
    assert session.read({1: -HOUR_MS}, at=20) == [-HOUR_MS]
    assert Session60Hz().read({1: 0}, at=0) == [0]

    other = Session60Hz()
    other.car.times.expect_start(NOON_MS, NOON_MS)
    assert other.read({1: -HOUR_MS - 1, 2: -HOUR_MS + 15}, at=20) == [20, 36]


def test_recorded_session_of_years_ago_is_fine(session):
    """A replay keeps its own times."""
    assert session.read(steps(1, 3, ahead=-5 * YEAR_MS), at=0) == [
        n * STEP_MS - 5 * YEAR_MS for n in (1, 2, 3)
    ]


def test_frames_without_a_sequence_are_kept_too(session):
    assert session.read([0, HOUR_MS, HOUR_MS + 16, 40], at=32) == [0, 16, 32, 40]
    assert len(session.corrections) == 1


def test_clock_without_sense_ends_in_dead_letters_not_in_a_thousand_corrections(session):
    jumps = {n: n * HOUR_MS if n % 2 else 0 for n in range(1, 4 * MOST_CORRECTIONS)}
    session.read(jumps, at=0)

    assert len(session.corrections) == MOST_CORRECTIONS
    assert session.rejected[0][1].startswith("time: ")
    assert len(session.rejected) < len(jumps)


def test_start_of_the_facts_follows_the_frames(session):
    def facts(started_at: int) -> bytes:
        message = Session(id="spa", track="Spa", started_at=NOON_MS + started_at)
        return TelemetryMessage(session=message, session_id="spa").SerializeToString()

    def starts() -> list[int]:
        return [f.message.started_at for f in session.last.facts]

    session.read_values([facts(HOUR_MS)], at=0)
    assert starts() == [0], "not known: nothing has said yet how wrong the clock is"
    session.read_values(
        [facts(HOUR_MS), frame(timestamp=NOON_MS + HOUR_MS, sequence=1).SerializeToString()], at=10
    )
    assert starts() == [NOON_MS + 10]
    session.read_values([facts(HOUR_MS)], at=2 * HOUR_MS)
    assert starts() == [NOON_MS + 10], "a collector that tells again says the same"


def test_facts_of_a_right_clock_are_what_they_are(session):
    message = TelemetryMessage(
        session=Session(track="Spa", started_at=NOON_MS - 5)
    ).SerializeToString()
    session.read_values([message], at=0)
    assert session.last.facts[0].message.started_at == NOON_MS - 5


def test_clock_that_is_years_behind_from_the_start_is_moved_by_as_much(session):
    """Its frames waited an hour for the broker: the spacing and the hour stay."""
    late = {n: time - HOUR_MS for n, time in steps(1, 3, ahead=-10 * YEAR_MS).items()}
    assert session.read(late, at=60, behind=10 * YEAR_MS) == [t - HOUR_MS for t in (16, 32, 48)]
    assert session.read(steps(4, 2, ahead=-10 * YEAR_MS - HOUR_MS), at=90) == [
        64 - HOUR_MS,
        80 - HOUR_MS,
    ]
    ((first, offset_ms, reason),) = [
        (c.from_sequence, c.offset_ms, c.reason) for c in session.corrections
    ]
    assert (first, offset_ms, reason) == (0, 10 * YEAR_MS, "315360000 s behind the broker's clock")


def test_clock_that_is_found_behind_when_frames_are_stored_already_moves_none(session):
    assert session.read(steps(1, 2), at=60) == [16, 32]
    assert session.read(steps(3, 2), at=60, behind=YEAR_MS) == [48, 64]
    assert session.corrections == []


def test_recording_on_a_pc_whose_clock_is_behind_is_not_moved_into_the_future(session):
    assert session.read(steps(1, 2, ahead=-HOUR_MS), at=60, behind=YEAR_MS) == [60, 76]
    assert len(session.corrections) == 1


def test_facts_of_a_clock_that_is_behind_are_moved_with_the_frames(session):
    told = TelemetryMessage(
        session=Session(track="Spa", started_at=NOON_MS - YEAR_MS)
    ).SerializeToString()
    started = [
        session.last.facts[0].message.started_at
        for _ in [session.read_values([told], at=5, behind=YEAR_MS)]
    ]
    session.read(steps(1, 2, ahead=-YEAR_MS), at=60)
    session.read_values([told], at=90)
    assert [*started, session.last.facts[0].message.started_at] == [NOON_MS, NOON_MS]


def test_sessions_are_judged_by_themselves():
    cars = {key: OpenSession(n, key, SequenceSet()) for n, key in enumerate(["spa", "monza"])}
    values = [frame(timestamp=NOON_MS + t, sequence=1).SerializeToString() for t in (HOUR_MS, 5)]
    decoded, corrections = place_in_time(
        decode(values, [b"spa", b"monza"]), cars, np.full(2, NOON_MS)
    )

    assert [int(t.timestamp() * 1000) - NOON_MS for t in decoded.frames["time"].to_pylist()] == [
        0,
        5,
    ]
    assert [c.session_id for c in corrections] == [0]


def test_earlier_rejections_are_kept(session):
    session.read_values(
        [b"\x0c", frame(timestamp=NOON_MS + HOUR_MS, sequence=1).SerializeToString()], at=0
    )
    assert [record for record, _ in session.rejected] == [0]


def test_nothing_to_judge(session):
    assert session.read([], at=0) == []


@given(
    st.lists(
        st.sampled_from([STEP_MS, STEP_MS, STEP_MS, 6 * MINUTE_MS, -10 * SECOND_MS, -3 * HOUR_MS]),
        max_size=30,
    ),
    st.integers(1, 7),
)
def test_placed_frames_go_on_and_the_batches_do_not_matter_to_those_sent_again(jumps, batch):
    """Whatever the clock does: no frame before the one that it follows, and each at one time for
    ever.
    """
    session, clock, sent = Session60Hz(), 0, {}
    for n, jump in enumerate(jumps, 1):
        clock += jump if n > 1 else STEP_MS
        sent[n] = clock
    numbers, placed = list(sent), []
    for start in range(0, len(numbers), batch):
        part = numbers[start : start + batch]
        placed += session.read({n: sent[n] for n in part}, at=part[-1] * STEP_MS)

    assert all(after > before for before, after in pairwise(placed))
    assert all(abs(t) < 7 * MINUTE_MS for t in placed)
    assert session.read(sent, at=len(sent) * STEP_MS) == placed
