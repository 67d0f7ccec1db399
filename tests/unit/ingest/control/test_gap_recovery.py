"""What is asked for, and how often."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.collectors.control.command_consumer import parse_command
from ingest.control.gap_recovery import Missing, resend_commands
from ingest.control.retry_schedule import FIRST_S, MOST, RetrySchedule
from ingest.telemetry_pb2 import CommandMessage


def asked_at(reminders: RetrySchedule, ids: list[int], *, until_s: int) -> list[int]:
    """The seconds at which the first of ``ids`` is asked for."""
    return [now for now in range(until_s) if ids[0] in reminders.due(ids, now=float(now))]


def test_what_is_missing_is_requested_soon_and_then_after_ever_longer_pauses():
    assert asked_at(RetrySchedule(), [7], until_s=100) == [3, 9, 21, 45, 93]


def test_nothing_is_requested_for_ever():
    reminders, now, times = RetrySchedule(), 0.0, 0
    for _ in range(2 * MOST):
        times += len(reminders.due([7], now=now))
        now += FIRST_S * 2**MOST

    assert times == MOST


def test_what_has_healed_is_forgotten():
    """Rows have numbers of their own, so that it does not come again; memory is not held for
    ever.
    """
    reminders = RetrySchedule()
    reminders.due([7], now=0.0)
    reminders.due([], now=1.0)

    assert reminders.due([7], now=FIRST_S) == set()
    assert reminders.due([7], now=1 + 2 * FIRST_S) == {7}


def test_each_row_has_its_own_pauses():
    reminders = RetrySchedule()
    reminders.due([1], now=0.0)
    reminders.due([1, 2], now=2.0)

    assert reminders.due([1, 2], now=3.0) == {1}
    assert reminders.due([1, 2], now=5.0) == {2}


def test_a_session_is_requested_once_for_all_that_is_missing():
    commands = resend_commands(
        [
            Missing(1, "a", "anna", ((30, 39), (50, 50))),
            Missing(2, "b", "ben", ((1, 4),)),
            Missing(3, "a", "anna", ((7, 9),)),
        ]
    )

    asked = {
        (c.user_id, c.session_id): [(r.from_sequence, r.to_sequence) for r in c.resend.ranges]
        for c in commands
    }
    assert asked == {("anna", "a"): [(7, 9), (30, 39), (50, 50)], ("ben", "b"): [(1, 4)]}
    assert len({c.id for c in commands}) == 2


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 1000)), max_size=1500))
def test_what_ingest_requests_a_collector_parses(holes):
    for command in resend_commands(
        [Missing(1, "a", "anna", tuple((first, first + more) for first, more in holes))]
    ):
        assert parse_command(CommandMessage(command=command).SerializeToString(), "anna") == command
