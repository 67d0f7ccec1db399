"""Where the car is at any moment: frames of a recording or of the simulated car, and what lies
between two of them.

A game steps hundreds of times a second and a recording has six to sixty frames. So the line is
crossed between frames, when the next lap's clock says it was; the laps' official times are the
recording's own where it has them. Moments are asked for in the order of time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import cos, pi, sin, tau
from typing import NamedTuple

from ingest.telemetry_pb2 import LapValidity, PitState, TelemetryFrame

SECTORS = 3
_PITS = {PitState.PIT_STATE_PIT_LANE: 1, PitState.PIT_STATE_PIT_BOX: 2}


class Moment(NamedTuple):
    """What a game knows of the player's car. Steering is right positive, gears are -1 R, 0 N, 1..,
    0 ms is none.
    """

    lap_count: int = 0  # completed
    lap_clock_ms: int = 0
    last_lap_ms: int = 0
    best_lap_ms: int = 0
    last_valid: bool = True
    splits_ms: tuple[int, ...] = ()  # durations of the last lap's sectors
    best_splits_ms: tuple[int, ...] = ()
    sector: int = 0  # from 0
    sector_line_ms: int = 0  # the lap's clock when the last sector line was crossed
    position: float = 0.0
    driven_m: float = 0.0
    speed_kmh: float = 0.0
    throttle: float = 0.0
    brake: float = 0.0
    steering: float = 0.0
    gear: int = 0
    rpm: int = 0
    x_m: float = 0.0
    y_m: float = 0.0
    z_m: float = 0.0
    heading_rad: float = 0.0  # forward is (x, z) = (-sin, cos)
    pit: int = 0  # 1 lane, 2 box
    valid: bool = True


@dataclass(slots=True)
class _Lap:
    """The lap that is being driven, and what is left of those before."""

    number: int
    sector: int
    lines_ms: list[int]
    last_ms: int = 0
    last_valid: bool = True
    best_ms: int = 0
    splits_ms: tuple[int, ...] = ()
    best_splits_ms: tuple[int, ...] = ()


class Drive:
    """One session. ``official_ms`` has the laps' times by number, where the recording's game told
    them.
    """

    def __init__(
        self,
        frames: Iterable[TelemetryFrame],
        *,
        track_length_m: float,
        official_ms: Mapping[int, int] | None = None,
    ) -> None:
        self._frames = iter(frames)
        self._length_m = track_length_m
        self._official_ms = official_ms or {}
        self._before = self._after = next(self._frames)
        self._first_ms = self._before.timestamp
        self._first_driven_m = self._driven_m(
            self._before.lap_number, self._before.normalized_position
        )
        self._lap = _Lap(
            self._before.lap_number, _sector(self._before, self._before.normalized_position), []
        )

    def at(self, since_ms: float) -> Moment | None:
        """The car so long after the session's first frame; None when the session is over."""
        due_ms = self._first_ms + since_ms
        while self._after.timestamp <= due_ms:
            following = next(self._frames, None)
            if following is None:
                return None
            # Whoever asks seldom, or just then, has not seen this one.
            self._follow_lap(self._after, self._after.lap_time, self._after.normalized_position)
            self._before, self._after = self._after, following
        return self._moment(due_ms)

    def _moment(self, due_ms: float) -> Moment:
        before, after = self._before, self._after
        share = (due_ms - before.timestamp) / max(1, after.timestamp - before.timestamp)
        line_ms = self._line_ms()
        if line_ms is None:
            near, clock_ms = before, _between(before.lap_time, after.lap_time, share)
            position = _between(
                before.normalized_position, after.normalized_position, share, most=0.5
            )
        elif due_ms < line_ms:
            near, clock_ms = before, before.lap_time + due_ms - before.timestamp
            position = _towards(
                before.normalized_position,
                1.0,
                (due_ms - before.timestamp),
                line_ms - before.timestamp,
            )
        else:
            near, clock_ms = after, due_ms - line_ms
            position = _towards(
                after.normalized_position, 0.0, after.timestamp - due_ms, after.timestamp - line_ms
            )
        self._follow_lap(near, int(clock_ms), position)
        return self._seen(near, share, int(clock_ms), position)

    def _line_ms(self) -> float | None:
        """When the line is crossed, if that is between the two frames."""
        before, after = self._before, self._after
        if before.lap_number == after.lap_number:
            return None
        return min(max(after.timestamp - after.lap_time, before.timestamp + 0.5), after.timestamp)

    def _follow_lap(self, near: TelemetryFrame, clock_ms: int, position: float) -> None:
        lap, sector = self._lap, _sector(near, position)
        if near.lap_number != lap.number:
            self._finish_lap(near.lap_number, sector)
        elif sector > lap.sector:
            lap.lines_ms.append(clock_ms)
            lap.sector = sector
        # A car on the grid stands at the end of the track; later, the position is only early.
        elif not lap.lines_ms:
            lap.sector = sector

    def _finish_lap(self, next_number: int, sector: int) -> None:
        lap, before, after = self._lap, self._before, self._after
        if next_number < lap.number:
            self._lap = _Lap(next_number, sector, [])
            return
        measured_ms = round(
            before.lap_time + (self._line_ms() or before.timestamp) - before.timestamp
        )
        last_ms = self._official_ms.get(lap.number) or after.last_lap_time or measured_ms
        ends_ms = [*lap.lines_ms, last_ms]
        splits_ms = (
            tuple(b - a for a, b in zip([0, *ends_ms], ends_ms, strict=False))
            if len(ends_ms) == SECTORS
            else ()
        )
        valid = before.validity != LapValidity.LAP_VALIDITY_INVALID
        best = (lap.best_ms, lap.best_splits_ms)
        if valid and (not lap.best_ms or last_ms < lap.best_ms):
            best = (last_ms, splits_ms)
        self._lap = _Lap(next_number, sector, [], last_ms, valid, best[0], splits_ms, best[1])

    def _seen(self, near: TelemetryFrame, share: float, clock_ms: int, position: float) -> Moment:
        before, after, lap = self._before, self._after, self._lap
        x_m, y_m, z_m, heading_rad = self._place(share, position)
        return Moment(
            lap_count=max(0, lap.number - 1),
            lap_clock_ms=clock_ms,
            last_lap_ms=lap.last_ms,
            best_lap_ms=lap.best_ms,
            last_valid=lap.last_valid,
            splits_ms=lap.splits_ms,
            best_splits_ms=lap.best_splits_ms,
            sector=lap.sector,
            sector_line_ms=lap.lines_ms[-1] if lap.lines_ms else 0,
            position=position,
            driven_m=self._driven_m(lap.number, position) - self._first_driven_m,
            speed_kmh=_between(before.speed, after.speed, share),
            throttle=_between(before.throttle, after.throttle, share),
            brake=_between(before.brake, after.brake, share),
            steering=_between(before.steering, after.steering, share),
            gear=near.gear,
            rpm=int(_between(before.rpm, after.rpm, share)),
            x_m=x_m,
            y_m=y_m,
            z_m=z_m,
            heading_rad=heading_rad,
            pit=_PITS.get(near.pit, 0),
            valid=near.validity != LapValidity.LAP_VALIDITY_INVALID,
        )

    def _place(self, share: float, position: float) -> tuple[float, float, float, float]:
        """World position and heading; a recording without them drives round a circle as long as the
        track.
        """
        before, after = self._before, self._after
        if before.x or before.z or after.x or after.z:
            turn = (after.heading - before.heading + pi) % tau - pi
            heading = (before.heading + turn * share + pi) % tau - pi
            return (
                *(_between(getattr(before, a), getattr(after, a), share) for a in "xyz"),
                heading,
            )
        radius_m, angle = self._length_m / tau, tau * position
        return radius_m * cos(angle), 0.0, radius_m * sin(angle), (angle + pi) % tau - pi

    def _driven_m(self, lap_number: int, position: float) -> float:
        return (lap_number + position) * self._length_m


def _between(a: float, b: float, share: float, *, most: float = float("inf")) -> float:
    """``share`` of the way from a to b; a, where they are further apart than ``most``."""
    return a if abs(b - a) > most else a + (b - a) * share


def _towards(known: float, end: float, run_ms: float, whole_ms: float) -> float:
    """From a known position to the line, or from the line to it; a position on the line's other
    side stays.
    """
    if abs(end - known) > 0.5 or whole_ms <= 0:
        return known
    return known + (end - known) * run_ms / whole_ms


def _sector(frame: TelemetryFrame, position: float) -> int:
    """The game's own, or thirds of the track."""
    return frame.sector - 1 if frame.sector else min(max(int(position * SECTORS), 0), SECTORS - 1)
