"""What REST says where the database is not the one that this version was written for."""

import asyncio

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from ingest.settings import DatabaseSettings
from serve.bridge import Bridge
from serve.hub import Hub
from serve.stored import Stored, add_routes


@pytest.fixture
def get(database):
    stored = Stored(DatabaseSettings.read(url=database.url))
    stored.open()
    app = FastAPI()
    add_routes(app, stored, Bridge(Hub()))

    async def ask(path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rest") as client:
            return await client.get(path)

    yield lambda path: asyncio.run(ask(path))
    stored.close()


def test_database_that_was_not_upgraded_is_said(get, database):
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("INSERT INTO sessions (key, topic, partition) VALUES ('s', 'telemetry', 0)")
        conn.execute("DROP FUNCTION telemetry_1s_of")
        conn.execute("ALTER TABLE sessions RENAME driver TO pilot")

    for path in ("/api/sessions/s/seconds", "/api/sessions"):
        answer = get(path)
        assert answer.status_code == 503
        assert "run purple-sector database upgrade" in answer.json()["error"]


def test_what_is_not_known_is_not_found(get):
    assert get("/api/sessions/nobody/laps").status_code == 404
