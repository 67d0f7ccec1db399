"""The services that tests talk to: real ones, started when the first test asks for them.

KAFKA_BROKERS and DATABASE_URL point the same tests at services that run elsewhere; what is neither
there nor to be had is a skip that says why.
"""

import gc
import os
import shutil
import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from ingest.embedded import postgres, timescale
from ingest.embedded.kafka import jars
from ingest.embedded.postgres import FindPrograms, Postgres, embedded_programs
from ingest.embedded.process import ServiceUnavailable
from ingest.embedded.timescale import timescale_programs
from tests import canaries

if TYPE_CHECKING:
    from ingest.embedded.broker import Broker


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A broker that somebody else started."""

    brokers: str


@dataclass(frozen=True, slots=True)
class Database:
    """A database of the test's own, with our schema."""

    url: str


def pytest_configure(config: pytest.Config) -> None:
    # The process of pytest-xdist that runs no test waits for no import of Hypothesis, 0.7 s.
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        _set_examples()


def _set_examples() -> None:
    """A quarter of the examples while somebody waits for an answer; a build server tries as many as
    Hypothesis would.
    """
    from hypothesis import settings

    settings.register_profile("waited_for", max_examples=25, deadline=None)
    settings.register_profile(
        "thorough", settings.get_profile("ci"), max_examples=100, deadline=None
    )
    settings.load_profile("thorough" if os.environ.get("CI") else "waited_for")


def pytest_report_header() -> list[str]:
    """Which services the tests would run against."""
    if url := os.environ.get("DATABASE_URL"):
        databases = f"{_versions(url)}, which DATABASE_URL names"
    else:
        databases = (
            f"{timescale.installed()}, and {postgres.installed()}; started when first asked for"
        )
    kafka = os.environ.get("KAFKA_BROKERS") or f"{jars.NAME}, started when first asked for"
    return [f"broker: {kafka}", f"database: {databases}"]


def _versions(url: str) -> str:
    """What answers there: the server, and TimescaleDB with its edition if it has it."""
    with psycopg.connect(url, connect_timeout=10) as conn:
        row = conn.execute("""
            SELECT current_setting('server_version'), default_version,
                   current_setting('timescaledb.license', true)
              FROM (VALUES ('timescaledb')) AS wanted(name)
              LEFT JOIN pg_available_extensions USING (name)
        """).fetchone()
    assert row is not None
    server, timescaledb, edition = row
    # The edition is known only where the extension is made.
    which = f" ({edition} edition)" if edition else ""
    return f"PostgreSQL {server}" + (
        f" with TimescaleDB {timescaledb}{which}" if timescaledb else ""
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests live until the end: the garbage collector need not walk them again and
    again.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that shows a secret of its fixtures."""
    report = yield
    places = ["what it printed"] if canaries.is_in(_printed(report)) else []
    if call.when == "call":
        places += [f"arguments of {pid}" for pid in canaries.command_lines_with_one()]
    if places and report.outcome == "passed":
        report.outcome = "failed"
        report.longrepr = f"a secret of a fixture is in {', '.join(places)}"
    return report


def _printed(report: pytest.TestReport) -> str:
    return f"{report.capstdout}{report.capstderr}{report.caplog}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in dict.fromkeys(config.stash.get(_STARTED, [])):
        terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What a worker of pytest-xdist has to say, to the process that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["said"] = session.config.stash.get(_STARTED, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for line in getattr(node, "workeroutput", {}).get("said", []):
        _report(node.config, line)


_STARTED = pytest.StashKey[list[str]]()


def _report(config: pytest.Config, line: str) -> None:
    config.stash.setdefault(_STARTED, []).append(line)


@pytest.fixture(scope="session")
def service_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own, which root keeps to itself."""
    folder = Path(tempfile.mkdtemp(prefix="purple-sector-tests-"))
    folder.chmod(0o755)
    yield folder
    leaks = canaries.files_with_one(folder.rglob("*.log"))
    shutil.rmtree(folder, ignore_errors=True)
    assert leaks == [], "a secret of a fixture is in a log"


@pytest.fixture(scope="session")
def kafka(service_folder: Path, pytestconfig: pytest.Config) -> "Iterator[Broker | Elsewhere]":
    """A Kafka broker for the whole run; tests make topics of their own."""
    # This file is also imported by the process of pytest-xdist that runs no test: what takes long
    # waits until it is needed.
    from ingest.embedded.broker import start_broker

    if brokers := os.environ.get("KAFKA_BROKERS"):
        yield Elsewhere(brokers)
        return
    try:
        broker = start_broker(service_folder / "kafka")
    except ServiceUnavailable as missing:
        pytest.skip(f"no broker: {missing}")
    _report(pytestconfig, f"tests ran against {broker.name} ({broker.version})")
    with broker:
        yield broker


@pytest.fixture(scope="session")
def postgresql_server(service_folder: Path, pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of a plain PostgreSQL for the whole run, as a user who may create databases."""
    yield from _server(service_folder / "postgresql", embedded_programs, pytestconfig)


@pytest.fixture(scope="session")
def timescaledb_server(service_folder: Path, pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of a PostgreSQL with TimescaleDB for the whole run, as a user who may create
    databases.
    """
    yield from _server(service_folder / "timescaledb", timescale_programs, pytestconfig)


def _server(folder: Path, programs: FindPrograms, config: pytest.Config) -> Iterator[str]:
    try:
        server = Postgres.start(folder, programs=programs, durable=False)
    except ServiceUnavailable as missing:
        pytest.skip(f"no database: {missing}")
    with server:
        if programs is timescale_programs:
            with psycopg.connect(server.url) as conn:
                conn.execute("CREATE EXTENSION timescaledb")
        _report(config, f"tests ran against {_versions(server.url)}")
        yield server.url


@pytest.fixture(scope="session")
def database_server(request: pytest.FixtureRequest) -> str:
    """The server that DATABASE_URL names, else one with TimescaleDB."""
    return os.environ.get("DATABASE_URL") or str(request.getfixturevalue("timescaledb_server"))


@pytest.fixture
def database(database_server: str) -> Iterator[Database]:
    """A fresh database on that server, migrated, dropped after the test."""
    with fresh_database(database_server) as database:
        yield database


@contextmanager
def fresh_database(database_server: str) -> Iterator[Database]:
    """The same for as long as the block lasts."""
    from ingest.store.schema.migrations import migrate

    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(database_server, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = _with_database(database_server, name)
    with psycopg.connect(url, autocommit=True) as conn:
        migrate(conn)
    yield Database(url)
    with psycopg.connect(database_server, autocommit=True) as conn:
        conn.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def _with_database(url: str, name: str) -> str:
    base, _, query = url.partition("?")
    scheme, _, rest = base.partition("://")
    server = rest.partition("/")[0]
    return f"{scheme}://{server}/{name}" + (f"?{query}" if query else "")
