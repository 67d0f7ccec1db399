"""The commands of docs/backup.md, run as they stand there; ingest goes on in what was restored."""

import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from ingest.embedded.postgres import embedded_programs
from ingest.embedded.process import quiet
from ingest.errors import PurpleSectorError
from ingest.store.schema.edition import read_edition
from ingest.store.schema.migrations import migrate
from serve.cli.store_status import read_store_status
from tests.documented import steps
from tests.paths import ROOT
from tests.service.field import answers, driven, keep
from tests.service.owner import Owner, drove, rows
from tests.service.test_edition import fresh_database

PAGE = ROOT / "docs" / "backup.md"
SERVERS = ["postgresql_server", "timescaledb_server"]
COLUMNSTORE_JOB = (
    "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression'"
)
EXTENSION = "SELECT FROM pg_extension WHERE extname = 'timescaledb'"
DRIVEN = (
    "SELECT sequence FROM telemetry JOIN sessions s ON s.id = session_id WHERE key = 'car' ORDER BY"
    " sequence"
)


@pytest.fixture(params=["elsewhere"] if os.environ.get("DATABASE_URL") else SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """The server that DATABASE_URL names, else one of each edition that runs here."""
    return os.environ.get("DATABASE_URL") or str(request.getfixturevalue(request.param))


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
        compress_old_chunks(url)
        yield url


def compress_old_chunks(url: str) -> None:
    """Run the columnstore job where there is one; a restored one runs at once."""
    with psycopg.connect(url, autocommit=True) as conn:
        if read_edition(conn).community:
            ((job,),) = conn.execute(COLUMNSTORE_JOB).fetchall()
            conn.execute("CALL run_job(%s)", [job])


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The folder of pg_dump and pg_restore; of the newer release, which reads the older one too."""
    try:
        return embedded_programs(tmp_path, None, quiet).folder
    except PurpleSectorError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def restored(server: str, store: str, programs: Path, tmp_path: Path) -> Iterator[str]:
    """The store after the steps of the page for its edition, in a database of another name."""
    timescaledb = bool(rows(store, EXTENSION))
    section = "TimescaleDB, Apache or Community edition" if timescaledb else "plain PostgreSQL"
    name = f"test_{uuid.uuid4().hex[:12]}"
    url = f"{server.rpartition('/')[0]}/{name}"
    for step in steps(PAGE, "Dump"):
        run(programs, step.replace('"$DATABASE_URL"', store), url, tmp_path)
    for step in steps(PAGE, f"Restore: {section}"):
        run(programs, step.replace("purple_sector", name), url, tmp_path)
    yield url
    drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(drop)


def run(programs: Path, step: str, url: str, folder: Path) -> None:
    """Run PostgreSQL's programs from their folder, and our own command from here."""
    parts = urlsplit(url)
    server = {"PGHOST": parts.hostname, "PGPORT": str(parts.port), "PGUSER": parts.username}
    name, *arguments = shlex.split(step)
    ours = [sys.executable, "-m", "serve.cli.main"]
    own = {"DATABASE_URL": url, "PYTHONPATH": str(ROOT), "PURPLE_SECTOR_HOME": str(folder)}
    done = subprocess.run(
        [*(ours if name == "purple-sector" else [programs / name]), *arguments],
        cwd=folder,
        env=os.environ | server | own,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_restored_store_answers_alike_and_takes_what_comes_next(store: str, restored: str) -> None:
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


def test_restore_that_lost_frames_is_not_called_healthy(restored: str) -> None:
    """As one without timescaledb_pre_restore() does in the Community edition: sessions are whole,
    chunks are not.
    """
    with psycopg.connect(restored, autocommit=True) as conn:
        conn.execute(
            "DELETE FROM telemetry"
            " WHERE time < now() - interval '5 days' AND time > now() - interval '12 days'"
        )
        (fault,) = read_store_status(conn).faults

    assert fault.startswith(
        "9,000 frames of 1 sessions were stored once and are not there, of 'day 9' among them"
    )
