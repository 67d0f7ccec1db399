"""Tracks in the store: learnt from the laps that are there, once, and kept by the sessions that
began on them.
"""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from analytics.laps.track_learning import LearnedTrack
from ingest.store.tracks import learn_track, newest_tracks, save_track
from tests.service.owner import Owner, drove, rows, told

SILVERSTONE = ("acc", "silverstone")
LAPS = """
INSERT INTO laps (session_id, lap_number, started_at, frames, gaps, max_speed_kmh, line_position,
    sector_positions)
SELECT id, n, now(), 1, 0, 200, 0.97905, '{0.279, 0.679}' FROM sessions, generate_series(1, 4) n
"""


def test_two_workers_that_learn_at_once_make_one_version(database, owner):
    owner.write(told("a", game="acc", track="silverstone", track_length=5891), *drove("a", 1))
    with psycopg.connect(database.url) as conn:
        conn.execute(LAPS)

    def learn(_: int) -> LearnedTrack | None:
        with psycopg.connect(database.url) as conn:
            return learn_track(conn, *SILVERSTONE)

    with ThreadPoolExecutor(2) as pool:
        found = [track for track in pool.map(learn, range(2)) if track]

    assert rows(database.url, "SELECT version FROM tracks") == [(1,)]
    assert {(track.line, track.length_m) for track in found} == {(0.97905, 5891.0)}
    assert learn(0) is None, "the laps say what is known"


def test_session_is_timed_to_its_end_on_the_version_that_it_began_on(database, owner):
    track = LearnedTrack(
        *SILVERSTONE, line=0.97905, sectors=(0.279, 0.679), length_m=5891.0, version=1
    )
    with psycopg.connect(database.url) as conn:
        save_track(conn, track)
        found = newest_tracks(conn, [SILVERSTONE])[SILVERSTONE]
    owner.sessions = owner.store.open_sessions(["a"], {})
    owner.sessions["a"].begin_on(found.id, found.track.layout)
    owner.write(told("a", game="acc", track="silverstone"), *drove("a", 1, 2))
    with psycopg.connect(database.url) as conn:
        save_track(conn, LearnedTrack(*SILVERSTONE, line=0.5, version=2))

    with Owner(database.url) as successor:
        (session,) = successor.store.open_sessions(["a"], {}).values()

    assert (session.layout, session.track_id) == (track.layout, found.id)
    assert (session.game, session.track) == SILVERSTONE
    with pytest.raises(ValueError, match="before its first frame"):
        session.begin_on(found.id, track.layout)
