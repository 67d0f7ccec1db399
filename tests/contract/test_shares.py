"""What is shared with whom: the page's role makes and revokes shares, analysts read what is shared
with them and nothing else, and a share goes with its session.
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import psycopg
import pytest
from click.testing import CliRunner

from analytics.errors import UnknownLap, UnknownSession
from analytics.store import queries, summaries
from ingest.errors import TooManyShares, UnknownShare
from ingest.store import shares
from ingest.store.schema.grants import BRIDGE
from ingest.store.shares import (
    NewShare,
    add_share,
    revoke_share,
    share_of,
    shares_of,
    stamp_of_shares,
    valid_shares,
)
from serve.bridge.sharing.links import digest_of
from serve.cli.main import command
from tests.contract.test_database_roles import (
    OF_A_SESSION,
    TELL,
    analyst,
    as_role,
    fill,
    of_view,
    owner_url,
    seen_by,
)
from tests.service.owner import STARTED_AT_MS, Owner, drove, told

__all__ = ["analyst", "as_role", "owner_url"]

TABLES = [view for view in OF_A_SESSION if view != "frames_of_sessions"]
DIGEST = sha256(b"a token").digest()
NEVER = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture
def bridge(owner_url):
    """A connection with the rights of the page's role."""
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute("SET ROLE purple_bridge")
        yield conn


@pytest.fixture
def driven(owner_url):
    """Session a of anna with laps 1 and 2 of a second each, and session b of hers."""
    with Owner(owner_url) as owner:
        owner.write(told("a", user_id="anna"), *drove("a", *range(150)))
        owner.write(told("b", user_id="anna"), *drove("b", 1, 2))
        fill(owner_url)
    with psycopg.connect(owner_url) as conn:
        conn.execute(
            "INSERT INTO laps (session_id, lap_number, started_at, ended_at, frames, gaps,"
            " max_speed_kmh) SELECT session_id, 2, ended_at, ended_at + interval '1 s', 1, 0, 1"
            " FROM laps"
        )
        conn.execute("INSERT INTO lap_colours SELECT id, 2, 'green', '{}', 1, 1 FROM sessions")
        conn.execute(
            "INSERT INTO lap_sums SELECT session_id, 2, started_at, ended_at, 1, 1 FROM laps"
            " WHERE lap_number = 2"
        )
    return owner_url


def test_page_makes_lists_and_revokes(driven, bridge):
    before = stamp_of_shares(bridge)
    link = add_share(bridge, NewShare("a", "anna", token_sha256=DIGEST))
    named = add_share(bridge, NewShare("a", "anna", 2, users=("bob",), expires_at=NEVER))
    other = add_share(bridge, NewShare("b", "eve", users=("bob",)))

    assert shares_of(bridge, "a") == [named, link]
    assert (link.owner, link.lap_number, link.token_sha256) == ("anna", None, DIGEST)
    assert (named.users, named.lap_number, named.expires_at) == (["bob"], 2, NEVER)
    assert {one.id for one in valid_shares(bridge)} == {link.id, named.id, other.id}
    made = stamp_of_shares(bridge)
    revoked = revoke_share(bridge, link.id)
    assert revoked.revoked_at is not None
    assert revoke_share(bridge, link.id) == revoked
    assert {one.id for one in valid_shares(bridge)} == {named.id, other.id}
    assert [one.id for one in shares_of(bridge)] == [other.id, named.id, link.id]
    assert len({before, made, stamp_of_shares(bridge)}) == 3


def test_expired_share_is_valid_no_longer(driven, bridge):
    past = datetime.now(UTC) - timedelta(seconds=1)
    add_share(bridge, NewShare("a", "anna", token_sha256=DIGEST, expires_at=past))
    assert valid_shares(bridge) == []


def test_what_is_not_there_cannot_be_shared(driven, bridge):
    for key in ("none", "", "a\0"):
        with pytest.raises(UnknownSession):
            add_share(bridge, NewShare(key, "anna", token_sha256=DIGEST))
    with pytest.raises(UnknownLap):
        add_share(bridge, NewShare("a", "anna", 3, token_sha256=DIGEST))
    for act in (share_of, revoke_share):
        with pytest.raises(UnknownShare):
            act(bridge, 1)


def test_session_has_so_many_valid_shares(driven, bridge, monkeypatch):
    monkeypatch.setattr(shares, "MOST_OF_A_SESSION", 2)
    first = add_share(bridge, NewShare("a", "anna", users=("bob",)))
    add_share(bridge, NewShare("a", "anna", users=("bob",)))
    with pytest.raises(TooManyShares):
        add_share(bridge, NewShare("a", "anna", users=("bob",)))
    add_share(bridge, NewShare("b", "anna", users=("bob",)))
    revoke_share(bridge, first.id)
    add_share(bridge, NewShare("a", "anna", users=("bob",)))
    revoke_share(bridge, add_share(bridge, NewShare("b", "anna", users=("bob",))).id)
    monkeypatch.setattr(shares, "MOST_EVER_OF_A_SESSION", 2)
    with pytest.raises(TooManyShares):
        add_share(bridge, NewShare("b", "anna", users=("bob",)))


@pytest.mark.parametrize(
    "values",
    [
        {"users": (), "token_sha256": None},
        {"users": ("bob",), "token_sha256": DIGEST},
        {"users": (), "token_sha256": b"a token itself"},
    ],
)
def test_share_is_for_a_link_or_for_users_and_has_no_token(driven, bridge, values):
    with pytest.raises(psycopg.errors.CheckViolation):
        add_share(bridge, NewShare("a", "anna", **values))


def test_no_digest_is_in_a_repr(driven, bridge):
    new = NewShare("a", "anna", token_sha256=DIGEST)
    assert repr(DIGEST) not in repr(new) + repr(add_share(bridge, new))


def test_shares_go_with_their_session(driven, bridge):
    add_share(bridge, NewShare("a", "anna", token_sha256=DIGEST))
    kept = add_share(bridge, NewShare("b", "anna", users=("bob",)))
    before = stamp_of_shares(bridge)
    with psycopg.connect(driven) as conn:
        conn.execute("DELETE FROM sessions WHERE key = 'a'")
    assert shares_of(bridge) == valid_shares(bridge) == [kept]
    assert stamp_of_shares(bridge) != before


def test_hidden_session_is_shared_with_nobody(driven, bridge, analyst):
    bob, as_bob = analyst("bob")
    share = add_share(bridge, NewShare("a", "anna", users=(bob,)))
    stamps = {stamp_of_shares(bridge)}
    with psycopg.connect(driven, autocommit=True) as conn, psycopg.connect(as_bob) as read:
        conn.execute("UPDATE sessions SET hidden = true")
        assert valid_shares(bridge) == queries.sessions(read) == []
        stamps.add(stamp_of_shares(bridge))
        conn.execute("UPDATE sessions SET hidden = false")
        assert valid_shares(bridge) == [share]
        assert [one.key for one in queries.sessions(read)] == ["a"]
    assert len(stamps) == 2


def seen(conn):
    """How many rows each view shows."""
    return {view: len(conn.execute(of_view(view)).fetchall()) for view in TABLES}


def test_analyst_reads_a_session_that_is_shared_with_it(driven, bridge, analyst):
    bob, as_bob = analyst("bob")
    with psycopg.connect(driven, autocommit=True) as conn, psycopg.connect(as_bob) as read:
        read.autocommit = True
        whole = {view: n // 2 for view, n in seen(conn).items()} | {"telemetry": 150}
        nothing = dict.fromkeys(TABLES, 0)
        assert seen(read) == nothing
        share = add_share(bridge, NewShare("a", "anna", users=("carol", bob)))
        lap = add_share(bridge, NewShare("a", "anna", 2, users=(bob,)))
        assert [one.key for one in queries.sessions(read)] == ["a"]
        assert seen(read) == whole | {"telemetry_1s": 3}
        assert queries.lap_frames(read, "a", 1).num_rows == 63
        with pytest.raises(UnknownSession):
            queries.session(read, "b")
        revoke_share(bridge, lap.id)
        revoke_share(bridge, share.id)
        assert queries.sessions(read) == []
        assert seen(read) == nothing


def test_analyst_reads_a_lap_that_is_shared_with_it_and_no_other(driven, bridge, analyst):
    bob, as_bob = analyst("bob")
    lap = NewShare("a", "anna", 2, users=(bob,))
    with psycopg.connect(as_bob, autocommit=True) as conn:
        add_share(bridge, lap)
        add_share(bridge, lap)
        add_share(bridge, NewShare("b", "anna", 1, users=("carol",)))
        assert [one.key for one in queries.sessions(conn)] == ["a"]
        assert [one.lap_number for one in queries.laps(conn, "a")] == [2]
        frames = queries.lap_frames(conn, "a", 2)
        assert frames.num_rows == conn.execute("SELECT count(*) FROM telemetry").fetchone()[0]
        since = datetime.fromtimestamp(STARTED_AT_MS / 1000 + 1, UTC)
        assert min(frames["time"].to_pylist()) >= since
        assert conn.execute("SELECT count(*) FROM whole_sessions").fetchone() == (0,)
        one_lap = {"laps", "lap_colours", "lap_sums", "lap_summary"}
        found = seen(conn)
        assert {view for view in found if found[view]} == one_lap | {"telemetry", "telemetry_1s"}
        assert {found[view] for view in one_lap} == {1}
        assert [one.lap_number for one in summaries.lap_summaries(conn, "a")] == [2]


@pytest.mark.parametrize(
    "ended",
    [
        "UPDATE shares SET revoked_at = now()",
        "UPDATE shares SET expires_at = now()",
        "UPDATE shares SET users = '{carol}'",
    ],
)
def test_analyst_reads_nothing_by_a_share_that_ended(driven, bridge, analyst, ended):
    bob, as_bob = analyst("bob")
    with psycopg.connect(as_bob, autocommit=True) as conn:
        add_share(bridge, NewShare("a", "anna", users=(bob,)))
        add_share(bridge, NewShare("a", "anna", 2, users=(bob,)))
        assert queries.sessions(conn)
        with psycopg.connect(driven) as owner:
            owner.execute(ended)
        assert queries.sessions(conn) == []
        assert seen(conn) == dict.fromkeys(TABLES, 0)


def test_no_condition_of_an_analyst_sees_a_frame_of_another_lap(driven, bridge, analyst):
    bob, as_bob = analyst("bob")
    with psycopg.connect(driven) as owner:
        owner.execute(TELL)
    add_share(bridge, NewShare("a", "anna", 2, users=(bob,)))
    with psycopg.connect(as_bob) as conn:
        shared = {str(n) for (n,) in conn.execute("SELECT sequence FROM telemetry").fetchall()}
        assert seen_by(conn, "SELECT FROM telemetry WHERE tell(sequence)") == shared
    assert 0 < len(shared) < 150


@pytest.fixture
def run(driven, as_role, monkeypatch):
    """Runs the command with the rights of the page's role."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("SERVE_DATABASE_URL", as_role(BRIDGE))
    return lambda *arguments: CliRunner().invoke(command, ["shares", *arguments])


def test_command_prints_a_link_once_lists_and_revokes(run, bridge):
    made = run("add", "a", "--lap", "2", "--days", "30", "--page", "https://page.example/")
    *_, link = made.stdout.splitlines()
    page, _, token = link.partition("#share=")
    run("add", "b", "--user", "bob", "--user", "carol")
    for_bob, by_link = shares_of(bridge)

    assert page == "https://page.example/"
    assert (by_link.token_sha256, by_link.lap_number) == (digest_of(token), 2)
    assert by_link.expires_at - by_link.made_at > timedelta(days=29)
    assert for_bob.users == ["bob", "carol"]
    listed = run("list").stdout
    assert token not in listed
    assert all(words in listed for words in ("bob, carol", "whoever has the link"))
    assert "bob" not in run("list", "a").stdout
    assert run("revoke", str(by_link.id)).exception is None
    assert valid_shares(bridge) == [for_bob]
    assert "whoever" not in run("list").stdout
    assert "revoked" in run("list", "--all").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "none"], "session 'none' is not in the store"),
        (["add", "a", "--lap", "9"], "no finished lap 9"),
        (["revoke", "9"], "there is no share 9"),
    ],
)
def test_command_names_what_is_not_there(run, arguments, sentence):
    assert sentence in str(run(*arguments).exception)
