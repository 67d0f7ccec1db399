"""The roles of the store: each does its part's work, and the server refuses it everything else."""

import base64
import hashlib
import hmac
import tempfile
import uuid
from dataclasses import replace
from typing import LiteralString

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql

from analytics.errors import UnknownSession
from analytics.laps.best_laps import Category
from analytics.model.lap_filter import LapFilter
from analytics.store import best_laps, queries, summaries
from analytics.store.source import PostgresSource
from ingest.control import gap_recovery
from ingest.errors import SchemaOutdated
from ingest.settings import DatabaseSettings
from ingest.store.recompute import recompute, stored_sessions, write
from ingest.store.removal.deletions import (
    Erased,
    change_session,
    delete_session,
    erase_deleted,
    judge_due,
)
from ingest.store.schema.analyst_views import VIEWS
from ingest.store.schema.grants import ANALYSTS, BRIDGE, INGEST, RoleTooStrong
from ingest.store.schema.migrations import migrate
from ingest.store.schema.roles import NotAnAnalyst, make_analyst, make_roles
from serve.cli.database.commands import address_of
from serve.cli.main import command
from serve.local.system import check_or_prepare_database
from tests.bench.records import serialized_session
from tests.service.field import answers, plan
from tests.service.owner import STARTED_AT_MS, Owner, drove, rows, told

FRAMES = 13_000  # a lap out of the pits, and a flying one
SCOPE = Category("simulator", "ring", "gt3")

CREATING = [
    "CREATE TABLE mine ()",
    "CREATE TABLE analyst.mine ()",
    "CREATE TEMPORARY TABLE mine ()",
    "CREATE SCHEMA mine",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE INDEX ON public.sessions (car)",
    "ALTER TABLE public.sessions ADD COLUMN mine integer",
    "COMMENT ON TABLE public.sessions IS 'mine'",
    "DROP TABLE public.telemetry",
    "DROP VIEW analyst.telemetry",
    "DROP FUNCTION telemetry_1s_of",
    "CREATE ROLE mine",
]
RISING = [
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "GRANT purple_ingest TO CURRENT_USER",
    "GRANT purple_analyst TO purple_ingest",
    "ALTER ROLE purple_analyst LOGIN",
    "ALTER ROLE purple_ingest PASSWORD 'mine'",
    "SET SESSION AUTHORIZATION {owner}",
    "SET ROLE {owner}",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_read_file('/etc/hostname')",
    "SELECT lo_import('/etc/hostname')",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY (SELECT 1) TO '/tmp/mine'",
    "SELECT pg_reload_conf()",
    "SELECT pg_terminate_backend({pid})",
    "CALL expire(1, '{{}}')",
    "CALL sum_up_laps(1, '{{}}')",
]
WRITING = [
    "INSERT INTO sessions (key, topic, partition) VALUES ('mine', '', 0)",
    "UPDATE sessions SET car = 'mine'",
    "DELETE FROM sessions",
    "DELETE FROM laps",
    "INSERT INTO telemetry (session_id, time) VALUES (1, now())",
    "SELECT FROM sessions FOR UPDATE",
    "LOCK TABLE sessions IN ROW EXCLUSIVE MODE",
    "SELECT FROM dead_letters",
    "SELECT FROM partition_offsets",
    "SELECT FROM telemetry_pending",
    "SELECT advance('', 0, 0, 0, 0, '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')",
]
FORBIDDEN: dict[str, list[str]] = {
    INGEST: [
        *CREATING,
        *(one for one in RISING if one != "ALTER ROLE purple_ingest PASSWORD 'mine'"),
        "TRUNCATE telemetry",
        "TRUNCATE sessions, laps",
        "DELETE FROM telemetry",
        "UPDATE telemetry SET rpm = 0",
        "DELETE FROM sessions",
        "DELETE FROM gaps",
        "UPDATE tracks SET version = 1",
        "INSERT INTO lap_sums (session_id, lap_number) VALUES (1, 1)",
        "SELECT FROM analyst.sessions",
        "SELECT FROM shares",
        "INSERT INTO shares (session_id, users, made_by) VALUES (1, '{{mine}}', '')",
        "UPDATE shares SET revoked_at = now()",
        "DELETE FROM shares",
        "SELECT delete_session('a', '')",
        "SELECT change_session('a', '', 'mine', true)",
        "SELECT judge_again(1)",
        "DELETE FROM deleted_sessions",
        "INSERT INTO deleted_sessions (session_id, key_hash) VALUES (1, '')",
        "INSERT INTO judgements_due (game) VALUES ('mine')",
    ],
    BRIDGE: [
        *CREATING,
        *RISING,
        *WRITING,
        "TRUNCATE laps",
        "SELECT FROM gaps",
        "SELECT FROM clock_corrections",
        "SELECT FROM analyst.sessions",
        "DELETE FROM shares",
        "TRUNCATE shares",
        "UPDATE shares SET users = ARRAY['mine']",
        "UPDATE shares SET session_id = 1, expires_at = NULL",
        "UPDATE shares SET token_sha256 = NULL, lap_number = NULL",
        "INSERT INTO shares (session_id, users, made_by, made_at) VALUES (1, '{{a}}', '', now())",
        "SELECT erase_session(1, 1)",
        "SELECT judge_again(1)",
        "SELECT FROM judgements_due",
        "DELETE FROM deleted_sessions",
        "INSERT INTO deleted_sessions (session_id, key_hash) VALUES (1, '')",
    ],
    ANALYSTS: [
        *CREATING,
        *RISING,
        *WRITING,
        "UPDATE analyst.sessions SET user_id = 'mine'",
        *(f"SELECT FROM public.{view.table}" for view in VIEWS.values()),
        "INSERT INTO shares (session_id, users, made_by) VALUES (1, '{{mine}}', '')",
        "UPDATE shares SET revoked_at = now()",
        "SELECT public.delete_session('a', '')",
        "SELECT public.change_session('a', '', 'mine', true)",
        "SELECT public.erase_session(1, 1)",
        "SELECT FROM public.deleted_sessions",
        "SELECT FROM public.telemetry_1s",
        "SELECT FROM public.telemetry_1s_of(1, '-infinity', 'infinity')",
        "SELECT FROM {chunk}",
    ],
}


@pytest.fixture
def owner_url(database):
    """The database with its roles."""
    with psycopg.connect(database.url) as conn:
        # PostgreSQL has it so up to version 14.
        conn.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        make_roles(conn, {})
    return database.url


@pytest.fixture
def as_role(owner_url):
    """The address for a role's login."""
    with psycopg.connect(owner_url) as conn:
        logins = {login.name: login for login in make_roles(conn, {}, renew=True)}

    def address(name):
        return address_of(owner_url, name, logins[name].password)

    return address


@pytest.fixture
def analyst(owner_url):
    """Makes logins of analysts, with names of the test's own; they go with the test."""
    made = {}

    def address(name):
        if name not in made:
            with psycopg.connect(owner_url) as conn:
                own = f"{name}-{uuid.uuid4().hex[:8]}"
                ((login),) = make_analyst(conn, own, {})
                made[name] = login
        return made[name].name, address_of(owner_url, made[name].name, made[name].password)

    yield address
    with psycopg.connect(owner_url, autocommit=True) as conn:
        for login in made.values():
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login.name)))


def drive(owner, key, user, *, seed=1):
    """A session with two laps, as a collector gives it."""
    values = serialized_session(FRAMES, started_at_ms=STARTED_AT_MS, seed=seed)
    facts = {"game": SCOPE.game, "track": SCOPE.track, "car": SCOPE.car, "driver": user}
    owner.write(told(key, user_id=user, **facts), *[(key.encode(), one) for one in values[:7000]])
    owner.write(*[(key.encode(), one) for one in values[7000:]])


def _chunk(url):
    ((schema, name),) = rows(
        url,
        "SELECT DISTINCT relnamespace::regnamespace::text, relname"
        "  FROM telemetry t JOIN pg_class c ON c.oid = t.tableoid",
    )
    return f"{schema}.{name}"


def permitted(url, statements, **names):
    """Those that the server does not refuse; none of them leaves anything."""
    found = []
    with psycopg.connect(url) as conn:
        for statement in statements:
            try:
                conn.execute(statement.format(**names).encode())
            except (
                psycopg.errors.InsufficientPrivilege,
                psycopg.errors.ObjectNotInPrerequisiteState,  # a view that nobody can write to
            ):
                pass
            except psycopg.Error as other:
                found.append(f"{statement}: {type(other).__name__}: {other}")
            else:
                found.append(statement)
            conn.rollback()
    return found


# --- what is refused
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [INGEST, BRIDGE, ANALYSTS])
def test_every_statement_beyond_a_roles_work_is_refused(owner_url, as_role, analyst, role):
    with Owner(owner_url) as owner:
        owner.write(*drove("a", 1, 2))
    url = analyst("anna")[1] if role == ANALYSTS else as_role(role)
    with psycopg.connect(owner_url) as conn:
        ((user,),) = conn.execute("SELECT current_user").fetchall()
        names = {"owner": user, "pid": conn.info.backend_pid, "chunk": _chunk(owner_url)}

        assert permitted(url, FORBIDDEN[role], **names) == []


def test_an_analyst_reads_nothing_of_another_user(owner_url, analyst):
    (anna, as_anna), (bob, as_bob) = analyst("anna"), analyst("bob")
    with Owner(owner_url) as owner:
        owner.write(told("a", user_id=anna), *drove("a", 1, 2))
        owner.write(told("b", user_id=bob), *drove("b", 1, 2, 5))
        owner.write(*drove("nobody", 1))
        fill(owner_url)

    for url, count, key in ((as_anna, 2, "a"), (as_bob, 3, "b")):
        with psycopg.connect(url) as conn:
            assert [one.key for one in queries.sessions(conn)] == [key]
            found = {view: conn.execute(of_view(view)).fetchall() for view in OF_A_SESSION}
            (own,) = conn.execute("SELECT id FROM sessions").fetchone()
            assert {id for ids in found.values() for (id,) in ids} == {own}
            assert all(found.values())
            assert conn.execute("SELECT count(*) FROM telemetry").fetchone() == (count,)
            assert conn.execute(SECONDS_OF_ALL).fetchone() == (1,)
            other = "b" if key == "a" else "a"
            with pytest.raises(UnknownSession):
                queries.session(conn, other)


SECONDS_OF_ALL = """
SELECT count(DISTINCT session_id)
  FROM generate_series(1, 9) AS id, telemetry_1s_of(id, '-infinity', 'infinity')
"""
NOT_OF_ONE = {"sessions", "whole_sessions", "shared", "tracks", "frames_of_laps"}
OF_A_SESSION = [view for view in VIEWS if view not in NOT_OF_ONE] + ["telemetry_1s"]


def of_view(view):
    return sql.SQL("SELECT session_id FROM {}").format(sql.Identifier(view))


def fill(url):
    """A row of every session in every table that analysts have a view of."""
    with psycopg.connect(url) as conn:
        for statement in (
            "INSERT INTO laps (session_id, lap_number, started_at, ended_at, frames, gaps,"
            " max_speed_kmh) SELECT id, 1, started_at, started_at + interval '1 s', 1, 0, 1"
            " FROM sessions",
            "INSERT INTO lap_sums SELECT session_id, 1, started_at, ended_at, 1, 1 FROM laps",
            "INSERT INTO lap_colours SELECT id, 1, 'green', '{{}}', 1, 1 FROM sessions",
            "INSERT INTO bests SELECT '', '', '', '', 0, '', id, now(), id, 1 FROM sessions",
            "INSERT INTO gaps (session_id, reason) SELECT id, 'missing' FROM sessions",
            "INSERT INTO clock_corrections SELECT id, 0, 1, now(), '' FROM sessions",
        ):
            conn.execute(statement.replace("{{}}", "{}").encode())


@pytest.mark.parametrize("view", ["sessions", "laps", "telemetry"])
def test_no_condition_of_an_analyst_sees_a_row_of_another(owner_url, analyst, view):
    """A cheap function in WHERE runs before a costly one, unless the view is a barrier."""
    anna, as_anna = analyst("anna")
    with Owner(owner_url) as owner:
        owner.write(told("a", user_id=anna), *drove("a", 1, 2))
        owner.write(told("b", user_id="bob"), *drove("b", 1, 2, 3))
        fill(owner_url)
    with psycopg.connect(owner_url) as conn:
        conn.execute(TELL)
    column: LiteralString = "id" if view == "sessions" else "session_id"
    with psycopg.connect(as_anna) as conn:
        told_of = seen_by(conn, f"SELECT FROM {view} WHERE tell({column})")
        ((own,),) = conn.execute("SELECT id::text FROM sessions").fetchall()

    assert told_of == {own}


TELL = """
CREATE FUNCTION tell(seen bigint) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS
'BEGIN RAISE NOTICE ''%'', seen; RETURN true; END';
GRANT EXECUTE ON FUNCTION tell TO PUBLIC
"""


def seen_by(conn, query):
    """The values that `TELL` met in a query."""
    told_of = []
    conn.add_notice_handler(lambda notice: told_of.append(notice.message_primary))
    conn.execute(query.encode())
    return set(told_of)


# --- each does its work
# --------------------------------------------------------------------------------------------------


def test_ingest_does_all_its_work_as_its_role(owner_url, as_role):
    url = as_role(INGEST)
    with Owner(url) as first:
        drive(first, "a", "anna")
    with Owner(url) as owner, psycopg.connect(url, autocommit=True) as conn:
        owner.write((b"a", b"\xff"), *drove("g", 1, 5), told("g", last_sequence=9))
        owner.write(*drove("g", 2))
        assert owner.store.judge(SCOPE, 0)
        owner.store.learn_track((SCOPE.game, SCOPE.track))
        owner.store.skip_lost(owner.fence, owner.position, owner.position + 1)
        owner.store.move_pending()
        owner.store.adopt_orphans()
        for statement in (gap_recovery._MISSING, gap_recovery._LOST, gap_recovery._RESOLVE_LOST):
            conn.execute(statement.encode(), {"keep_s": 7200, "rows": 100})
        for one in stored_sessions(conn, "a"):
            write(conn, recompute(conn, replace(one, live=False)))

    assert rows(owner_url, "SELECT count(*) FROM telemetry") == [(FRAMES + 3,)]
    assert rows(owner_url, "SELECT count(*) FROM laps") == [(2,)]
    assert rows(owner_url, "SELECT count(*) > 0 FROM bests") == [(True,)]
    assert rows(owner_url, "SELECT count(*) FROM dead_letters") == [(1,)]


def test_the_page_deletes_and_ingest_erases_only_what_is_deleted(owner_url, as_role):
    with Owner(owner_url) as owner:
        drive(owner, "a", "anna")
        owner.write(*drove("b", 1, 2))
        assert owner.store.judge(SCOPE, 0)
    (a,), (b,) = rows(owner_url, "SELECT id FROM sessions ORDER BY key")
    with psycopg.connect(as_role(INGEST), autocommit=True) as ingest:
        for session in (a, b):
            with pytest.raises(psycopg.Error, match="was not deleted"):
                ingest.execute("SELECT erase_session(%s, 1)", [session])
        with psycopg.connect(as_role(BRIDGE), autocommit=True) as page:
            assert change_session(page, "b", "", title="mine")
            assert delete_session(page, "a", "anna")
        judge_due(ingest)
        assert erase_deleted(ingest) == Erased(1, 0)
    assert rows(owner_url, "SELECT key, title FROM sessions") == [("b", "mine")]
    assert rows(owner_url, "SELECT count(*) FROM telemetry") == [(2,)]
    assert rows(owner_url, "SELECT count(*) FROM bests") == [(0,)]


def test_bridge_and_analyst_read_what_the_owner_reads(owner_url, as_role, analyst):
    anna, as_anna = analyst("anna")
    with Owner(owner_url) as owner:
        drive(owner, "a", anna)
        assert owner.store.judge(SCOPE, 0)
    with psycopg.connect(owner_url, autocommit=True) as conn:
        expected = read_all(conn)
    for url in (as_role(BRIDGE), as_anna):
        with psycopg.connect(url, autocommit=True) as conn:
            assert read_all(conn) == expected

    source = PostgresSource(as_anna)
    (session,) = source.sessions(LapFilter())
    assert (session.key, session.user_id) == ("a", anna)
    assert [lap.lap_number for _, lap in source.laps(LapFilter())] == [1, 2]
    assert source.layouts([session]) == {}
    feed = source.feed(session, ["time", "speed_kmh"])
    assert source.frames(session, ["speed_kmh"]).num_rows == feed.poll().num_rows == FRAMES
    assert feed.poll().num_rows == 0
    source.close()


def test_the_condition_of_an_analysts_query_reaches_the_index_of_the_frames(owner_url, analyst):
    anna, as_anna = analyst("anna")
    with Owner(owner_url) as owner:
        drive(owner, "a", anna)
    with psycopg.connect(as_anna, autocommit=True) as conn:
        conn.execute("SET enable_seqscan = off")
        (session,) = queries.sessions(conn)
        for read in (lambda c: queries.lap_frames(c, "a", 1), lambda c: summaries.seconds(c, "a")):
            conditions = [line for line in plan(conn, read).splitlines() if "Index Cond" in line]
            assert [c for c in conditions if f"session_id = {session.id})" in c and "time" in c]


def read_all(conn):
    """What REST and notebooks read of a session."""
    return (
        queries.sessions(conn, search="gt3"),
        answers(conn, "a"),
        best_laps.colours(conn, "a"),
        [one for one in best_laps.bests(conn, SCOPE) if one.owner],
        conn.execute("SELECT * FROM lap_summary ORDER BY lap_number").fetchall(),
    )


# --- making them
# --------------------------------------------------------------------------------------------------


def test_roles_are_made_once_and_a_migration_keeps_their_rights(owner_url, as_role, analyst):
    as_anna = analyst("anna")[1]
    url = as_role(INGEST)
    with psycopg.connect(owner_url) as conn:
        assert make_roles(conn, {}) == []
        conn.execute("GRANT DELETE ON telemetry TO purple_ingest")
        conn.execute("REVOKE INSERT ON telemetry FROM purple_ingest")
        migrate(conn)

    assert permitted(url, ["DELETE FROM telemetry"]) == []
    with Owner(url) as owner:
        owner.write(*drove("a", 1))
    assert rows(as_anna, "SELECT count(*) FROM telemetry") == [(0,)]


def test_a_password_is_sent_as_what_it_can_be_checked_by(owner_url):
    with psycopg.connect(owner_url) as conn, tempfile.TemporaryFile() as sent:
        conn.pgconn.trace(sent.fileno())
        ((login),) = make_roles(conn, {INGEST: "a password of somebody's"})
        conn.pgconn.untrace()
        sent.seek(0)
        messages = sent.read()
        stored = conn.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [INGEST])
        ((verifier,),) = stored.fetchall()

    assert (login.name, login.password) == (INGEST, "a password of somebody's")
    assert b"somebody" not in messages
    assert verifier.encode() in messages
    assert is_verifier_of(verifier, login.password)


def is_verifier_of(verifier, password):
    """As RFC 5803 has it: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey."""
    _, head, keys = verifier.split("$")
    iterations, _, salt = head.partition(":")
    salted = hashlib.pbkdf2_hmac(
        "sha256", password.encode(), base64.b64decode(salt), int(iterations)
    )
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    return keys.partition(":")[0] == base64.b64encode(stored_key).decode()


def test_a_role_that_may_do_more_is_refused(owner_url):
    with psycopg.connect(owner_url) as conn:
        conn.execute("ALTER ROLE purple_bridge CREATEROLE")
        with pytest.raises(RoleTooStrong, match="purple_bridge may act for others"):
            make_roles(conn, {})
        conn.rollback()


@pytest.mark.parametrize("name", ["purple_ingest", "purple_analyst", None])
def test_only_a_login_of_its_own_becomes_an_analyst(owner_url, name):
    with psycopg.connect(owner_url) as conn, pytest.raises(NotAnAnalyst):
        make_analyst(conn, name or conn.info.user, {})


def test_ingest_starts_on_its_version_of_the_schema_only(owner_url, as_role):
    settings = DatabaseSettings(url=as_role(INGEST))
    said = []
    check_or_prepare_database(settings, said.append)
    assert len(said) == 1

    with psycopg.connect(owner_url) as conn:
        conn.execute("COMMENT ON TABLE partition_offsets IS 'schema of long ago'")
    with pytest.raises(SchemaOutdated, match="purple-sector database upgrade"):
        check_or_prepare_database(settings, said.append)


def test_the_command_prints_the_address_of_a_new_login_once(owner_url, monkeypatch):
    name, secret = f"anna-{uuid.uuid4().hex[:8]}", "0123456789abcdef"
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("OWNER_DATABASE_URL", owner_url)

    def run(*options, given=None):
        done = CliRunner().invoke(command, ["database", "roles", *options], input=given)
        assert done.exception is None
        return done.stdout.splitlines()

    (line,) = run("--analyst", name)
    variable, _, url = line.partition("=")
    assert variable == "DATABASE_URL"
    assert rows(url, "SELECT current_user::text, count(*) FROM sessions") == [(name, 0)]
    assert run("--analyst", name) == run() == []
    (line,) = run("--analyst", name, "--passwords", "-", given=f"{name}={secret}\n")
    assert f"{name}:...@" in line
    assert [one.partition("=")[0] for one in run("--new-passwords")] == [
        "DATABASE_URL",
        "SERVE_DATABASE_URL",
    ]
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
