"""What viewers may say: strictly parsed, politely refused."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codec.record_format import session_of
from serve.bridge.live.client_messages import (
    InvalidMessage,
    LogIn,
    MessageBudget,
    Ping,
    Reply,
    StartDemo,
    StopDemo,
    Subscribe,
    Unsubscribe,
    parse,
)
from serve.bridge.live.hub import Subscription


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ('{"type": "subscribe", "session": "monza"}', Subscribe(Subscription("session", "monza"))),
        ('{"type": "subscribe", "userId": "anna"}', Subscribe(Subscription("user", "anna"))),
        (
            '{"type": "unsubscribe", "session": "monza"}',
            Unsubscribe(Subscription("session", "monza")),
        ),
        ('{"type": "start_demo"}', StartDemo()),
        ('{"type": "START_DEMO"}', StartDemo()),
        ('{"type": "start_demo", "seed": 7}', StartDemo(7)),
        ('{"type": "stop_demo"}', StopDemo()),
        ('{"type": "STOP_DEMO"}', StopDemo()),
        ('{"type": "ping"}', Ping()),
        ('{"type": "auth", "token": "x"}', LogIn("x")),
    ],
)
def test_what_is_parsed(text, request_):
    assert parse(text) == request_


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "one JSON object"),
        ("ping", "one JSON object"),
        ("[]", "want a JSON object"),
        ("null", "want a JSON object"),
        ("{}", "type must be one of subscribe"),
        ('{"type": 1}', "type must be one of"),
        ('{"type": "PING"}', "type must be one of"),
        ('{"type": "shutdown"}', "type must be one of"),
        ('{"type": "ping", "type": "ping"}', "repeated keys"),
        ('{"type": "ping", "session": "monza"}', "ping has no field 'session'"),
        ('{"type": "subscribe"}', "either session or userId"),
        ('{"type": "auth"}', "wants a token"),
        ('{"type": "auth", "token": ""}', "wants a token"),
        ('{"type": "auth", "token": 1}', "wants a token"),
        ('{"type": "auth", "token": "x", "role": "operator"}', "no field 'role'"),
        ('{"type": "subscribe", "session": "a", "userId": "b"}', "either session or userId"),
        ('{"type": "subscribe", "session": ""}', "1 to 256 bytes"),
        ('{"type": "subscribe", "session": 5}', "1 to 256 bytes"),
        ('{"type": "subscribe", "session": "a\\u0000b"}', "printable"),
        ('{"type": "subscribe", "session": "\\ud800"}', "printable"),
        (f'{{"type": "subscribe", "session": "{257 * "x"}"}}', "1 to 256 bytes"),
        ('{"type": "start_demo", "seed": true}', "seed must be a whole number"),
        ('{"type": "start_demo", "seed": NaN}', "one JSON object"),
        ('{"type": "start_demo", "seed": 1e999}', "seed must be a whole number"),
        ('{"type": "start_demo", "seed": ' + "9" * 5000 + "}", "one JSON object"),
        ("[" * 10_000, "one JSON object"),
        (" " * 17_000, "at most 16384 bytes"),
    ],
)
def test_what_is_refused_and_why(text, words):
    with pytest.raises(InvalidMessage, match=words):
        parse(text)


@pytest.mark.parametrize(
    "key", [256 * "x", "ann\u00a0lee", "\u5c71\u7530\u3000\u592a\u90ce", "\ue000", "a/b"]
)
def test_what_a_record_can_name_can_be_watched(key):
    """A session that is stored and shown in the list is of no use if the bridge refuses its
    name.
    """
    assert session_of(key.encode()) == key
    assert parse(json.dumps({"type": "subscribe", "session": key})) == Subscribe(
        Subscription("session", key)
    )


@given(st.text())
def test_no_text_raises_anything_else(text):
    with pytest.raises(InvalidMessage):
        parse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
TYPES = st.sampled_from(["subscribe", "unsubscribe", "start_demo", "stop_demo", "ping"])


@given(TYPES | JSON, st.dictionaries(st.sampled_from(["session", "userId", "seed", "x"]), JSON))
def test_no_json_raises_anything_else(kind, fields):
    with suppress(InvalidMessage):
        parse(json.dumps({"type": kind} | fields))


def test_a_refusal_is_short_whatever_was_sent():
    with pytest.raises(InvalidMessage) as refusal:
        parse(json.dumps({"type": "ping", "x" * 9000: 1}))

    assert len(str(refusal.value)) < 200


def test_a_reply_is_the_same_text_in_both_formats():
    reply = Reply("error", error="no")

    assert (
        reply.payload(as_text=True)
        == reply.payload(as_text=False)
        == '{"type":"error","error":"no"}'
    )


def test_a_burst_is_fine_and_a_stream_is_not():
    budget = MessageBudget(per_second=10.0, burst=20.0)

    assert [budget.spend(now=0.0) for _ in range(21)] == [True] * 20 + [False]


def test_ten_messages_a_second_may_go_on_for_ever():
    budget = MessageBudget(per_second=10.0, burst=20.0)

    assert all(budget.spend(now=i * 0.101) for i in range(1000))


def test_token_is_in_no_repr():
    assert "secret" not in repr(parse('{"type": "auth", "token": "secret"}'))
