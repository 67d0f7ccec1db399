"""`analytics.connect` on a real PostgreSQL: it answers what `analytics.open` answers of the same
drive, and follows a running one.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

import analytics
from analytics.catalog import Catalog, Laps
from analytics.errors import NoDatabase
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.frames import drive, facts
from ingest.simulated_recordings import record
from ingest.telemetry_pb2 import TelemetryMessage
from tests.conftest import Database
from tests.service.owner import Owner, drove, told

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LAPS, RATE_HZ = 3, 10


@pytest.fixture
def catalog(database: Database) -> Iterator[Catalog]:
    with analytics.connect(database.url) as opened:
        yield opened


def store_drive(url: str, key: str, seed: int, started_at: datetime) -> None:
    """As ingest stores what `ingest.simulated_recordings.record` writes into a file."""
    started_at_ms = round(started_at.timestamp() * 1000)
    said = facts(
        val_sarine(),
        session_id=key,
        user_id=key,
        driver="",
        started_at_ms=started_at_ms,
        rate_hz=RATE_HZ,
    )
    said.driver = "Ada Okafor" if seed == 5 else "Bea"
    values = [TelemetryMessage(session=said, session_id=key).SerializeToString()]
    frames = drive(val_sarine(), seed=seed, started_at_ms=started_at_ms, rate_hz=RATE_HZ)
    for sequence, frame in enumerate(
        takewhile(lambda f: f.lap_number <= LAPS or f.lap_time < 1000, frames), 1
    ):
        frame.sequence = sequence
        values.append(frame.SerializeToString())
    with Owner(url) as owner:
        owner.write(*((key.encode(), value) for value in values))


def questions(laps: Laps) -> list[Laps]:
    return [
        laps,
        laps.flying(),
        laps.of("ADA okafor", "nobody"),
        laps.on("sarine").in_car("gt3"),
        laps.on("spa"),
        laps.numbered(2, 3),
        laps.between(NOON + timedelta(seconds=60), NOON + timedelta(minutes=30)),
        laps.fastest_first(2),
        laps.flying().fastest_first(),
    ]


def test_the_store_answers_as_files_do(
    database: Database, catalog: Catalog, tmp_path: Path
) -> None:
    later = NOON + timedelta(hours=1)
    for key, seed, started_at in (("ada", 5, NOON), ("bea", 2, later)):
        store_drive(database.url, key, seed, started_at)
        record(
            tmp_path / f"{key}.parquet",
            val_sarine(),
            seed=seed,
            laps=LAPS,
            started_at=started_at,
            rate_hz=RATE_HZ,
        )
    files = analytics.open(tmp_path)

    for stored, filed in zip(questions(catalog.laps), questions(files.laps), strict=True):
        assert [(lap.session.key, lap.lap) for lap in stored] == [
            (lap.session.key, lap.lap) for lap in filed
        ]
    assert (
        [drive.key for drive in catalog.sessions]
        == [drive.key for drive in files.sessions]
        == ["bea", "ada"]
    )
    until = NOON + timedelta(minutes=30)
    assert [drive.key for drive in catalog.sessions.between(None, until)] == ["ada"]
    for stored_lap, filed_lap in zip(catalog.laps, files.laps, strict=True):
        columns = ["time", "speed_kmh", "x_m"]
        assert stored_lap.telemetry(columns).equals(filed_lap.telemetry(columns).combine_chunks())
    assert (
        catalog.sessions["ada"].telemetry(["gear"]).num_rows == files.sessions["ada"].facts.frames
    )


def test_a_running_session_is_followed_without_a_gap(database: Database, catalog: Catalog) -> None:
    """Frames 4 and 5 are lost and sent again later; each is told once, when it is there."""
    with Owner(database.url) as owner:
        owner.write(told("live", driver="Ada"), *drove("live", 1, 2, 3))
        news = catalog.sessions["live"].follow(["sequence"], every_s=0.01, quiet_s=0.2)
        assert next(news)["sequence"].to_pylist() == [1, 2, 3]
        owner.write(*drove("live", 6, 7))
        assert next(news)["sequence"].to_pylist() == [6, 7]
        owner.write(*drove("live", 4, 5, 8))
        assert next(news)["sequence"].to_pylist() == [4, 5, 8]
        owner.write(*drove("live", 7, 8, 9))
        assert next(news)["sequence"].to_pylist() == [9]
        assert list(news) == []


def test_a_long_session_comes_in_pieces(
    database: Database, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics.store.frame_pages.PAGE_ROWS", 4)
    with Owner(database.url) as owner:
        owner.write(told("long"), *drove("long", *range(1, 11)))

    pieces = list(catalog.sessions["long"].follow(["sequence"], every_s=0.01, quiet_s=0.05))

    assert [piece.num_rows for piece in pieces] == [4, 4, 2]
    assert pa.concat_tables(pieces)["sequence"].to_pylist() == list(range(1, 11))


def test_the_connection_only_reads(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database.url)
    with analytics.connect() as catalog, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        catalog.source._conn.execute("DELETE FROM laps")  # type: ignore[attr-defined]


def test_without_an_address_it_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(NoDatabase, match="set DATABASE_URL"):
        analytics.connect()
