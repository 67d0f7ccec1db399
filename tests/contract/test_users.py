"""Users are exported whole and forgotten wholly, and sessions changed, by the commands of an
operator.
"""

import json
import uuid
from io import BytesIO
from zipfile import ZipFile

import psycopg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingest.errors import PurpleSectorError
from ingest.store.removal.titles import InvalidTitle
from ingest.store.removal.user_export import OF_A_SESSION
from ingest.store.schema.roles import make_analyst, make_roles
from serve.cli.main import command
from tests.contract.test_deletions import everything, naming, wholly_stored
from tests.service.owner import drove, rows, told

USER, KEY = "user-alice", "key-of-alice"
LETTER_KEY = b"user-alice-20260314T150926Z-1f0c5a7e93b0d264"
WITH_SESSION_ID = (
    "SELECT table_name FROM information_schema.columns"
    " WHERE table_schema = 'public' AND column_name = 'session_id'"
)


@pytest.fixture
def run(database, monkeypatch):
    """Runs a command on the database, and returns what it printed."""
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("KAFKA_BROKERS", "127.0.0.1:1")

    def run(*arguments: str, given: str | None = None) -> str:
        done = CliRunner().invoke(command, arguments, input=given)
        if done.exception is not None:
            raise done.exception
        return done.stdout

    return run


@pytest.fixture
def conn(database, owner):
    """A store with all kinds of rows of a user, and a dead letter that made no session."""
    wholly_stored(owner, database.url)
    owner.write((LETTER_KEY, b"\xff"), (b"key-of-bob", b"\xff"))
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("UPDATE shares SET users = '{eve,user-alice}' WHERE made_by = 'eve'")
        conn.execute(
            "INSERT INTO shares (session_id, users, made_by)"
            " SELECT id, '{eve}', 'user-alice' FROM sessions"
        )
        yield conn


def test_everything_of_a_user_is_exported_and_nothing_of_others(conn, run, tmp_path):
    file = tmp_path / "alice.zip"
    run("users", "export", USER, str(file))

    assert file.stat().st_mode & 0o777 == 0o600
    with ZipFile(file) as archive:
        names = set(archive.namelist())
        folder = "sessions/0001/"
        assert {f"{folder}{table}.json" for table in OF_A_SESSION} <= names
        assert {name.partition("/")[0] for name in names} == {
            "sessions", "shares.json", "dead_letters.json", "user.json",
        }  # fmt: skip
        assert not any("bob" in archive.read(one).decode(errors="replace") for one in names)
        assert json.loads(archive.read("user.json")) == {"user": USER, "sessions": [KEY]}
        frames = pq.read_table(BytesIO(archive.read(f"{folder}frames.parquet")))
        assert frames["sequence"].to_pylist() == [1, 2, 5]
        assert pq.read_table(BytesIO(archive.read(f"{folder}seconds.parquet"))).num_rows
        letters = json.loads(archive.read("dead_letters.json"))
        assert [one["value"] for one in letters] == ["\\xff"]
    tables = {name for (name,) in conn.execute(WITH_SESSION_ID)}
    assert tables - {*OF_A_SESSION, "telemetry", "telemetry_1s", "lap_summary"} == {
        "shares", "deleted_sessions",
    }  # fmt: skip
    with pytest.raises(PurpleSectorError, match="exists already"):
        run("users", "export", USER, str(file))


def test_nothing_that_names_a_forgotten_user_is_left(conn, owner, run):
    with pytest.raises(SystemExit):
        run("users", "forget", USER, given="n\n")
    assert rows(conn.info.dsn, "SELECT count(*) FROM sessions") == [(2,)]

    assert "forgotten: 1 sessions" in run("users", "forget", USER, "--yes")

    assert naming(everything(conn), "alice") == []
    assert rows(conn.info.dsn, "SELECT key FROM sessions") == [("key-of-bob",)]
    assert rows(conn.info.dsn, "SELECT users, made_by FROM shares") == [(["eve"], "eve")]
    assert rows(conn.info.dsn, "SELECT key FROM dead_letters") == [(b"key-of-bob",)]
    assert "forgotten: 0 sessions" in run("users", "forget", USER, "--yes")


def test_login_of_a_forgotten_analyst_is_gone(conn, run):
    name = f"anna-{uuid.uuid4().hex[:8]}"
    with psycopg.connect(conn.info.dsn) as owner:
        make_roles(owner, {})
        make_analyst(owner, name, {})

    run("users", "forget", name, "--yes")
    run("users", "forget", "purple_ingest", "--yes")

    query = "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)"
    assert rows(conn.info.dsn, query, [[name, "purple_ingest"]]) == [("purple_ingest",)]


def test_session_is_renamed_hidden_shown_and_deleted(database, owner, run):
    owner.write(told("a", user_id="anna"), *drove("a", 1, 2))
    state = "SELECT title, hidden FROM sessions"

    run("sessions", "rename", "a", " Quali, wet ")
    run("sessions", "hide", "a")
    assert rows(database.url, state) == [("Quali, wet", True)]
    run("sessions", "show", "a")
    run("sessions", "rename", "a", "")
    assert rows(database.url, state) == [("", False)]
    with pytest.raises(InvalidTitle, match="printable"):
        run("sessions", "rename", "a", "a\nb")

    printed = run("sessions", "delete", "a", given="y\n")
    assert "deleted: a" in printed
    assert "session_deleted" in printed
    assert "audit=True" in printed
    assert rows(database.url, "SELECT count(*) FROM telemetry") == [(0,)]
    for arguments in (("hide", "a"), ("rename", "a", "b"), ("delete", "a", "--yes")):
        with pytest.raises(PurpleSectorError, match="session 'a' is not in the store"):
            run("sessions", *arguments)
