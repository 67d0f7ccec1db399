"""Commands to collectors: which are for this user, and what becomes of those that nobody can
mean.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collectors.control.command_consumer import (
    LARGEST_COMMAND_BYTES,
    MOST_RANGES,
    CommandConsumer,
    InvalidCommand,
    parse_command,
)
from ingest.errors import BrokerUnavailable
from ingest.settings import KafkaSettings
from ingest.telemetry_pb2 import (
    Command,
    CommandMessage,
    GetStatus,
    Pause,
    ReportSessions,
    Resend,
    Resume,
    SampleRate,
    SequenceRange,
    StatusReport,
)

ORDERS = [
    {"resume": Resume()},
    {"pause": Pause()},
    {"get_status": GetStatus()},
    {"report_sessions": ReportSessions()},
    {"sample_rate": SampleRate(rate=20)},
    {"session_id": "s", "resend": Resend(ranges=[SequenceRange(from_sequence=3, to_sequence=9)])},
]
NOT_FOR_ALL = [order for order in ORDERS if "report_sessions" not in order]


def told(**command) -> bytes:
    return CommandMessage(command=Command(id="1", **command)).SerializeToString()


def resend(*ranges: tuple[int, int], session: str = "s") -> bytes:
    named = [SequenceRange(from_sequence=first, to_sequence=last) for first, last in ranges]
    return told(user_id="anna", session_id=session, resend=Resend(ranges=named))


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: list(order)[-1])
def test_command_for_this_user_is_parsed(order):
    assert parse_command(told(user_id="anna", **order), "anna") == Command(
        id="1", user_id="anna", **order
    )


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: list(order)[-1])
def test_command_for_another_user_is_none(order):
    assert parse_command(told(user_id="ben", **order), "anna") is None


def test_roll_call_may_be_for_everybody():
    assert parse_command(told(report_sessions=ReportSessions()), "anna") == Command(
        id="1", report_sessions=ReportSessions()
    )


@pytest.mark.parametrize("order", NOT_FOR_ALL, ids=lambda order: list(order)[-1])
def test_no_other_order_is_for_everybody(order):
    """One record with an empty field would stop every car."""
    with pytest.raises(InvalidCommand, match="everybody"):
        parse_command(told(**order), "anna")


def test_answer_is_no_command():
    answer = CommandMessage(status_report=StatusReport(user_id="anna"))
    with pytest.raises(InvalidCommand, match="no command"):
        parse_command(answer.SerializeToString(), "anna")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\x0a" + bytes(LARGEST_COMMAND_BYTES), "too large"),
        (b"\xff\xff", "no command"),
        (b'{"pause": {}}', "no command"),
        (CommandMessage().SerializeToString() + b"\x78\x01", "no command"),
        (told(user_id="anna"), "an order that is not known"),
        (
            told(user_id="anna", sample_rate=SampleRate(rate=float("nan"))),
            "a sample rate that no game has",
        ),
        (told(user_id="anna", sample_rate=SampleRate(rate=-1)), "a sample rate that no game has"),
        (told(user_id="anna", sample_rate=SampleRate(rate=1e9)), "a sample rate that no game has"),
        (resend((1, 2), session=""), "resend without a session"),
        (resend(), "resend of nothing"),
        (resend(*[(1, 2)] * (MOST_RANGES + 1)), "resend of too many ranges"),
        (resend((0, 2)), "resend of a range that is none"),
        (resend((1, 9), (5, 4)), "resend of a range that is none"),
        (resend((1, 2**53)), "resend of a range that is none"),
    ],
)
def test_what_nobody_can_mean_has_a_kind(value, kind):
    with pytest.raises(InvalidCommand) as mistake:
        parse_command(value, "anna")

    assert str(mistake.value) == kind


def test_order_of_a_later_version_is_not_known():
    """Field 15 of a command is none of ours: an order that an old collector cannot follow."""
    with pytest.raises(InvalidCommand, match="not known"):
        parse_command(_with(told(user_id="anna"), b"\x7a\x00"), "anna")


def test_fields_of_a_later_version_do_no_harm():
    command = parse_command(_with(told(user_id="anna", pause=Pause()), b"\x98\x06\x01"), "anna")

    assert command is not None
    assert command.WhichOneof("order") == "pause"


def _with(message: bytes, more: bytes) -> bytes:
    """A message with more fields in its command, which is shorter than 128 bytes."""
    return message[:1] + bytes([message[1] + len(more)]) + message[2:] + more


KINDS = {
    "empty", "too large", "no command", "an order that is not known", "an order to everybody",
    "a sample rate that no game has", "resend without a session", "resend of nothing",
    "resend of too many ranges",
    "resend of a range that is none",
}  # fmt: skip


def assert_survives(value: bytes) -> None:
    try:
        command = parse_command(value, "anna")
    except InvalidCommand as mistake:
        kind = str(mistake)
    else:
        assert command is None or command.WhichOneof("order") is not None
        return
    assert kind in KINDS


@given(st.binary(max_size=300))
def test_any_bytes_are_a_command_or_a_kind_of_mistake(value):
    assert_survives(value)


@given(st.sampled_from(ORDERS), st.data())
def test_any_damage_to_a_command_is_one_too(order, data):
    value = bytearray(told(user_id="anna", **order))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    assert_survives(bytes(value[: data.draw(st.integers(0, len(value)))]))


def test_a_certificate_that_cannot_be_read_is_reported(tmp_path):
    """When the collector starts, not in the middle of a lap."""
    settings = KafkaSettings(
        _env_file=None, security_protocol="SSL", ca_file=str(tmp_path / "away.pem")
    )

    with pytest.raises(BrokerUnavailable, match=r"ssl\.ca\.location"):
        CommandConsumer(settings, "anna")
