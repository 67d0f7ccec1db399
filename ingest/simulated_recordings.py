"""Makes recordings of simulated sessions, for notebooks and tests without a game or a server."""

import tempfile
from datetime import UTC, datetime
from itertools import product, takewhile
from pathlib import Path

import numpy as np
import pyarrow as pa

from analytics.files.export import export
from analytics.model.channels import FRAMES
from analytics.model.session import SessionInfo
from ingest.codec.decode import decode
from ingest.collectors.simulator.car import GT3, GT4, Car
from ingest.collectors.simulator.circuit import Circuit, aldermoor_park, val_sarine
from ingest.collectors.simulator.driver import driver
from ingest.collectors.simulator.frames import GAME, drive


def simulated(
    circuit: Circuit,
    *,
    seed: int,
    laps: int,
    started_at: datetime,
    rate_hz: float = 60.0,
    car: Car = GT3,
) -> pa.Table:
    """Return the frames of the first ``laps`` laps of a simulated session.

    A few frames of the next lap follow, because they show that the last lap has ended.
    """
    at_ms = round(started_at.timestamp() * 1000)
    driven = drive(circuit, seed=seed, started_at_ms=at_ms, rate_hz=rate_hz, car=car)
    taken = takewhile(lambda frame: frame.lap_number <= laps or frame.lap_time < 1000, driven)
    values = [frame.SerializeToString() for frame in taken]
    frames = decode(values, [b"simulated"] * len(values)).frames
    known = {name: frames.column(name) for name in frames.column_names}
    known |= {
        "sequence": pa.array(np.arange(1, len(values) + 1)),
        "session_id": pa.array(np.zeros(len(values), np.int32)),
    }
    return pa.table([known[name] for name in FRAMES.names], schema=FRAMES)


def record(
    path: Path,
    circuit: Circuit,
    *,
    seed: int,
    laps: int,
    started_at: datetime,
    rate_hz: float = 60.0,
    car: Car = GT3,
) -> Path:
    """Drive a session into a file that `analytics.open` opens."""
    frames = simulated(
        circuit, seed=seed, laps=laps, started_at=started_at, rate_hz=rate_hz, car=car
    )
    session = SessionInfo(
        id=0,
        key=path.stem,
        user_id="",
        game=GAME,
        track=circuit.name,
        car=car.name,
        driver=driver(seed).name,
        track_length_m=circuit.length_m,
        sector_count=len(circuit.sector_starts),
        sample_rate_hz=rate_hz,
        started_at=started_at.astimezone(UTC),
        last_frame_at=None,
        frames=len(frames),
    )
    return export(path, frames, session)


def sample_sessions() -> Path:
    """Drive two sessions of nine laps, by two drivers, into a new temporary folder; return its
    path.
    """
    folder = Path(tempfile.mkdtemp())
    for seed in (5, 9):
        path = folder / f"driver_{seed}.parquet"
        record(path, val_sarine(), seed=seed, laps=9, started_at=datetime.now(UTC), rate_hz=30)
    return folder


def sample_fleet() -> Path:
    """Drive three sessions of nine laps on each of two tracks in each of two cars.

    They are in a new temporary folder; return its path.
    """
    folder, now = Path(tempfile.mkdtemp()), datetime.now(UTC)
    for circuit, car, seed in product((val_sarine(), aldermoor_park()), (GT3, GT4), (2, 5, 9)):
        path = folder / f"{circuit.name} {car.name} {seed}.parquet".replace(" ", "_")
        record(path, circuit, car=car, seed=seed, laps=9, started_at=now, rate_hz=20)
    return folder
