"""Deleted sessions: nothing of them is left or comes back, and who was compared with them is judged
again. Hidden ones count for nobody.
"""

import threading

import psycopg
import pytest
from psycopg import sql

from analytics.laps.best_laps import Category
from analytics.store import best_laps
from ingest.batching.write_batch import LateFrames
from ingest.control import erasure
from ingest.errors import SessionsChanged
from ingest.settings import DatabaseSettings
from ingest.store.removal.deletions import (
    Erased,
    change_session,
    delete_session,
    deleted_keys,
    erase_deleted,
    judge_due,
)
from tests.contract.test_colours import SCOPE, colours_of, keep, lap
from tests.contract.test_database_roles import fill
from tests.service.owner import PARTITION, Owner, drove, rows, told
from tests.waiting import WITHIN_S, wait_until

TABLES = (
    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
    " AND relnamespace = 'public'::regnamespace"
)


@pytest.fixture
def conn(database):
    with psycopg.connect(database.url, autocommit=True) as conn:
        yield conn


def everything(conn) -> dict[str, list[str]]:
    """Every row of every table of ours, as text."""
    names = [name for (name,) in conn.execute(TABLES)]
    query = sql.SQL("SELECT t::text FROM {} t")
    return {
        name: [text for (text,) in conn.execute(query.format(sql.Identifier(name)))]
        for name in names
    }


def naming(stored: dict[str, list[str]], name: str) -> list[str]:
    """The tables with a row that has a name in it, as text or as bytes."""
    written = (name, name.encode().hex())
    return sorted({t for t, texts in stored.items() for one in texts for w in written if w in one})


def wholly_stored(owner: Owner, url: str) -> None:
    """A session with a row in every table that has some of sessions, and others beside it."""
    told_of = told("key-of-alice", user_id="user-alice", driver="driver-alice", last_sequence=9)
    owner.write(told_of, *drove("key-of-alice", 1, 2, 5), (b"key-of-alice", b"\xff"))
    owner.write(told("key-of-bob", user_id="bob"), *drove("key-of-bob", 1, 2))
    with psycopg.connect(url) as conn:
        conn.execute(
            "INSERT INTO telemetry_pending (session_id, time, sequence)"
            " SELECT id, now(), 9 FROM sessions"
        )
        conn.execute(
            "INSERT INTO shares (session_id, users, made_by)"
            " SELECT id, '{eve}', 'eve' FROM sessions"
        )
    fill(url)


def test_nothing_of_a_deleted_session_is_left_in_any_table(database, owner, conn):
    wholly_stored(owner, database.url)
    alice, bob = (id for (id,) in conn.execute("SELECT id FROM sessions ORDER BY key"))
    before = everything(conn)

    assert delete_session(conn, "key-of-alice", "user-alice")
    assert rows(database.url, "SELECT key FROM sessions") == [("key-of-bob",)]
    assert erase_deleted(conn) == Erased(1, 0)

    after = everything(conn)
    assert {"dead_letters", "sessions"} <= set(naming(before, "alice"))
    assert naming(after, "alice") == []
    of_sessions = [
        name
        for (name,) in conn.execute(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND column_name = 'session_id' AND table_name <> 'deleted_sessions'"
        )
    ]
    assert {"laps", "bests", "gaps", "telemetry", "telemetry_pending"} <= set(of_sessions)
    for name in of_sessions:
        query = sql.SQL("SELECT DISTINCT session_id FROM {}").format(sql.Identifier(name))
        assert conn.execute(query).fetchall() == [(bob,)], name
    assert len(before["telemetry"]) - len(after["telemetry"]) == 3
    assert conn.execute("SELECT session_id FROM deleted_sessions").fetchall() == [(alice,)]


def test_session_is_deleted_by_its_user_alone_and_once(owner, conn):
    owner.write(told("a", user_id="anna"), *drove("a", 1))

    assert not delete_session(conn, "a", "bob")
    assert not delete_session(conn, "none", "anna")
    assert not change_session(conn, "a", "bob", title="mine", hidden=True)
    assert delete_session(conn, "a", "anna")
    assert not delete_session(conn, "a", "anna")
    assert not change_session(conn, "a", "anna", title="mine")


def test_session_that_is_being_written_ends_at_its_next_batch(database, owner, conn):
    """Nothing of the batch is stored, and the partition goes on without the session."""
    owner.write(told("a", user_id="anna"), *drove("a", 1, 2), *drove("b", 1))
    assert delete_session(conn, "a", "anna")

    position = owner.position
    with pytest.raises(SessionsChanged):
        owner.write(*drove("a", 3), *drove("b", 2))
    owner.store.__exit__()
    with Owner(database.url, PARTITION, fence=owner.fence) as again:
        assert again.position == position
        assert again.store.deleted([b"a", b"b", b"\xff"]) == {b"a"}
        assert set(again.store.open_sessions(["a", "b"], {})) == {"b"}
        again.write(*drove("b", 2))
        with pytest.raises(SessionsChanged, match="deleted"):
            again.store.time_again(LateFrames(1, "a", 0), again.position, again.fence)
    assert erase_deleted(conn) == Erased(1, 0)

    assert rows(database.url, "SELECT key, frames FROM sessions") == [("b", 2)]
    assert rows(database.url, "SELECT count(*) FROM telemetry") == [(2,)]


def test_batch_in_flight_keeps_the_deletion_waiting_and_not_the_other_way(database, owner, conn):
    """Whichever is first: no frame is left behind."""
    owner.write(told("a", user_id="anna"), *drove("a", 1))
    chunk = owner.chunk(*drove("a", 2))
    with psycopg.connect(database.url) as other:
        assert delete_session(other, "a", "anna")
        owner.store._conn.execute("SET lock_timeout = '200ms'")
        with pytest.raises(Exception, match="lock"):
            owner.store.write(chunk, owner.fence)
    with pytest.raises(SessionsChanged):
        owner.store.write(chunk, owner.fence)
    erase_deleted(conn)

    assert rows(database.url, "SELECT count(*) FROM telemetry") == [(0,)]


def test_erasing_stops_between_two_statements_and_goes_on(database, owner, conn):
    owner.write(*drove("a", *range(1, 26)), *drove("b", 1))
    delete_session(conn, "a", "")
    calls = iter([False, False, True])

    assert erase_deleted(conn, frames_at_once=10, stopped=lambda: next(calls)) == Erased(0, 1)
    assert rows(database.url, "SELECT count(*) FROM telemetry") == [(6,)]
    assert deleted_keys(conn, [b"a"]) == {b"a"}
    assert erase_deleted(conn, frames_at_once=10) == Erased(1, 0)
    assert rows(database.url, "SELECT count(*) FROM telemetry") == [(1,)]


def compared(owner: Owner) -> None:
    """Alice holds the best time; bob's and carol's laps come after hers."""
    since_us = keep(owner, "alice", lap(1, 90_000, at_s=0))
    keep(owner, "bob", lap(1, 92_000, at_s=100), lap(2, 91_000, at_s=200))
    keep(owner, "carol", lap(1, 91_500, at_s=400))
    owner.store.judge(SCOPE, since_us)


def test_laps_that_were_compared_with_a_deleted_one_are_judged_again(database, owner, conn):
    compared(owner)
    assert {c for c, _ in colours_of(database.url).values()} == {"purple", "green"}

    assert delete_session(conn, "alice", "alice")
    assert owner.store.judgements_due() == {SCOPE: keep_us(database.url, "bob")}
    changed = judge_due(conn)
    erase_deleted(conn)

    assert {(one.session_key, one.driven.assigned.lap) for one in changed} == {("bob", "purple")}
    assert colours_of(database.url) == {
        ("bob", 1): ("purple", 2),
        ("bob", 2): ("purple", 2),
        ("carol", 1): ("green", 1),
    }
    assert rows(database.url, "SELECT DISTINCT owner FROM bests ORDER BY 1") == [
        ("",),
        ("bob",),
        ("carol",),
    ]
    assert judge_due(conn) == []
    assert rows(database.url, "SELECT count(*) FROM judgements_due") == [(0,)]


def keep_us(url: str, key: str) -> int:
    """When the first lap that was judged began: a hundred seconds before the session's."""
    ((first_us,),) = rows(
        url,
        "SELECT (extract(epoch FROM min(laps.started_at)) * 1000000)::bigint - 100000000"
        "  FROM laps JOIN sessions s ON s.id = session_id WHERE key = %s",
        [key],
    )
    return first_us


def test_hidden_session_counts_for_no_best_until_it_is_shown(database, owner, conn):
    compared(owner)
    first = colours_of(database.url)

    assert change_session(conn, "alice", "alice", hidden=True)
    judge_due(conn)
    assert owner.store.unjudged() == {}
    assert best_laps.colours(conn, "alice") == {}
    assert {one.owner for one in best_laps.bests(conn, SCOPE)} == {"", "bob", "carol"}
    assert [c.lap for c in best_laps.colours(conn, "bob").values()] == ["purple", "purple"]

    assert change_session(conn, "alice", "alice", hidden=False, title="Q")
    judge_due(conn)
    now = {place: colour for place, (colour, _) in colours_of(database.url).items()}
    assert now == {place: colour for place, (colour, _) in first.items()}
    assert {one.owner for one in best_laps.bests(conn, SCOPE)} == {"", "alice", "bob", "carol"}


def test_title_alone_has_nothing_judged_again(database, owner, conn):
    compared(owner)
    assert change_session(conn, "alice", "alice", title="Quali")
    assert change_session(conn, "alice", "alice", hidden=False)

    assert rows(database.url, "SELECT title, hidden FROM sessions WHERE key = 'alice'") == [
        ("Quali", False)
    ]
    assert owner.store.judgements_due() == {}


def test_scope_in_which_a_session_was_judged_first_is_judged_again_too(owner, conn):
    """Its car was reported anew, and its times there were not yet judged."""
    compared(owner)
    owner.write(told("alice", car="audi"))
    delete_session(conn, "alice", "alice")

    assert set(owner.store.judgements_due()) == {SCOPE, Category("acc", "spa", "audi")}


def test_erasure_finishes_what_a_page_only_began(database, owner, conn, monkeypatch):
    """Also where no worker reads the partition."""
    monkeypatch.setattr(erasure, "_JUDGE_AFTER_S", 0.0)
    monkeypatch.setattr(erasure, "_LOOK_EVERY_S", 0.05)
    compared(owner)
    owner.write(*drove("alice", 1, 2))
    stop = threading.Event()
    thread = threading.Thread(
        target=erasure.Erasure(DatabaseSettings(url=database.url)).run, args=[stop]
    )
    thread.start()
    try:
        assert delete_session(conn, "alice", "alice")
        wait_until(
            lambda: rows(database.url, "SELECT erased_at FROM deleted_sessions") != [(None,)]
        )
        wait_until(lambda: rows(database.url, "SELECT FROM judgements_due") == [])
    finally:
        stop.set()
        thread.join(WITHIN_S)
    assert not thread.is_alive()
    assert rows(database.url, "SELECT count(*) FROM telemetry") == [(0,)]
    assert colours_of(database.url)["bob", 2] == ("purple", 2)


def test_nobody_deletes_who_was_not_given_the_right(conn):
    """Also in a store without roles: a function is everybody's unless it is taken away."""
    query = """
        SELECT proname FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace
           AND proname IN ('change_session', 'delete_session', 'judge_again', 'erase_session')
           AND NOT has_function_privilege('public', oid, 'EXECUTE')
    """
    assert len(conn.execute(query).fetchall()) == 4
