"""From ACC's pages to one frame. Pure; what the numbers mean is settled here and nowhere else.

A frame says what the page says. A value that cannot be is marked as unknown: it is never repaired, and costs no frame.
"""

from analytics.model.game_conventions import known_time_ms
from ingest.codec.blanking import plausible_frame
from ingest.collectors.games.acc.page_layout import GAME, AccGraphics, AccPhysics
from ingest.telemetry_pb2 import (
    LAP_VALIDITY_INVALID,
    LAP_VALIDITY_VALID,
    PIT_STATE_ON_TRACK,
    PIT_STATE_PIT_BOX,
    PIT_STATE_PIT_LANE,
    LapValidity,
    PitState,
    TelemetryFrame,
)

Place = tuple[float, float, float]


def build_frame(physics: AccPhysics, graphics: AccGraphics, place: Place | None, *, invalid: bool) -> TelemetryFrame:
    """The frame, still without a time; ``invalid``: the lap does not count, whatever the page says."""
    x_m, y_m, z_m = place or (0.0, 0.0, 0.0)
    return plausible_frame(
        {
            "lap_time": known_time_ms(GAME, graphics.lap_clock_ms),
            "throttle": physics.throttle,
            "brake": physics.brake,
            # Of the car's full lock. Right is believed to be positive, as in AC; no dump shows a turned wheel.
            "steering": physics.steering,
            "speed": physics.speed_kmh,
            "gear": physics.gear - 1,
            "rpm": physics.rpm,
            "normalized_position": graphics.normalized_position,
            "lap_number": graphics.completed_laps + 1,
            "x": x_m,
            "y": y_m,
            "z": z_m,
            # The car looks towards (-sin, cos) of it in x and z, and it grows to the right (`analytics.model.axes`).
            "heading": physics.heading_rad,
            # May be a picture or two late; whoever times laps waits for the change.
            "last_lap_time": known_time_ms(GAME, graphics.last_lap_ms),
            "sector": graphics.sector_index + 1,
            "pit": _pit(graphics),
            "validity": validity(valid=graphics.lap_is_valid != 0 and not invalid),
        }
    )


def validity(*, valid: bool) -> LapValidity:
    """As a frame has it."""
    return LAP_VALIDITY_VALID if valid else LAP_VALIDITY_INVALID


def _pit(graphics: AccGraphics) -> PitState:
    # That the box has a flag of its own rests on its name: nobody has seen it set.
    if graphics.in_pit_box:
        return PIT_STATE_PIT_BOX
    return PIT_STATE_PIT_LANE if graphics.in_pit_lane else PIT_STATE_ON_TRACK
