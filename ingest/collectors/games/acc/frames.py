"""Builds one frame from ACC's pages. Pure; only this module defines the meaning of the numbers.

A frame has the values of the page. An impossible value is marked as unknown.
It is never repaired, and the frame is kept.
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


def build_frame(
    physics: AccPhysics, graphics: AccGraphics, place: Place | None, *, invalid: bool
) -> TelemetryFrame:
    """Return the frame, still without a time. ``invalid`` marks the lap as invalid, regardless of
    the page.
    """
    x_m, y_m, z_m = place or (0.0, 0.0, 0.0)
    return plausible_frame(
        {
            "lap_time": known_time_ms(GAME, graphics.lap_clock_ms),
            "throttle": physics.throttle,
            "brake": physics.brake,
            # A share of the car's full lock. Right is assumed to be positive, as in AC; no dump
            # shows a turned wheel.
            "steering": physics.steering,
            "speed": physics.speed_kmh,
            "gear": physics.gear - 1,
            "rpm": physics.rpm,
            "normalized_position": graphics.normalized_position,
            "lap_number": graphics.completed_laps + 1,
            "x": x_m,
            "y": y_m,
            "z": z_m,
            # The car faces (-sin, cos) of the heading in x and z.
            # The heading grows to the right (`analytics.model.axes`).
            "heading": physics.heading_rad,
            # May be a picture or two late; lap timing waits for the change.
            "last_lap_time": known_time_ms(GAME, graphics.last_lap_ms),
            "sector": graphics.sector_index + 1,
            "pit": _pit(graphics),
            "validity": validity(valid=graphics.lap_is_valid != 0 and not invalid),
        }
    )


def validity(*, valid: bool) -> LapValidity:
    """Return the lap validity as a frame encodes it."""
    return LAP_VALIDITY_VALID if valid else LAP_VALIDITY_INVALID


def _pit(graphics: AccGraphics) -> PitState:
    # Only the field's name suggests that the box has its own flag: the flag has not been seen set.
    if graphics.in_pit_box:
        return PIT_STATE_PIT_BOX
    return PIT_STATE_PIT_LANE if graphics.in_pit_lane else PIT_STATE_ON_TRACK
