"""REST over a real database: what is stored, what is not, and what a browser gets."""

import asyncio

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from ingest.settings import DatabaseSettings
from serve.bridge.live.hub import Hub, LiveRecord
from serve.bridge.live.websocket import Bridge
from serve.bridge.rest.answers import TRACE
from serve.bridge.rest.routes import add_routes
from serve.bridge.rest.store_reader import StoreReader

SESSION = (
    "INSERT INTO sessions (key, user_id, track, topic, partition, frames) VALUES (%s, 'anna',"
    " 'Monza', 'telemetry', 0, 3)"
)
LAP = """
INSERT INTO laps (session_id, lap_number, started_at, ended_at, lap_time_ms, frames, gaps,
    max_speed_kmh)
VALUES (1, 4, '2024-05-04 10:00Z', '2024-05-04 10:01:20.123Z', 80123, 3, 0, 301.5)
"""
FRAME = """
INSERT INTO telemetry (time, session_id, sequence, lap_number, lap_clock_ms, normalized_position,
    speed_kmh, throttle, brake, steering, rpm, gear)
SELECT '2024-05-04 10:00Z'::timestamptz + n * interval '16 ms', 1, n, 4, n * 16, n / 10.0, 200 + n,
       1, 0, 0, 7000, 5 FROM generate_series(0, 2) n
"""


class Browser:
    """GETs an application that no server runs."""

    def __init__(self, app):
        self._transport = httpx.ASGITransport(app)

    def get(self, path):
        async def once():
            async with httpx.AsyncClient(
                transport=self._transport, base_url="http://bridge"
            ) as client:
                return await client.get(path)

        return asyncio.run(once())


@pytest.fixture
def bridge():
    return Bridge(Hub())


@pytest.fixture
def rest(database, bridge):
    # In one transaction, as ingest does: a job of the Community edition sums laps up at any moment.
    with psycopg.connect(database.url) as conn:
        conn.execute(SESSION, ["monza"])
        conn.execute(LAP)
        conn.execute(FRAME)
    app, stored = FastAPI(), StoreReader(DatabaseSettings.read(url=database.url))
    add_routes(app, stored, bridge)
    stored.open()
    yield Browser(app)
    stored.close()


def test_a_stored_session_is_live_while_its_records_arrive(rest, bridge):
    (before,) = rest.get("/api/sessions").json()["sessions"]
    bridge.deliver([LiveRecord("monza", "anna", b"\x08\x01\x38\x01")])
    (after,) = rest.get("/api/sessions").json()["sessions"]

    assert (before["key"], before["track"], before["live"], after["live"]) == (
        "monza",
        "Monza",
        False,
        True,
    )


def test_laps_have_their_times(rest):
    answer = rest.get("/api/sessions/monza/laps").json()
    (lap,) = answer["laps"]

    assert (lap["lap_number"], lap["lap_time_ms"], lap["started_at"]) == (
        4,
        80123,
        "2024-05-04T10:00:00Z",
    )
    assert lap["ended_at"] == answer["open_lap_started_at"] == "2024-05-04T10:01:20.123000Z"
    assert answer["open_lap"] == 5


REFUSED = """
CREATE FUNCTION refuse() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'querying compressed data is not supported under the current "timescaledb.license"'
        USING ERRCODE = 'feature_not_supported';
END $$;
ALTER TABLE laps RENAME TO laps_there;
CREATE VIEW laps AS SELECT * FROM laps_there WHERE refuse();
"""


def test_licence_that_went_away_is_said(rest, database):
    """TimescaleDB 2.29.2 reads no compressed chunk under the Apache licence."""
    with psycopg.connect(database.url) as conn:
        conn.execute(REFUSED)
    answer = rest.get("/api/sessions/monza/laps")

    assert answer.status_code == 503
    assert "licence is apache" in answer.json()["error"]


def test_laps_have_their_colours(rest, database):
    """Those that were judged; the others say that they were not."""
    with psycopg.connect(database.url) as conn:
        (before,) = rest.get("/api/sessions/monza/laps").json()["laps"]
        conn.execute("INSERT INTO lap_colours SELECT id, 4, 'purple', '{green}', 2 FROM sessions")
    (after,) = rest.get("/api/sessions/monza/laps").json()["laps"]

    assert (before["colour"], before["sector_colours"], before["colour_version"]) == ("", [], 0)
    assert (after["colour"], after["sector_colours"], after["colour_version"]) == (
        "purple",
        ["green"],
        2,
    )


def test_a_lap_comes_as_columns(rest):
    columns = rest.get("/api/sessions/monza/laps/4").json()["columns"]

    assert list(columns) == list(TRACE)
    assert columns["speed_kmh"] == [200, 201, 202]
    assert columns["lap_clock_ms"] == [0, 16, 32]


@pytest.mark.parametrize(
    "path",
    [
        "/api/sessions/spa/laps",
        "/api/sessions/spa/laps/4",
        "/api/sessions/monza/laps/9",
        "/api/sessions/spa/seconds",
    ],
)
def test_what_is_not_stored_is_404_in_words(rest, path):
    answer = rest.get(path)

    assert answer.status_code == 404
    assert answer.json()["error"]


def test_seconds_and_laps_come_summed_up(rest):
    columns = rest.get("/api/sessions/monza/seconds").json()["columns"]
    (lap,) = rest.get("/api/sessions/monza/lap-summaries").json()["laps"]

    assert (columns["second"], columns["frames"], columns["avg_speed_kmh"]) == (
        ["2024-05-04T10:00:00Z"],
        [3],
        [201],
    )
    assert (lap["lap_number"], lap["frames"], lap["max_speed_kmh"], lap["full_throttle_share"]) == (
        4,
        3,
        202,
        1,
    )


def test_laps_are_summed_up_from_one_to_another(rest):
    laps = [
        rest.get(f"/api/sessions/monza/lap-summaries?first={n}&last={n}").json()["laps"]
        for n in (3, 4, 5)
    ]

    assert [[lap["lap_number"] for lap in found] for found in laps] == [[], [4], []]


def test_seconds_come_from_where_the_reader_has_come_to(rest):
    """In pieces that are short enough to be written between two frames of somebody else; the last
    names no next.
    """
    whole = rest.get("/api/sessions/monza/seconds").json()
    from_then_on = rest.get("/api/sessions/monza/seconds?since=2024-05-04T10:00:00.040Z").json()
    later = rest.get("/api/sessions/monza/seconds?since=2024-05-04T10:00:01Z").json()

    assert whole["next"] is None
    assert from_then_on == whole
    assert later["columns"].keys() == whole["columns"].keys()
    assert later["columns"]["second"] == []


def test_long_session_comes_an_hour_at_a_time(rest, database):
    with psycopg.connect(database.url) as conn:
        conn.execute(
            "UPDATE sessions SET started_at = '2024-05-04 10:00Z', last_frame_at = '2024-05-04"
            " 11:30Z'"
        )
        conn.execute(FRAME.replace("10:00Z", "11:30Z"))
    first = rest.get("/api/sessions/monza/seconds").json()
    second = rest.get(f"/api/sessions/monza/seconds?since={first['next']}").json()

    assert first["columns"]["second"] == ["2024-05-04T10:00:00Z"]
    assert (second["columns"]["second"], second["next"]) == (["2024-05-04T11:30:00Z"], None)


@pytest.mark.parametrize("offset", ["+02:00", "%2B02:00", "+0200"])
def test_plus_of_an_offset_may_be_bare(rest, offset):
    """In a query a bare plus is a space: who writes an instant as it is printed means the plus."""
    there = rest.get(f"/api/sessions/monza/seconds?since=2024-05-04T12:00:00{offset}")

    assert there.status_code == 200
    assert there.json() == rest.get("/api/sessions/monza/seconds?since=2024-05-04T10:00:00Z").json()


@pytest.mark.parametrize("since", ["yesterday", "2024-05-04T10:00:00"])
def test_instant_without_a_zone_is_refused(rest, since):
    assert rest.get(f"/api/sessions/monza/seconds?since={since}").status_code == 422


@pytest.fixture
def many(rest, database):
    """Two hundred sessions after the first one, every second one Bo's."""
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO sessions (key, user_id, driver, car, track, topic, partition) SELECT 'race"
            " ' || n, '', CASE n % 2 WHEN 0 THEN 'Bo Öst' ELSE 'Cy' END, 'Ferrari 296', 'Spa',"
            " 'telemetry', 0 FROM generate_series(1, 200) n"
        )
    return rest


def listed(rest, query=""):
    answer = rest.get(f"/api/sessions{query}").json()
    return [session["key"] for session in answer["sessions"]], answer["older"]


def test_every_session_is_paged_to_once(many):
    found, (page, older) = [], listed(many)
    while older is not None:
        found += page
        page, older = listed(many, f"?before={older}")
    found += page

    assert found == [*(f"race {n}" for n in range(200, 0, -1)), "monza"]
    assert listed(many, "?limit=2") == (["race 200", "race 199"], 200)


def test_sessions_are_found_by_words_beyond_the_newest_hundred(many):
    assert listed(many, "?search=MONZA%20anna") == (["monza"], None)
    assert listed(many, "?search=race%2010&limit=3") == (["race 110", "race 109", "race 108"], 109)
    assert listed(many, "?search=%C3%B6st%20ferrari%20spa&limit=1") == (["race 200"], 201)
    for nothing in ("_onza", "mon%25", "a%00b"):
        assert listed(many, f"?search={nothing}") == ([], None)


def test_an_old_session_opens_by_its_link(many, bridge):
    assert "monza" not in listed(many)[0]
    bridge.deliver([LiveRecord("monza", "anna", b"\x08\x01\x38\x01")])
    session = many.get("/api/sessions/monza").json()

    assert (session["key"], session["track"], session["live"]) == ("monza", "Monza", True)
    assert many.get("/api/sessions/nobody").status_code == 404


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "before=0", f"before={2**63}", f"search={'x' * 201}"]
)
def test_a_page_that_nobody_can_have_is_refused(rest, query):
    assert rest.get(f"/api/sessions?{query}").status_code == 422
