"""Records of deleted sessions are neither stored nor dead letters."""

from ingest.batching.deleted_sessions import unsure_keys, without_deleted
from ingest.batching.sequence_set import SequenceSet
from ingest.batching.write_batch import OpenSession
from ingest.codec.decode import decode
from tests.service.owner import drove, told

BROKEN = b"\xff"


def columns(*records):
    keys, values = zip(*records, strict=True)
    return decode(values, keys), keys


def test_frames_facts_and_rejected_records_of_a_deleted_session_are_dropped():
    decoded, keys = columns(
        *drove("gone", 1), told("gone"), (b"gone", BROKEN), *drove("kept", 1), (b"kept", BROKEN)
    )

    kept = without_deleted(decoded, keys, {b"gone"})

    assert kept.sessions == ["kept"]
    assert kept.frames["record"].to_pylist() == [3]
    assert kept.frames["session"].to_pylist() == [0]
    assert kept.facts == []
    assert [one.record for one in kept.rejected] == [4]


def test_nothing_is_dropped_without_a_deleted_session():
    decoded, keys = columns(*drove("a", 1), (None, BROKEN))

    assert without_deleted(decoded, keys, set()) is decoded


def test_store_is_asked_for_new_sessions_and_rejected_records_alone():
    """So that a batch of sessions that go on needs no query."""
    open_ = {"open": OpenSession(1, "open", SequenceSet())}
    decoded, keys = columns(*drove("open", 1, 2))
    assert unsure_keys(decoded, keys, open_) == set()

    decoded, keys = columns(
        *drove("open", 1), (b"open", BROKEN), *drove("new", 1), (b"\xfe", BROKEN), (None, BROKEN)
    )
    assert unsure_keys(decoded, keys, open_) == {b"open", b"new", b"\xfe"}
