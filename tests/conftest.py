"""The services that tests talk to: real ones, started when the first test asks for them.

KAFKA_BROKERS and DATABASE_URL point the same tests at services that run elsewhere; what is neither there nor to be
had is a skip that says why.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ingest.schema import migrate
from ingest.services import jars, postgres
from ingest.services.broker import Broker, start_broker
from ingest.services.postgres import Postgres
from ingest.services.process import ServiceUnavailable


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A broker that somebody else started."""

    brokers: str


@dataclass(frozen=True, slots=True)
class Database:
    """A database of the test's own, with our schema."""

    url: str


def pytest_report_header() -> list[str]:
    """Which services the tests would run against."""
    kafka = os.environ.get("KAFKA_BROKERS") or f"{jars.NAME}, started when first asked for"
    database = "DATABASE_URL" if os.environ.get("DATABASE_URL") else f"{postgres.installed()}, started when asked for"
    return [f"broker: {kafka}", f"database: {database}"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(_STARTED, []):
        terminalreporter.write_line(line)


_STARTED = pytest.StashKey[list[str]]()


def _report(config: pytest.Config, line: str) -> None:
    config.stash.setdefault(_STARTED, []).append(line)


@pytest.fixture(scope="session")
def service_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own, which root keeps to itself."""
    folder = Path(tempfile.mkdtemp(prefix="purple-sector-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka(service_folder: Path, pytestconfig: pytest.Config) -> Iterator[Broker | Elsewhere]:
    """A Kafka broker for the whole run; tests make topics of their own."""
    if brokers := os.environ.get("KAFKA_BROKERS"):
        yield Elsewhere(brokers)
        return
    try:
        broker = start_broker(service_folder / "kafka")
    except ServiceUnavailable as missing:
        pytest.skip(f"no broker: {missing}")
    _report(pytestconfig, f"tests ran against {broker.name} ({broker.version}) {broker.costs}".rstrip())
    with broker:
        yield broker


@pytest.fixture(scope="session")
def database_server(service_folder: Path, pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of a PostgreSQL server for the whole run, as a user who may create databases."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    try:
        server = Postgres.start(service_folder / "postgres", durable=False)
    except ServiceUnavailable as missing:
        pytest.skip(f"no database: {missing}")
    _report(pytestconfig, f"tests ran against {postgres.installed()}")
    with server:
        yield server.url


@pytest.fixture
def database(database_server: str) -> Iterator[Database]:
    """A fresh database on that server, migrated, dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(database_server, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = _with_database(database_server, name)
    with psycopg.connect(url, autocommit=True) as conn:
        migrate(conn)
    yield Database(url)
    with psycopg.connect(database_server, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _with_database(url: str, name: str) -> str:
    base, _, query = url.partition("?")
    scheme, _, rest = base.partition("://")
    server = rest.partition("/")[0]
    return f"{scheme}://{server}/{name}" + (f"?{query}" if query else "")
