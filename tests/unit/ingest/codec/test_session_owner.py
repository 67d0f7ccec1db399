"""Which user may write to which session."""

from datetime import UTC, datetime

import pytest

from ingest.codec.session_owner import (
    FOREIGN_FACTS,
    FOREIGN_HEADER,
    FOREIGN_KEY,
    NOBODY,
    UNPROVED,
    owner_fault,
    user_in_key,
)
from ingest.collectors.delivery.records import new_session_key

USERS = ["anna", "al-ice", "a.b_c", "Anna", "anna-20260314T150926Z-1f0c5a7e93b0d264", "x" * 100]


def key_of(user):
    return new_session_key(user, now=datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC))


@pytest.mark.parametrize("user", USERS)
def test_a_collectors_key_names_its_user(user):
    assert user_in_key(key_of(user)) == user


@pytest.mark.parametrize(
    "key",
    [
        "spa",
        "",
        "-20260314T150926Z-1f0c5a7e93b0d264",
        "anna-20260314T150926Z-1f0c5a7e93b0d26",
        "anna-20260314T150926Z-1f0c5a7e93b0d264x",
        "anna-٢0260314T150926Z-1f0c5a7e93b0d264",
    ],
)
def test_other_keys_name_no_user(key):
    assert user_in_key(key) == ""


@pytest.mark.parametrize(
    ("claims", "fault"),
    [
        ({"key": key_of("bob")}, None),
        ({"key": "spa"}, None),
        ({"key": "spa", "header": "bob", "facts": "bob"}, None),
        ({"key": key_of("anna")}, FOREIGN_KEY),
        ({"key": key_of("anna"), "header": "bob"}, FOREIGN_KEY),
        ({"key": key_of("bo-b")}, FOREIGN_KEY),
        ({"key": key_of("Bob")}, FOREIGN_KEY),
        ({"key": key_of("bob"), "header": "anna"}, FOREIGN_HEADER),
        ({"key": "spa", "header": "anna"}, FOREIGN_HEADER),
        ({"key": "spa", "facts": "anna"}, FOREIGN_FACTS),
    ],
)
def test_claims_on_the_topic_of_bob(claims, fault):
    assert owner_fault("bob", **claims) == fault


def test_a_shared_topic_proves_nobody_where_users_have_topics():
    assert owner_fault(NOBODY, "spa", header="anna") == UNPROVED


def test_headers_may_name_anybody_without_topics_per_user():
    assert owner_fault(None, key_of("anna"), header="bob", facts="carl") is None
