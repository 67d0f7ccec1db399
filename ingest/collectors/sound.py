"""Whether a frame can have come from a car. One that cannot is left out by the collector, which can name the game.

The limits are those that ingest holds frames to; a test keeps them the same. They stand here a second time because a game
PC has no Arrow.
"""

from math import isfinite

from ingest.telemetry_pb2 import TelemetryFrame

#: Field of the frame → least and most, both included.
LIMITS: dict[str, tuple[float, float]] = {
    "lap_number": (0, 100_000),
    "lap_time": (0, 2**31 - 1),
    "normalized_position": (-0.01, 1.01),
    "speed": (-200, 700),
    "throttle": (-0.01, 1.01),
    "brake": (-0.01, 1.01),
    "steering": (-1.01, 1.01),
    "rpm": (0, 50_000),
    "x": (-1e6, 1e6),
    "y": (-1e6, 1e6),
    "z": (-1e6, 1e6),
    "heading": (-100, 100),
    "last_lap_time": (0, 2**31 - 1),
    "gear": (-1, 20),
    "sector": (0, 100),
}


def unsound(frame: TelemetryFrame) -> str | None:
    """What is wrong with the frame, in words without numbers, so that it can be counted; None for a sound one."""
    for name, (least, most) in LIMITS.items():
        value = getattr(frame, name)
        if not least <= value <= most:  # so is a NaN
            return f"{name} out of range" if isfinite(value) else f"{name} not finite"
    return None
