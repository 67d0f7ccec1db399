"""The summaries of a session's seconds and laps, added up from its frames: for recordings, which no store has summed.

Pure. Rule: the columns and the answers are those of `analytics.summaries`, so that whoever draws a session need not know where
it is from. From the store they come faster, and for a session of a whole day one should ask there.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from analytics.summaries import BRAKING, FULL_THROTTLE, SECONDS, LapSummary

#: The channels that are summed up; whoever reads frames for it needs no others.
CHANNELS: Sequence[str] = ("time", "lap_number", "speed_kmh", "throttle", "brake", "steering", "rpm", "x_m", "z_m")

_OF_SECOND = (
    ("time", "count"),
    ("lap_number", "max"),
    ("speed_kmh", "mean"),
    ("speed_kmh", "max"),
    *((name, "mean") for name in ("throttle", "brake", "steering", "rpm", "x_m", "z_m")),
)
_OF_LAP = (
    ("time", "min"),
    ("time", "max"),
    ("time", "count"),
    ("speed_kmh", "min"),
    ("speed_kmh", "mean"),
    ("speed_kmh", "max"),
    ("full_throttle", "mean"),
    ("braking", "mean"),
    ("rpm", "max"),
)


def seconds_of(frames: pa.Table) -> pa.Table:
    """The seconds in which the car sent anything, in order of time, as `analytics.summaries.SECONDS`; of frames with `CHANNELS`."""
    second = pc.floor_temporal(frames["time"], unit="second")
    summed = frames.append_column("second", second).group_by("second").aggregate(list(_OF_SECOND)).sort_by("second")
    columns = [summed["second"], *(summed[f"{channel}_{function}"] for channel, function in _OF_SECOND)]
    return pa.table([column.cast(field.type) for column, field in zip(columns, SECONDS, strict=True)], schema=SECONDS)


def laps_of(frames: pa.Table) -> list[LapSummary]:
    """The laps of the game's counter, first to last, the one in progress too; of frames with `CHANNELS`."""
    pressed = {
        "full_throttle": pc.greater_equal(frames["throttle"], FULL_THROTTLE),
        "braking": pc.greater_equal(frames["brake"], BRAKING),
    }
    for name, mask in pressed.items():
        frames = frames.append_column(name, mask.cast(pa.int8()))
    summed = frames.group_by("lap_number").aggregate(list(_OF_LAP)).sort_by("lap_number")
    columns = [summed["lap_number"], *(summed[f"{channel}_{function}"] for channel, function in _OF_LAP)]
    return [LapSummary(*row) for row in zip(*(column.to_pylist() for column in columns), strict=True)]
