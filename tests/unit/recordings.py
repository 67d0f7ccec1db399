"""Small sessions of known laps as the lap engine reads them: an even drive round a track of 4 km at
20 Hz.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analytics.model.channels import FRAMES
from ingest.telemetry_pb2 import TelemetryFrame

LENGTH_M = 4000.0
STARTED_AT_MS = 1_760_000_000_000
_RATE_HZ = 20
_TAIL_S = 20.0
_ON_THE_WIRE = {
    "lap_clock_ms": "lap_time",
    "last_lap_time_ms": "last_lap_time",
    "speed_kmh": "speed",
}


@dataclass
class Driven:
    """A drive as columns, which a test bends to its case; `frames` makes a table of it. ``lap``
    counts from 0.
    """

    lap: NDArray[np.int64]
    time_ms: NDArray[np.float64]
    columns: dict[str, NDArray[np.generic]]

    def frames(self) -> pa.Table:
        stamps = pa.array((1000 * (STARTED_AT_MS + np.round(self.time_ms))).astype(np.int64))
        known = self.columns | {"time": stamps.cast(FRAMES.field("time").type)}
        count = len(self.lap)
        columns = [
            pa.array(known[field.name]).cast(field.type)
            if field.name in known
            else pa.nulls(count, field.type)
            for field in FRAMES
        ]
        return pa.table(columns, schema=FRAMES)

    def values(self) -> list[bytes]:
        """The frames as a collector sends them, with their sequences."""
        names = {
            _ON_THE_WIRE.get(name, name): column.tolist() for name, column in self.columns.items()
        }
        stamps = (STARTED_AT_MS + np.round(self.time_ms).astype(np.int64)).tolist()
        rows = zip(stamps, *names.values(), strict=True)
        return [
            TelemetryFrame(
                timestamp=stamp, sequence=number, **dict(zip(names, row, strict=True))
            ).SerializeToString()
            for number, (stamp, *row) in enumerate(rows, 1)
        ]


def even_drive(lap_s: Sequence[float]) -> Driven:
    """Laps of these times at even speed; the last is followed by 20 s of the next one."""
    ends_ms = np.cumsum(lap_s) * 1000
    time_ms = np.arange(7, ends_ms[-1] + 1000 * _TAIL_S, 1000 / _RATE_HZ)
    lap = np.searchsorted(ends_ms, time_ms, side="right")
    since_ms = time_ms - np.concatenate([[0.0], ends_ms])[lap]
    took_ms = 1000 * np.array([*lap_s, np.mean(lap_s)])[lap]
    one, zero = np.ones(len(lap), np.float32), np.zeros(len(lap), np.float32)
    columns: dict[str, NDArray[np.generic]] = {
        "lap_number": (lap + 1).astype(np.int32),
        "lap_clock_ms": np.floor(since_ms).astype(np.int32),
        "normalized_position": (since_ms / took_ms % 1).astype(np.float32),
        "speed_kmh": (LENGTH_M / took_ms * 3600).astype(np.float32),
        "last_lap_time_ms": np.concatenate([[0], np.round(1000 * np.array(lap_s))])[lap].astype(
            np.int32
        ),
        "throttle": one,
        "brake": zero,
        "steering": zero,
        "gear": np.full(len(lap), 4, np.int16),
        "rpm": np.full(len(lap), 7000, np.int32),
    }
    return Driven(lap, time_ms, columns)


def uncounted_out_lap() -> Driven:
    """An out lap that the game does not count, as ACC does: its counter is 1 in it and in the lap
    after it.

    At half way the laps reach 150, 210, 220, 230 and 240 km/h, elsewhere 120.
    """
    drive = even_drive((120.0, 95.0, 94.0, 96.0))
    out, columns = drive.lap == 0, drive.columns
    position = np.where(out, 0.03 + 0.97 * drive.time_ms / 120_000, columns["normalized_position"])
    columns["normalized_position"] = position.astype(np.float32)
    columns["lap_number"] = np.maximum(drive.lap, 1).astype(np.int32)
    columns["last_lap_time_ms"] = np.where(drive.lap >= 2, columns["last_lap_time_ms"], 0).astype(
        np.int32
    )
    columns["pit"] = np.where(out & (drive.time_ms < 20_000), 2, 1).astype(np.int16)
    top = np.array([150.0, 210.0, 220.0, 230.0, 240.0])[drive.lap]
    columns["speed_kmh"] = np.where(np.abs(position - 0.5) < 0.02, top, 120.0).astype(np.float32)
    return drive
