"""Defines summaries of frames: a row for each second, and a value for each lap."""

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from analytics.model.thresholds import threshold

#: A pedal at or beyond these counts as pressed: sensors neither reach their ends nor rest at zero.
FULL_THROTTLE, BRAKING = threshold(0.98), threshold(0.02)

#: A row for each second in which the car sent a frame. Averages are over the frames of that second.
#: ``lap_number`` is the highest of the game's counter, which may differ from the lap engine's
#: number. A value is NULL where it is unknown in all frames of the second.
SECONDS = pa.schema(
    [
        pa.field("second", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("frames", pa.int64(), nullable=False),
        pa.field("lap_number", pa.int32()),
        pa.field("avg_speed_kmh", pa.float64()),
        pa.field("max_speed_kmh", pa.float32()),
        pa.field("avg_throttle", pa.float64()),
        pa.field("avg_brake", pa.float64()),
        pa.field("avg_steering", pa.float64()),
        pa.field("avg_rpm", pa.float64()),
        pa.field("avg_x_m", pa.float64()),
        pa.field("avg_z_m", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class LapSummary:
    """A summary of a finished or current lap, numbered by the lap engine.

    Shares are of its frames, 0..1. A value is None where all of its frames lack it.
    """

    lap_number: int
    first_frame_at: datetime
    last_frame_at: datetime
    frames: int
    min_speed_kmh: float | None
    avg_speed_kmh: float | None
    max_speed_kmh: float | None
    full_throttle_share: float
    braking_share: float
    max_rpm: int | None
