"""The rights of the roles are those of this table, and nobody gets more by an odd name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.bridge.access.callers import (
    ANYONE,
    LOGIN_ROLES,
    Caller,
    NoLogin,
    NotAuthenticated,
    Refusal,
    Role,
    Shared,
)
from serve.bridge.access.policy import (
    hidden_owners,
    may_command,
    may_delete,
    may_play_demo,
    may_see_hidden,
    may_see_statistics,
    may_share,
    may_watch,
    reach,
    readable_owners,
    shared_keys,
)

# r: read all of it, live too; l: read a lap; c: command, d: delete, s: share; then what is of
# nobody: statistics and the demo.
RIGHTS = """
role      own   session lap   another others unknown statistics demo
guest     -     r       l     -       -      -       -          -
viewer    r     r       l     -       -      -       -          demo
driver    rcds  r       l     -       -      -       -          demo
engineer  rcds  rs      rs    rs      rs     rs      statistics demo
operator  rcds  rcds    rcds  rcds    rcds   rcds    statistics demo
"""
# The owner and the key of each session.
SESSIONS = {
    "own": ("ann", "a"),
    "session": ("bea", "b"),
    "lap": ("bea", "c"),
    "another": ("cem", "b"),  # of the same key: a claim that is not the owner's
    "others": ("cem", "d"),
    "unknown": ("", "e"),
}
SHARED = frozenset({Shared("b", "bea"), Shared("c", "bea", 3), Shared("c", "bea", 5)})

HEADER, *ROWS = [line.split() for line in RIGHTS.strip().splitlines()]
TABLE = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
CELLS = [(row["role"], whose, row[whose]) for row in TABLE for whose in SESSIONS]


def rights(caller: Caller, owner: str, session: str) -> str:
    part = reach(caller, owner, session)
    found = [
        "r" * part.whole,
        "l" * (part.laps == {3, 5}),
        "c" * may_command(caller, owner),
        "d" * may_delete(caller, owner),
        "s" * may_share(caller, owner),
    ]
    assert may_watch(caller, owner, session) is part.whole
    return "".join(found) or "-"


@pytest.mark.parametrize(("role", "whose", "wanted"), CELLS)
def test_role_has_the_rights_of_the_table(role: str, whose: str, wanted: str) -> None:
    caller = Caller("ann", Role(role), shared=SHARED)
    assert rights(caller, *SESSIONS[whose]) == wanted


def test_table_has_every_role() -> None:
    assert [row["role"] for row in TABLE] == [role.value for role in Role]
    assert set(LOGIN_ROLES) == {*Role} - {Role.GUEST}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["role"])
def test_statistics_are_for_those_who_read_everything(row: dict[str, str]) -> None:
    caller = Caller("ann", Role(row["role"]))
    assert may_see_statistics(caller) is (row["statistics"] == "statistics")
    assert (readable_owners(caller) is None) is (row["statistics"] == "statistics")
    assert may_play_demo(caller) is (row["demo"] == "demo")


def test_part_of_a_session_has_its_laps_and_no_other() -> None:
    part = reach(Caller("ann", Role.VIEWER, shared=SHARED), "bea", "c")
    assert [part.has_lap(n) for n in (2, 3, 4, 5)] == [False, True, False, True]
    assert bool(part)
    assert not part.whole


def test_session_that_is_shared_is_more_than_a_lap_of_it() -> None:
    both = frozenset({Shared("b", "bea", 3), Shared("b", "bea")})
    assert reach(Caller("ann", Role.VIEWER, shared=both), "bea", "b").has_lap(4)


NAMES = st.text(max_size=5) | st.sampled_from(["ann", "Ann", "ann ", "ann\0", "", "%", "*"])


@given(
    name=NAMES,
    role=st.sampled_from(list(Role)),
    owner=NAMES,
    session=NAMES,
    shared=st.frozensets(st.builds(Shared, NAMES, NAMES, st.none() | st.just(1)), max_size=3),
)
def test_query_finds_whatever_may_be_read(
    name: str, role: Role, owner: str, session: str, shared: frozenset[Shared]
) -> None:
    """``owner = ANY(…) OR key = ANY(…)`` returns what `reach` allows; without shares no more."""
    caller = Caller(name, role, shared=shared)
    owners = readable_owners(caller)
    found = owners is None or owner in owners or session in shared_keys(caller)
    assert found or not reach(caller, owner, session)
    alone = Caller(name, role)
    assert bool(reach(alone, owner, session)) is (owners is None or owner in owners)


@given(name=NAMES, role=st.sampled_from([Role.VIEWER, Role.DRIVER]), owner=NAMES)
def test_only_the_same_name_is_ones_own(name: str, role: Role, owner: str) -> None:
    assert reach(Caller(name, role), owner, "s").whole is (name == owner != "")


@given(name=NAMES, role=st.sampled_from(list(Role)), owner=NAMES)
def test_hidden_session_is_for_its_user_and_operators(name: str, role: Role, owner: str) -> None:
    caller = Caller(name, role, shared=frozenset({Shared("s", owner)}))
    own = role is not Role.GUEST and name == owner != ""
    assert may_see_hidden(caller, owner) is (role is Role.OPERATOR or own)
    owners = hidden_owners(caller)
    assert may_see_hidden(caller, owner) is (owners is None or owner in owners)


@given(name=NAMES)
def test_guest_owns_nothing_whatever_its_name(name: str) -> None:
    guest = Caller(name, Role.GUEST)
    assert rights(guest, name, "s") == "-"
    assert readable_owners(guest) == []


def test_without_logins_everybody_is_the_operator() -> None:
    assert NoLogin().authenticate("", 0.0) == NoLogin().authenticate("x", 1e18) == ANYONE
    assert rights(ANYONE, "", "") == "rcds"


def test_proof_ends_at_its_second() -> None:
    caller = Caller("ann", Role.VIEWER, 100.0)
    assert (caller.expired(99.9), caller.expired(100.0)) == (False, True)
    assert not Caller("ann", Role.VIEWER).expired(1e18)


def test_error_names_the_reason_and_nothing_else() -> None:
    error = NotAuthenticated(Refusal.EXPIRED)
    assert (error.reason, str(error)) == ("expired", "the login is refused: expired")
