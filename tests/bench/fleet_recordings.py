"""Ten thousand laps to be timed: some sessions are simulated, and every further one is driven again
at another pace.

To simulate them all would take twenty minutes, and tell the engine nothing else: time, lap clock,
official times and speed follow the pace, so that every lap has times of its own, all of which
agree.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analytics.files.export import export
from analytics.model.session import SessionInfo
from ingest.collectors.simulator.car import GT3, GT4, Car
from ingest.collectors.simulator.circuit import Circuit, aldermoor_park, val_sarine
from ingest.collectors.simulator.driver import driver
from ingest.collectors.simulator.frames import GAME
from ingest.simulated_recordings import simulated

LAPS_A_SESSION = 20
_DRIVERS = 5
_STARTED_AT = datetime(2026, 3, 1, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Model:
    """A simulated session that others are made of."""

    circuit: Circuit
    car: Car
    seed: int

    def driven(self) -> pa.Table:
        return simulated(
            self.circuit, seed=self.seed, laps=LAPS_A_SESSION, started_at=_STARTED_AT, car=self.car
        )


def models() -> list[Model]:
    """On both tracks, in both cars, by each driver."""
    places = itertools.product((val_sarine(), aldermoor_park()), (GT3, GT4), range(1, _DRIVERS + 1))
    return [Model(circuit, car, seed) for circuit, car, seed in places]


def make_recordings(folder: Path, sessions: int) -> Iterator[Path]:
    """As many sessions, evenly from all models; those that are there already stay."""
    every = models()
    for first, model in enumerate(every):
        numbers = range(first, sessions, len(every))
        missing = [
            number for number in numbers if not _path(folder, number).with_suffix(".json").is_file()
        ]
        frames = model.driven() if missing else None
        for number in missing:
            yield _record(_path(folder, number), model, frames, number)


def at_pace(frames: pa.Table, pace: float, started_at: datetime) -> pa.Table:
    """The same laps in ``pace`` times the time, from ``started_at`` on."""
    time_us = frames.column("time").cast(pa.int64()).to_numpy()
    new_us = round(started_at.timestamp() * 1e6) + np.rint((time_us - time_us[0]) * pace).astype(
        np.int64
    )
    paced = {name: frames.column(name) for name in frames.column_names}
    paced["time"] = pa.array(new_us).cast(frames.schema.field("time").type)
    for name in ("lap_clock_ms", "last_lap_time_ms"):
        paced[name] = pc.round(pc.multiply(frames.column(name).cast(pa.float64()), pace)).cast(
            pa.int32()
        )
    paced["speed_kmh"] = pc.divide(frames.column("speed_kmh"), pa.scalar(pace, pa.float32()))
    return pa.table(paced, schema=frames.schema)


def _path(folder: Path, number: int) -> Path:
    return folder / f"session_{number:05d}.parquet"


def _record(path: Path, model: Model, frames: pa.Table, number: int) -> Path:
    draw = np.random.default_rng(number)
    started_at = _STARTED_AT + timedelta(hours=number)
    paced = at_pace(frames, float(np.clip(draw.normal(1.0, 0.008), 0.98, 1.03)), started_at)
    session = SessionInfo(
        id=0,
        key=path.stem,
        user_id="",
        game=GAME,
        track=model.circuit.name,
        car=model.car.name,
        driver=f"{driver(model.seed).name} {number % 97}",
        track_length_m=model.circuit.length_m,
        sector_count=len(model.circuit.sector_starts),
        sample_rate_hz=60.0,
        started_at=started_at,
        last_frame_at=None,
        frames=len(paced),
    )
    return export(path, paced, session)
