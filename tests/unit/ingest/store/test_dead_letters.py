"""Dead letters: which have a place, which are sent again, and how foreign bytes are shown."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.batching.write_batch import DeadLetter
from ingest.control.dead_letter_replay import Outcome, StoredLetter, headers_again, obstacle
from ingest.settings import DeadLetterQuota
from ingest.store.dead_letters import (
    ALWAYS_KEPT,
    MOST_HEADER_BYTES,
    NotKept,
    admitted,
    headers_as_json,
    kind_of_reason,
)
from ingest.telemetry_pb2 import TelemetryFrame
from serve.cli.dead_letters import described, hex_lines, printable, since, state, summed_up

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def letters(*reasons: str, size: int = 10) -> list[DeadLetter]:
    return [DeadLetter(n, b"a", b"x" * size, reason) for n, reason in enumerate(reasons)]


def stored(**changes) -> StoredLetter:
    one = {
        "topic": "telemetry", "partition": 3, "offset": 17, "key": b"spa", "value": b"\x08\x01",
        "reason": "decode: no",
        "user_id": "anna", "seen_at": NOON, "replayed_at": None, "of_replay": False,
    }  # fmt: skip
    return StoredLetter(**one | changes)


# --- the quota
# --------------------------------------------------------------------------------------------------


def test_the_first_of_each_kind_are_kept_and_the_rest_counted():
    quota = DeadLetterQuota(per_kind=2)
    kept, left = admitted(
        letters("json: a", "json: b", "json: c", "key: d", "json: e"), {"key": 1}, 0, quota
    )

    assert [d.reason for d in kept] == ["json: a", "json: b", "key: d"]
    assert left == [NotKept("json", 2, "json: e")]


def test_a_flood_of_one_kind_hides_no_other():
    full = DeadLetterQuota(per_kind=1000, max_bytes=100)
    kept, left = admitted(
        letters(*["decode: x"] * 50, *["value: y"] * 50), {"decode": 1000}, 10**9, full
    )

    assert [d.reason for d in kept] == ["value: y"] * ALWAYS_KEPT
    assert {one.kind: one.count for one in left} == {"decode": 50, "value": 50 - ALWAYS_KEPT}


def test_all_together_have_a_size():
    quota = DeadLetterQuota(per_kind=1000, max_bytes=2500)
    kept, left = admitted(letters(*["decode: x"] * 40, size=100), {"decode": ALWAYS_KEPT}, 0, quota)
    assert (len(kept), left[0].count) == (25, 15)


@given(
    st.lists(st.tuples(st.sampled_from(["key", "json", "time"]), st.integers(0, 40)), max_size=60),
    st.integers(0, 8),
    st.integers(0, 400),
)
def test_each_has_a_place_or_is_counted(came, per_kind, max_bytes):
    given_letters = [
        DeadLetter(n, b"", b"x" * size, f"{kind}: {n}") for n, (kind, size) in enumerate(came)
    ]
    kept, left = admitted(
        given_letters, {}, 0, DeadLetterQuota(per_kind=per_kind, max_bytes=max_bytes)
    )

    assert len(kept) + sum(one.count for one in left) == len(came)
    kinds = [kind_of_reason(d.reason) for d in kept]
    assert all(kinds.count(kind) <= per_kind for kind in kinds)


# --- sent again
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"value": None}, "it has no value"),
        ({"key": None}, "it has no key"),
        (
            {"reason": "oversize: 70000 bytes are more than 65536"},
            "only the beginning of it is kept",
        ),
        ({"replayed_at": NOON}, "it was replayed at 2026-03-14 12:00:00"),
        ({"of_replay": True}, "it was replayed already and is bad still"),
    ],
)
def test_which_are_sent_again(changes, why):
    assert obstacle(stored(**changes), again=False) == why


def test_again_means_those_that_were_replayed_too():
    assert obstacle(stored(replayed_at=NOON), again=True) is None
    assert obstacle(stored(of_replay=True), again=True) is None
    assert obstacle(stored(value=None, replayed_at=NOON), again=True) == "it has no value"


def test_headers_are_those_of_a_collector_and_state_where_it_lay():
    assert headers_again(stored()) == [
        ("sessionId", b"spa"), ("userId", b"anna"), ("encoding", b"protobuf"), ("resent", b"1"),
        ("replayed", b"telemetry[3]@17"),
    ]  # fmt: skip
    assert ("encoding", b"json") in headers_again(stored(value=b'{"timestamp": }'))


def test_headers_of_its_own_go_with_it_again():
    came = [
        ("userId", b"anna"),
        ("trace", b"\x00\xff"),
        ("trace", None),
        ("resent", b"1"),
        ("replayed", b"t[0]@3"),
        ("", b""),
    ]
    letter = stored(headers=json.loads(headers_as_json(came) or ""))

    assert headers_again(letter) == [
        ("userId", b"anna"), ("trace", b"\x00\xff"), ("trace", None), ("", b""), ("resent", b"1"),
        ("replayed", b"telemetry[3]@17"),
    ]  # fmt: skip
    assert headers_again(stored(headers=[])) == [("resent", b"1"), ("replayed", b"telemetry[3]@17")]
    assert (
        "headers  userId=anna, trace=\\x00\\\\xff, trace=–, resent=1, replayed=t[0]@3, ="
        in described(letter, whole=False)
    )


def test_headers_that_are_too_large_to_keep_are_not_known():
    assert headers_as_json([("a", b"x" * (MOST_HEADER_BYTES - 1))]) is not None
    assert headers_as_json([("a", b"x" * MOST_HEADER_BYTES)]) is None
    assert headers_as_json(None) is None


def test_outcomes_are_summed_up_with_a_place_to_look_at():
    outcomes = [
        Outcome(stored(), "stored"),
        Outcome(stored(offset=18), "stored"),
        Outcome(stored(offset=19), "dead letter again", "decode: not valid protobuf"),
    ]
    assert summed_up(outcomes) == [
        "2 stored",
        "1 dead letter again: decode: not valid protobuf (first: telemetry[3]@19)",
    ]


# --- shown
# --------------------------------------------------------------------------------------------------


def test_a_moment_is_so_long_ago_or_a_time():
    assert since("90s", now=NOON) == NOON - timedelta(seconds=90)
    assert since("7d", now=NOON) == NOON - timedelta(days=7)
    assert since("2026-03-14T11:00", now=NOON) == NOON - timedelta(hours=1)
    assert since("2026-03-14T11:00+01:00", now=NOON) == NOON - timedelta(hours=2)
    for wrong in ("", "2", "h", "yesterday", "-1h"):
        with pytest.raises(ValueError, match=r".*"):
            since(wrong, now=NOON)


def test_state():
    assert [state(stored()), state(stored(replayed_at=NOON)), state(stored(of_replay=True))] == [
        "",
        "replayed",
        "bad again",
    ]


@given(st.binary(max_size=600))
def test_foreign_bytes_do_nothing_to_a_terminal(raw):
    shown = [
        printable(raw),
        *hex_lines(raw, limit=None),
        *described(stored(key=raw, value=raw), whole=False),
    ]
    assert all(line.isascii() and line.isprintable() for line in shown if "…" not in line)


def test_every_byte_is_there_in_hexadecimal():
    raw = bytes(range(256)) * 3
    lines = hex_lines(raw, limit=None)
    assert bytes.fromhex("".join(line[12:59] for line in lines)) == raw
    assert hex_lines(raw, limit=16)[1:] == ["  … 752 bytes more; --all shows them"]


def test_what_can_be_read_is_read():
    value = TelemetryFrame(timestamp=5, rpm=99_999).SerializeToString()
    lines = described(
        stored(value=value, reason="value: rpm=99999 is outside 0..30000"), whole=False
    )
    assert "place    telemetry[3]@17" in lines
    assert [line.strip() for line in lines if "99999" in line] == [
        "reason   value: rpm=99999 is outside 0..30000",
        "rpm: 99999",
    ]


def test_what_cannot_be_read_is_reported():
    assert described(stored(value=b"\x1f\x8b12"), whole=False)[-1] == "  encoding: looks like gzip"
