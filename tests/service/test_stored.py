"""REST over a real database: what is stored, what is not, and what a browser gets."""

import asyncio

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from ingest.settings import DatabaseSettings
from serve.bridge import Bridge
from serve.hub import Hub, Record
from serve.stored import TRACE, Stored, add_routes

SESSION = "INSERT INTO sessions (key, user_id, track, topic, partition, frames) VALUES (%s, 'anna', 'Monza', 'telemetry', 0, 3)"
LAP = """
INSERT INTO laps (session_id, lap_number, started_at, lap_time_ms, frames, gaps, max_speed_kmh)
VALUES (1, 4, '2024-05-04 10:00Z', 80123, 3, 0, 301.5)
"""
FRAME = """
INSERT INTO telemetry (time, session_id, sequence, lap_number, lap_clock_ms, normalized_position, speed_kmh, throttle, brake, steering, rpm, gear)
SELECT '2024-05-04 10:00Z'::timestamptz + n * interval '16 ms', 1, n, 4, n * 16, n / 10.0, 200 + n, 1, 0, 0, 7000, 5 FROM generate_series(0, 2) n
"""


class Browser:
    """GETs an application that no server runs."""

    def __init__(self, app):
        self._transport = httpx.ASGITransport(app)

    def get(self, path):
        async def once():
            async with httpx.AsyncClient(transport=self._transport, base_url="http://bridge") as client:
                return await client.get(path)

        return asyncio.run(once())


@pytest.fixture
def bridge():
    return Bridge(Hub())


@pytest.fixture
def rest(database, bridge):
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute(SESSION, ["monza"])
        conn.execute(LAP)
        conn.execute(FRAME)
    app, stored = FastAPI(), Stored(DatabaseSettings.read(url=database.url))
    add_routes(app, stored, bridge)
    stored.open()
    yield Browser(app)
    stored.close()


def test_a_stored_session_is_live_while_its_records_arrive(rest, bridge):
    (before,) = rest.get("/api/sessions").json()["sessions"]
    bridge.deliver([Record("monza", "anna", b"\x08\x01")])
    (after,) = rest.get("/api/sessions").json()["sessions"]

    assert (before["key"], before["track"], before["live"], after["live"]) == ("monza", "Monza", False, True)


def test_laps_have_their_times(rest):
    (lap,) = rest.get("/api/sessions/monza/laps").json()["laps"]

    assert (lap["lap_number"], lap["lap_time_ms"], lap["started_at"]) == (4, 80123, "2024-05-04T10:00:00Z")


def test_a_lap_comes_as_columns(rest):
    columns = rest.get("/api/sessions/monza/laps/4").json()["columns"]

    assert list(columns) == list(TRACE)
    assert columns["speed_kmh"] == [200, 201, 202]
    assert columns["lap_clock_ms"] == [0, 16, 32]


@pytest.mark.parametrize("path", ["/api/sessions/spa/laps", "/api/sessions/spa/laps/4", "/api/sessions/monza/laps/9"])
def test_what_is_not_stored_is_404_in_words(rest, path):
    answer = rest.get(path)

    assert answer.status_code == 404
    assert answer.json()["error"]
