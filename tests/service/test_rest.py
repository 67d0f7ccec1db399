"""What REST says where the database is not the one that this version was written for."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from ingest.settings import DatabaseSettings
from serve.bridge.live.hub import Hub
from serve.bridge.live.websocket import Bridge
from serve.bridge.rest.routes import add_routes
from serve.bridge.rest.store_reader import StoreReader


@contextmanager
def serving(url):
    """REST on this store, asked without a socket."""
    stored = StoreReader(DatabaseSettings.read(url=url))
    stored.open()
    app = FastAPI()
    add_routes(app, stored, Bridge(Hub()))

    async def ask(path):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://rest"
        ) as client:
            return await client.get(path)

    yield lambda path: asyncio.run(ask(path))
    stored.close()


@pytest.fixture
def get(database):
    with serving(database.url) as get:
        yield get


def test_database_that_was_not_upgraded_is_reported(get, database):
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("INSERT INTO sessions (key, topic, partition) VALUES ('s', 'telemetry', 0)")
        conn.execute("DROP FUNCTION telemetry_1s_of")
        conn.execute("ALTER TABLE sessions RENAME driver TO pilot")

    for path in ("/api/sessions/s/seconds", "/api/sessions"):
        answer = get(path)
        assert answer.status_code == 503
        assert "run purple-sector database upgrade" in answer.json()["error"]


def test_database_that_refuses_its_user_is_reported(database):
    place = urlsplit(database.url)
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS bridge")
        conn.execute("CREATE ROLE bridge LOGIN PASSWORD 'hidden'")
    try:
        with serving(
            place._replace(netloc=f"bridge:hidden@{place.netloc.rpartition('@')[2]}").geturl()
        ) as get:
            answer = get("/api/sessions")
    finally:
        with psycopg.connect(database.url, autocommit=True) as conn:
            conn.execute("DROP ROLE bridge")

    assert answer.status_code == 503
    assert "refuses this user" in answer.json()["error"]
    assert "hidden" not in answer.text


def test_store_is_read_with_limits_and_not_written(database):
    """A statement has 5 s, and all of REST has four connections; a reader writes nothing."""
    stored = StoreReader(DatabaseSettings.read(url=database.url))
    stored.open()
    try:
        assert stored.query(lambda conn: conn.execute("SHOW statement_timeout").fetchone()) == (
            "5s",
        )
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            stored.query(lambda conn: conn.execute("DELETE FROM sessions"))
        with ThreadPoolExecutor(12) as pool:
            found = [pool.submit(stored.query, backend) for _ in range(12)]
            assert len({one.result() for one in found}) <= 4
    finally:
        stored.close()


def backend(conn):
    return conn.execute("SELECT pg_backend_pid() FROM pg_sleep(0.1)").fetchone()


def test_pages_are_short_and_searches_too(get):
    assert get("/api/sessions?limit=100").status_code == 200
    for query in ("limit=101", "limit=0", "before=99999999999999999999", f"search={'x' * 5000}"):
        assert get(f"/api/sessions?{query}").status_code == 422


def test_what_is_not_known_is_not_found(get):
    assert get("/api/sessions/nobody/laps").status_code == 404


@pytest.fixture
def get_driven(get, database):
    """Two sessions that were driven on the first of January, one of them with a key that some
    producer chose.
    """
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO sessions (key, topic, partition, started_at, last_frame_at) SELECT key,"
            " 'telemetry', 0, '2026-01-01 10:00Z', '2026-01-01 18:00Z' FROM unnest(ARRAY['s',"
            " 'team/ann']) key"
        )
    return get


def test_key_may_hold_slashes(get_driven):
    for what in ("laps", "seconds", "lap-summaries"):
        assert get_driven(f"/api/sessions/team%2Fann/{what}").status_code == 200
    assert (
        "'team/ann' has no finished lap 7"
        in get_driven("/api/sessions/team%2Fann/laps/7").json()["error"]
    )


def test_what_no_session_can_be_called_is_not_found(get):
    assert get("/api/sessions/a%00b/laps").status_code == 404


def test_laps_that_nobody_can_count_are_none(get_driven):
    for numbers in ("first=99999999999", f"last=-{10**30}"):
        assert get_driven(f"/api/sessions/s/lap-summaries?{numbers}").json()["laps"] == []


@pytest.mark.parametrize(
    ("since", "following"),
    [
        ("9999-12-31T23:59:59Z", None),
        ("0001-01-01T00:00:00%2B14:00", "2026-01-01T11:00:00Z"),
        ("1970-01-01T00:00:00Z", "2026-01-01T11:00:00Z"),
        ("2026-01-01T16:30:00Z", "2026-01-01T17:30:00Z"),
        ("2026-01-01T17:30:00Z", None),
    ],
)
def test_seconds_are_of_what_was_driven_whenever_one_requests_from(get_driven, since, following):
    """From 1970 on there would be half a million hours to be led through, and after the year 9999
    there is none.
    """
    assert get_driven(f"/api/sessions/s/seconds?since={since}").json()["next"] == following
