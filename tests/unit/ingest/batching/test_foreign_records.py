"""Records of one user for sessions of another are dead letters, and change no session."""

import pytest

from ingest.batching.foreign_records import reject_false_claims, reject_taken
from ingest.batching.sequence_set import SequenceSet
from ingest.batching.write_batch import OpenSession
from ingest.codec.decode import decode
from ingest.codec.session_owner import FOREIGN_FACTS, FOREIGN_HEADER, FOREIGN_KEY, TAKEN, UNPROVED
from tests.service.owner import drove, told

ANNAS = "anna-20260314T150926Z-1f0c5a7e93b0d264"


def columns(*records):
    keys, values = zip(*records, strict=True)
    return decode(values, keys), keys


def reasons(decoded):
    return {one.record: one.reason for one in decoded.rejected}


def sessions_of(**users):
    return {key: OpenSession(1, key, SequenceSet(), user_id=user) for key, user in users.items()}


def test_records_under_a_foreign_key_are_rejected_and_the_others_are_not():
    decoded, keys = columns(*drove(ANNAS, 1), *drove("bobs", 1, 2), *drove(ANNAS, 2))

    kept = reject_false_claims(decoded, keys, "bob", {})

    assert reasons(kept) == {0: FOREIGN_KEY, 3: FOREIGN_KEY}
    assert kept.sessions == ["bobs"]
    assert kept.frames["record"].to_pylist() == [1, 2]


def test_facts_that_name_another_user_are_rejected_alone():
    foreign, own = told("spa", user_id="anna"), told("spa", user_id="bob")
    decoded, keys = columns(foreign, *drove("spa", 1), own, told("spa"))

    kept = reject_false_claims(decoded, keys, "bob", {"spa": ""})

    assert reasons(kept) == {0: FOREIGN_FACTS}
    assert [facts.record for facts in kept.facts] == [2, 3]
    assert kept.frames.num_rows == 1


def test_a_session_whose_header_names_another_user_is_rejected():
    decoded, keys = columns(*drove("spa", 1), *drove("ring", 1))

    kept = reject_false_claims(decoded, keys, "bob", {"spa": "anna", "ring": "bob"})

    assert reasons(kept) == {0: FOREIGN_HEADER}
    assert kept.sessions == ["ring"]


def test_all_records_of_a_shared_topic_are_rejected_where_users_have_topics():
    decoded, keys = columns(*drove("spa", 1, 2))

    assert reasons(reject_false_claims(decoded, keys, "", {})) == {0: UNPROVED, 1: UNPROVED}


@pytest.mark.parametrize("user", ["anna", "", "Bob"])
def test_a_stored_session_stays_with_its_user(user):
    """Nor does a session without a user become anybody's."""
    decoded, keys = columns(*drove("spa", 1), *drove("ring", 1), told("spa"))

    kept = reject_taken(decoded, keys, "bob", sessions_of(spa=user, ring="bob"))

    assert reasons(kept) == {0: TAKEN, 2: TAKEN}
    assert (kept.sessions, kept.facts) == (["ring"], [])


def test_a_record_has_one_reason():
    """A record that cannot be decoded is a dead letter once, though its session is foreign too."""
    broken = (ANNAS.encode(), b"\xff")
    decoded, keys = columns(broken, *drove(ANNAS, 1), told(ANNAS, user_id="anna"))

    kept = reject_false_claims(decoded, keys, "bob", {})

    assert [one.record for one in kept.rejected] == [0, 1, 2]


def test_nothing_is_rejected_where_headers_name_the_user():
    decoded, keys = columns(*drove(ANNAS, 1), told("spa", user_id="anna"))

    kept = reject_false_claims(decoded, keys, None, {"spa": "bob"})

    assert reject_taken(kept, keys, None, {}) is decoded
