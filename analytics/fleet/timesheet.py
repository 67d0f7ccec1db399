"""Builds a timesheet: one small table of a session's laps, for comparison across a fleet.

The module is pure: it turns a session's frames into one row for each of its finished laps. The laps
are those of `analytics.laps.engine`, as everywhere. Rules: only a flying lap has speeds, because
only flying laps are compared. Speeds are whole km/h at `PLACES` steps from line to line. A lap of
any length therefore takes half a kilobyte.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analytics.comparison.trace import Axis, median_line, resample
from analytics.laps.engine import timed
from analytics.model.lap import Lap
from analytics.model.session import SessionInfo
from analytics.model.track_layout import UNKNOWN, TrackLayout

#: The number of steps around a lap at which its speed is kept: some 20 m each.
PLACES = 200
#: The number of whole km/h that a speed may have. A faster speed counts as the highest.
SPEEDS = 512
#: The version of the columns below and of their content. Raise it with every change, because
#: timesheets are kept.
LAYOUT = 2

#: One row for each finished lap, in order. ``layout`` is the version of the track that its parts
#: were timed on. It is 0 where the version is not known.
TIMESHEET = pa.schema(
    [
        ("game", pa.string()),
        ("track", pa.string()),
        ("car", pa.string()),
        ("driver", pa.string()),
        ("session", pa.string()),
        ("lap_number", pa.int32()),
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("kind", pa.string()),
        ("time_ms", pa.int32()),
        ("lap_time_ms", pa.int32()),
        ("official_lap_time_ms", pa.int32()),
        ("sector_source", pa.string()),
        ("track_version", pa.int32()),
        ("sector_times_ms", pa.list_(pa.int32())),
        ("mini_sector_times_ms", pa.list_(pa.int32())),
        ("speed_kmh", pa.list_(pa.uint16())),
    ]
)

_FACTS = ("game", "track", "car", "driver")
# On an axis of shares, the length of every track is its number of steps.
_LENGTH = float(PLACES)


def timesheet(session: SessionInfo, frames: pa.Table, layout: TrackLayout = UNKNOWN) -> pa.Table:
    """Return the finished laps of a session as `TIMESHEET`.

    ``frames`` are all frames of the session, in driven order. They have the columns
    `analytics.laps.frame_arrays.COLUMNS`.
    """
    laps = timed(frames, layout)
    axis = Axis(_LENGTH, line=median_line([lap.line_position for lap in laps]))
    facts = {name: [getattr(session, name)] * len(laps) for name in _FACTS}
    of_lap = [name for name in TIMESHEET.names if hasattr(Lap, name)]
    own = {name: [getattr(lap, name) for lap in laps] for name in of_lap}
    whose = {
        "session": [session.key] * len(laps),
        "track_version": [layout.version] * len(laps),
        "started_at": [lap.started_at_us for lap in laps],
        "speed_kmh": _speeds(frames, laps, axis),
    }
    return pa.table({**facts, **own, **whose}, schema=TIMESHEET)


def _speeds(frames: pa.Table, laps: Sequence[Lap], axis: Axis) -> list[NDArray[np.uint16] | None]:
    time_us = frames.column("time").cast(pa.int64()).to_numpy()
    return [_speed_of(frames, time_us, lap, axis) if lap.kind == "flying" else None for lap in laps]


def _speed_of(
    frames: pa.Table, time_us: NDArray[np.int64], lap: Lap, axis: Axis
) -> NDArray[np.uint16] | None:
    if not lap.time_ms or not lap.lap_time_ms:
        return None
    ends = np.searchsorted(time_us, [lap.started_at_us, lap.ended_at_us])
    trace = resample(
        frames.slice(ends[0], ends[1] - ends[0]),
        axis,
        started_at_us=lap.started_at_us,
        lap_time_s=lap.time_ms / 1000,
        channels=("speed_kmh",),
        clock_s=lap.lap_time_ms / 1000,
    )
    if "speed_kmh" not in trace.channels:
        return None
    return np.clip(np.rint(trace["speed_kmh"]), 0, SPEEDS - 1).astype(np.uint16)
