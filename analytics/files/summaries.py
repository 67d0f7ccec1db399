"""Sums up a session's seconds and laps from its frames, for recordings, which no store has summed.

The module is pure. Rule: the columns and the results are those of `analytics.store.summaries`. So a
caller that draws a session need not know its source. The store gives them faster. Use the store for
a session of a whole day.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analytics.model.lap import Lap
from analytics.model.summary import BRAKING, FULL_THROTTLE, SECONDS, LapSummary

_NEVER_US = np.iinfo(np.int64).max

#: The channels that are summed up; a caller need not read others for it.
CHANNELS: Sequence[str] = (
    "time",
    "lap_number",
    "speed_kmh",
    "throttle",
    "brake",
    "steering",
    "rpm",
    "x_m",
    "z_m",
)

_OF_SECOND = (
    ("time", "count"),
    ("lap_number", "max"),
    ("speed_kmh", "mean"),
    ("speed_kmh", "max"),
    *((name, "mean") for name in ("throttle", "brake", "steering", "rpm", "x_m", "z_m")),
)


def seconds_of(frames: pa.Table) -> pa.Table:
    """Sum up the seconds in which the car sent anything, in order of time, as
    `analytics.model.summary.SECONDS`.

    ``frames`` has `CHANNELS`.
    """
    second = pc.floor_temporal(frames["time"], unit="second")
    grouped = frames.append_column("second", second).group_by("second")
    summed = grouped.aggregate(list(_OF_SECOND)).sort_by("second")
    names = ["second", *(f"{channel}_{function}" for channel, function in _OF_SECOND)]
    columns = [summed[name].cast(field.type) for name, field in zip(names, SECONDS, strict=True)]
    return pa.table(columns, schema=SECONDS)


def laps_of(frames: pa.Table, laps: Sequence[Lap]) -> list[LapSummary]:
    """Sum up the finished ``laps`` of a session, first to last, and the lap in progress.

    ``frames`` holds all frames of the session, with `CHANNELS`. The result leaves out a lap that
    has no frames left.
    """
    time_us = frames["time"].cast(pa.int64()).to_numpy()
    rows = (
        (number, *np.searchsorted(time_us, ends).tolist())
        for number, *ends in _intervals_us(frames, laps)
    )
    return [
        _lap_of(number, frames.slice(first, end - first))
        for number, first, end in rows
        if end > first
    ]


def _intervals_us(frames: pa.Table, laps: Sequence[Lap]) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each lap and its interval: frames lie from the first time on and before
    the second.
    """
    for lap in laps:
        yield lap.lap_number, lap.started_at_us, lap.ended_at_us
    if laps:
        yield laps[-1].lap_number + 1, laps[-1].ended_at_us, _NEVER_US
    elif len(frames):
        yield frames["lap_number"][0].as_py(), 0, _NEVER_US


def _lap_of(number: int, frames: pa.Table) -> LapSummary:
    speed = pc.min_max(frames["speed_kmh"])
    return LapSummary(
        lap_number=number,
        first_frame_at=frames["time"][0].as_py(),
        last_frame_at=frames["time"][-1].as_py(),
        frames=frames.num_rows,
        min_speed_kmh=speed["min"].as_py(),
        avg_speed_kmh=pc.mean(frames["speed_kmh"]).as_py(),
        max_speed_kmh=speed["max"].as_py(),
        full_throttle_share=_share(frames["throttle"], FULL_THROTTLE),
        braking_share=_share(frames["brake"], BRAKING),
        max_rpm=pc.max(frames["rpm"]).as_py(),
    )


def _share(pedal: pa.ChunkedArray, pressed: float) -> float:
    """Return the share of the frames at which a pedal is pressed."""
    return float(pc.sum(pc.greater_equal(pedal, pressed)).as_py() or 0) / len(pedal)
