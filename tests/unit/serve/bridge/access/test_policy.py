"""The rights of the roles are those of this table, and nobody gets more by an odd name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.bridge.access.callers import ANYONE, Caller, NoLogin, NotAuthenticated, Refusal, Role
from serve.bridge.access.policy import (
    may_command,
    may_delete,
    may_read,
    may_see_statistics,
    readable_owners,
)

# r: read, c: command, d: delete; then s: see statistics.
RIGHTS = """
role      own  shared  others unknown statistics
viewer    r    r       -      -       -
driver    rcd  r       -      -       -
engineer  rcd  r       r      r       s
operator  rcd  rcd     rcd    rcd     s
"""
OWNERS = {"own": "ann", "shared": "bea", "others": "cem", "unknown": ""}
SHARED = ("bea",)

HEADER, *ROWS = [line.split() for line in RIGHTS.strip().splitlines()]
TABLE = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
CELLS = [(row["role"], whose, row[whose]) for row in TABLE for whose in OWNERS]


def rights(caller: Caller, owner: str) -> str:
    found = [
        "r" * may_read(caller, owner, SHARED),
        "c" * may_command(caller, owner),
        "d" * may_delete(caller, owner),
    ]
    return "".join(found) or "-"


@pytest.mark.parametrize(("role", "whose", "wanted"), CELLS)
def test_role_has_the_rights_of_the_table(role: str, whose: str, wanted: str) -> None:
    assert rights(Caller("ann", Role(role)), OWNERS[whose]) == wanted


def test_table_has_every_role() -> None:
    assert [row["role"] for row in TABLE] == [role.value for role in Role]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["role"])
def test_statistics_are_for_those_who_read_everything(row: dict[str, str]) -> None:
    caller = Caller("ann", Role(row["role"]))
    assert may_see_statistics(caller) is (row["statistics"] == "s")
    assert (readable_owners(caller) is None) is (row["statistics"] == "s")


NAMES = st.text(max_size=5) | st.sampled_from(["ann", "Ann", "ann ", "ann\0", "", "%", "*"])


@given(
    name=NAMES,
    role=st.sampled_from(list(Role)),
    owner=NAMES,
    shared=st.lists(NAMES, max_size=3),
)
def test_query_and_decision_agree(name: str, role: Role, owner: str, shared: list[str]) -> None:
    """``owner = ANY(…)`` returns what `may_read` allows, and nothing of an unknown owner."""
    caller = Caller(name, role)
    owners = readable_owners(caller, shared)
    assert may_read(caller, owner, shared) is (owners is None or owner in owners)


@given(name=NAMES, role=st.sampled_from([Role.VIEWER, Role.DRIVER]), owner=NAMES)
def test_only_the_same_name_is_ones_own(name: str, role: Role, owner: str) -> None:
    assert may_read(Caller(name, role), owner) is (name == owner != "")


def test_without_logins_everybody_is_the_operator() -> None:
    assert NoLogin().authenticate("", 0.0) == NoLogin().authenticate("x", 1e18) == ANYONE
    assert rights(ANYONE, "") == "rcd"


def test_proof_ends_at_its_second() -> None:
    caller = Caller("ann", Role.VIEWER, 100.0)
    assert (caller.expired(99.9), caller.expired(100.0)) == (False, True)
    assert not Caller("ann", Role.VIEWER).expired(1e18)


def test_error_names_the_reason_and_nothing_else() -> None:
    error = NotAuthenticated(Refusal.EXPIRED)
    assert (error.reason, str(error)) == ("expired", "the login is refused: expired")
