"""Commands that ask a database which lacks our tables, or does not answer, say so in one line and
what to do.
"""

from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import CliRunner

from ingest.embedded.process import free_ports
from ingest.errors import NotAllowed, PurpleSectorError, SchemaOutdated, StoreUnavailable
from serve.cli.main import command

QUESTIONS = (
    ["database", "status"],
    ["laps", "recompute"],
    ["laps", "fleet", "results"],
    ["export", "anna", "anna.csv"],
)


def refusals(url: str, monkeypatch: pytest.MonkeyPatch) -> list[PurpleSectorError]:
    monkeypatch.setenv("DATABASE_URL", url)
    outcomes = [CliRunner().invoke(command, question).exception for question in QUESTIONS]
    return [outcome for outcome in outcomes if isinstance(outcome, PurpleSectorError)]


def test_a_database_without_our_tables(database, tmp_path, monkeypatch):
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("DROP TABLE sessions CASCADE")
    monkeypatch.chdir(tmp_path)
    said = refusals(database.url, monkeypatch)

    assert [type(refusal) for refusal in said] == [SchemaOutdated] * len(QUESTIONS)
    assert all("run purple-sector database upgrade" in str(refusal) for refusal in said)


def test_a_database_that_refuses_its_user(database, tmp_path, monkeypatch):
    """An analyst who was given an account, and nothing to read with it."""
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS analyst")
        conn.execute("CREATE ROLE analyst LOGIN PASSWORD 'hidden'")
    monkeypatch.chdir(tmp_path)
    place = urlsplit(database.url)
    theirs = place._replace(netloc=f"analyst:hidden@{place.netloc.rpartition('@')[2]}")
    try:
        said = refusals(theirs.geturl(), monkeypatch)
    finally:
        with psycopg.connect(database.url, autocommit=True) as conn:
            conn.execute("DROP ROLE analyst")

    assert [type(refusal) for refusal in said] == [NotAllowed] * len(QUESTIONS)
    assert all("permission denied for table" in str(refusal) for refusal in said)


def test_a_database_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (port,) = free_ports(1)
    said = refusals(f"postgresql://anna:hidden@127.0.0.1:{port}/laps", monkeypatch)

    assert [type(refusal) for refusal in said] == [StoreUnavailable] * len(QUESTIONS)
    assert not any("hidden" in str(refusal) or "\n" in str(refusal) for refusal in said)
