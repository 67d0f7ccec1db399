"""Builds frames and session facts from Assetto Corsa's datagrams or shared memory. Pure.

A frame has no time yet. An impossible value is marked as unknown, and the frame is kept.
"""

from math import isfinite

from analytics.model.game_conventions import known_time_ms
from ingest.codec.blanking import blank_fields, plausible_frame
from ingest.collectors.games.ac.page_layout import AcGraphics, AcPhysics, AcStatic
from ingest.collectors.games.ac.udp_protocol import Answer, CarInfo
from ingest.telemetry_pb2 import (
    PIT_STATE_ON_TRACK,
    PIT_STATE_PIT_BOX,
    PIT_STATE_PIT_LANE,
    PitState,
    Session,
    TelemetryFrame,
)

GAME = "Assetto Corsa"


def frame_of_car(car: CarInfo, *, steering: float, last_lap_ms: int) -> TelemetryFrame:
    """Return the frame of a datagram; ``last_lap_ms`` is the official time, perhaps from another
    datagram.

    It has no heading, sector or validity: this protocol does not send them.
    """
    return _sound(
        lap_number=car.lap_count + 1,
        lap_time=car.lap_time_ms,
        throttle=car.gas,
        brake=car.brake,
        steering=steering,
        speed=car.speed_kmh,
        gear=car.gear - 1,
        rpm=round(car.rpm) if isfinite(car.rpm) else car.rpm,
        normalized_position=car.position,
        x=car.x_m,
        y=car.y_m,
        z=car.z_m,
        last_lap_time=known_time_ms(GAME, last_lap_ms),
        # The datagram does not distinguish lane and box. The lane is the weaker statement, true of
        # both.
        pit=PIT_STATE_PIT_LANE if car.in_pit else PIT_STATE_ON_TRACK,
    )


def frame_of_pages(physics: AcPhysics, graphics: AcGraphics, *, steering: float) -> TelemetryFrame:
    """Return the frame of a moment in shared memory. It has no validity, because AC does not judge
    laps.
    """
    return _sound(
        lap_number=graphics.lap_count + 1,
        lap_time=graphics.lap_time_ms,
        throttle=physics.gas,
        brake=physics.brake,
        steering=steering,
        speed=physics.speed_kmh,
        gear=physics.gear - 1,
        rpm=physics.rpm,
        normalized_position=graphics.position,
        x=graphics.x_m,
        y=graphics.y_m,
        z=graphics.z_m,
        heading=physics.heading_rad,
        last_lap_time=known_time_ms(GAME, graphics.last_lap_ms),
        sector=graphics.sector + 1,
        pit=_pit(graphics),
    )


def facts_of_answer(answer: Answer) -> Session:
    """Return the session facts in the answer to a handshake."""
    return Session(
        game=GAME, car=answer.car, driver=answer.driver, track=_track(answer.track, answer.layout)
    )


def facts_of_static(static: AcStatic, *, rate_hz: float) -> Session:
    """Return the session facts in the static page."""
    known = isfinite(static.track_length_m) and static.track_length_m > 0
    return Session(
        game=GAME,
        car=static.car,
        driver=static.driver,
        track=_track(static.track, static.layout),
        track_length=static.track_length_m if known else 0,
        sector_count=max(0, static.sector_count),
        sample_rate=rate_hz,
    )


def _track(track: str, layout: str) -> str:
    """Return the track, with its layout where there is one. Both are folder names, so neither
    contains a slash.
    """
    return track if layout in ("", track) else f"{track}/{layout}"


def _pit(graphics: AcGraphics) -> PitState:
    if graphics.in_box:
        return PIT_STATE_PIT_BOX
    return PIT_STATE_PIT_LANE if graphics.in_pit_lane else PIT_STATE_ON_TRACK


def _sound(**values: float) -> TelemetryFrame:
    """Return the frame of these values; an impossible value is marked as unknown."""
    frame = plausible_frame(values)
    if values["lap_number"] < 1:
        # AC has no formation lap: AC counts laps from 0, and a frame counts from 1.
        blank_fields(frame, ["lap_number"])
    return frame
