"""Dump and restore as docs/backup.md has them, by PostgreSQL's own programs; ingest goes on in what
was restored.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ingest.embedded.postgres import embedded_programs
from ingest.embedded.process import quiet
from ingest.errors import PurpleSectorError
from ingest.settings import DatabaseSettings
from ingest.store.schema.migrations import migrate
from serve.cli.store_status import read_store_status
from serve.local.system import prepare_database
from tests.service.field import answers, driven, keep
from tests.service.owner import Owner, drove, rows
from tests.service.test_edition import fresh_database

EXTENSION = "SELECT FROM pg_extension WHERE extname = 'timescaledb'"
DRIVEN = (
    "SELECT sequence FROM telemetry JOIN sessions s ON s.id = session_id WHERE key = 'car' ORDER BY"
    " sequence"
)


@pytest.fixture(params=["postgresql", "timescaledb"])
def server(request: pytest.FixtureRequest) -> str:
    """A server of each edition that runs here."""
    return str(request.getfixturevalue(f"{request.param}_server"))


@pytest.fixture
def store(server: str) -> Iterator[str]:
    """A store with two sessions in chunks of their own, and one that a worker drives."""
    with fresh_database(server) as url:
        with psycopg.connect(url, autocommit=True) as conn:
            migrate(conn)
            for days in (1, 9):
                keep(conn, f"day {days}", driven(days_ago=days))
        with Owner(url) as owner:
            owner.write(*drove("car", 1, 2, 3))
        yield url


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The folder of pg_dump and pg_restore; of the newer release, which reads the older one too."""
    try:
        return embedded_programs(tmp_path, None, quiet).folder
    except PurpleSectorError as missing:
        pytest.skip(str(missing))


def run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def restore(programs: Path, dump: Path, url: str, *, timescaledb: bool) -> None:
    """The steps of docs/backup.md."""
    with psycopg.connect(url, autocommit=True) as conn:
        if timescaledb:
            conn.execute("CREATE EXTENSION timescaledb")
            conn.execute("SELECT timescaledb_pre_restore()")
    run(programs / "pg_restore", "--no-owner", f"--dbname={url}", dump)
    with psycopg.connect(url, autocommit=True) as conn:
        if timescaledb:
            conn.execute("SELECT timescaledb_post_restore()")
    prepare_database(DatabaseSettings.read(url=url), lambda _: None)


def test_restored_store_answers_alike_and_takes_what_comes_next(
    server: str, store: str, programs: Path, tmp_path: Path
) -> None:
    dump = tmp_path / "purple-sector.dump"
    run(programs / "pg_dump", "--format=custom", f"--file={dump}", store)
    with fresh_database(server) as restored:
        restore(programs, dump, restored, timescaledb=bool(rows(store, EXTENSION)))
        with psycopg.connect(store) as before, psycopg.connect(restored) as after:
            assert [answers(after, f"day {days}") for days in (1, 9)] == [
                answers(before, f"day {days}") for days in (1, 9)
            ]
            assert read_store_status(after).faults == []
            assert read_store_status(after).chunks == read_store_status(before).chunks
        with Owner(restored) as owner:
            assert owner.position == 3
            owner.write(*drove("car", 3, 4))

        assert rows(restored, DRIVEN) == [(1,), (2,), (3,), (4,)]


def test_restore_that_lost_frames_is_not_called_healthy(
    server: str, store: str, programs: Path, tmp_path: Path
) -> None:
    """As one without timescaledb_pre_restore() does in the Community edition: sessions are whole,
    chunks are not.
    """
    dump = tmp_path / "purple-sector.dump"
    run(programs / "pg_dump", "--format=custom", f"--file={dump}", store)
    with fresh_database(server) as restored:
        restore(programs, dump, restored, timescaledb=bool(rows(store, EXTENSION)))
        with psycopg.connect(restored, autocommit=True) as conn:
            conn.execute(
                "DELETE FROM telemetry WHERE time < now() - interval '5 days' AND time > now() -"
                " interval '12 days'"
            )
            (fault,) = read_store_status(conn).faults

    assert fault.startswith(
        "9,000 frames of 1 sessions were stored once and are not there, of 'day 9' among them"
    )
