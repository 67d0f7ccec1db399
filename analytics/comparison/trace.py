"""Resamples a lap along its track: time and channels at every metre from line to line, to overlay
laps.

The axis is the game's own position on the track, not the distance driven. Two lines through a lap
differ by some ten metres. The module is pure. Rules: time is 0 at the line and the lap's time at
the next crossing, even where the frames around them differ. Position only goes forward. The module
drops a part that a car drives backwards, and the trace records its length.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from analytics.catalog import TimedLap
from analytics.laps.elapsed_time import elapsed_s
from analytics.laps.unwrapping import lap_share
from analytics.model.arrays import Integers, Mask, Reals
from analytics.model.channels import CHANNELS
from analytics.model.tabular import Tabular

#: The channels that a comparison of laps needs.
DRIVING = ("speed_kmh", "throttle", "brake", "steering", "gear")
#: The channels that maps and corners use, where the game sends them.
PLACE = ("x_m", "z_m", "heading_rad")

_NEEDED = ("time", "normalized_position", "lap_clock_ms")
_INTERPOLATION = {channel.name: channel.interpolation for channel in CHANNELS}
# A lap was paused in the middle if it took this much longer by the frames' times than by its lap
# time.
_PAUSED_S = 0.5
# Share of a lap. A channel that is unknown for a longer stretch is left out, not filled in.
_UNKNOWN = 0.02


@dataclass(frozen=True)
class Axis:
    """Places around a track, ``step_m`` apart or a little less.

    ``line`` is the normalized position of the lap's line.
    """

    length_m: float
    line: float = 0.0
    step_m: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.step_m <= self.length_m:
            raise ValueError(f"an axis of {self.length_m} m cannot have steps of {self.step_m} m")

    def __len__(self) -> int:
        return len(self.share)

    @cached_property
    def share(self) -> Reals:
        """Return the places as a share of the lap, from 0 to 1, both included."""
        return np.linspace(0, 1, int(np.ceil(self.length_m / self.step_m)) + 1)

    @cached_property
    def distance_m(self) -> Reals:
        """Return the places in metres from the line, from 0 to the length, both included."""
        return self.share * self.length_m


@dataclass(frozen=True, slots=True, eq=False)
class Trace(Tabular):
    """A lap on an axis, with an entry for each place.

    ``coarsest_m`` is the longest distance between two frames that were used.
    """

    axis: Axis
    time_s: Reals
    channels: Mapping[str, Reals]
    backward_m: float = 0.0
    coarsest_m: float = 0.0
    lap: TimedLap | None = None

    def __str__(self) -> str:
        return str(self.lap) if self.lap else f"{self.lap_time_s:.3f} s"

    def __getitem__(self, channel: str) -> Reals:
        return self.channels[channel]

    @property
    def lap_time_s(self) -> float:
        """Return the time at the end of the lap, in s."""
        return float(self.time_s[-1])

    def to_arrow(self) -> pa.Table:
        """Return the columns distance_m, time_s and the channels."""
        return pa.table(
            {"distance_m": self.axis.distance_m, "time_s": self.time_s, **self.channels}
        )


def traces(
    laps: Iterable[TimedLap],
    *,
    axis: Axis | None = None,
    channels: Sequence[str] = (*DRIVING, *PLACE),
) -> list[Trace]:
    """Read timed laps of one track, and resample them on one axis.

    The default axis starts where the laps crossed the line, and has the track's length. The
    function measures the length where no session has it. It leaves out laps without a time. Raises
    ValueError for laps of more than one track.
    """
    timed = [lap for lap in laps if lap.time_ms]
    _check_one_track(timed)
    columns = list(dict.fromkeys([*_NEEDED, "speed_kmh", *channels]))
    frames = [lap.telemetry(columns) for lap in timed]
    if axis is None and timed:
        axis = _axis_of(timed, frames)
    return [
        _of_lap(lap, table, axis, channels)
        for lap, table in zip(timed, frames, strict=True)
        if axis and len(table)
    ]


def _check_one_track(laps: Sequence[TimedLap]) -> None:
    tracks = {(lap.session.game, lap.session.track) for lap in laps}
    if len(tracks) > 1:
        raise ValueError(
            f"laps of {len(tracks)} tracks cannot be laid over one another; choose one with .on(…)"
        )


def _axis_of(laps: Sequence[TimedLap], frames: Sequence[pa.Table]) -> Axis:
    reported = [lap.session.track_length_m for lap in laps if lap.session.track_length_m]
    length_m = reported[0] if reported else float(np.median([driven_m(one) for one in frames]))
    return Axis(length_m, line=median_line([lap.lap.line_position for lap in laps]))


def resample(
    frames: pa.Table,
    axis: Axis,
    *,
    started_at_us: int,
    lap_time_s: float,
    channels: Sequence[str] = DRIVING,
    clock_s: float | None = None,
) -> Trace:
    """Resample the frames of one lap, in order of time, on the axis.

    ``clock_s`` is the duration of the lap by the frames' own times, if the official ``lap_time_s``
    differs. The difference is spread over the lap. The trace leaves out columns that are not in
    ``frames`` or are no channels (the time). It also leaves out channels that are unknown for a
    stretch longer than 2 % of the lap.
    """
    position = frames.column("normalized_position").to_numpy().astype(np.float64)
    # Games hold the position at exactly 0 or 1 for some metres around the origin. Those frames give
    # no position.
    moving = np.flatnonzero((position != 0) & (position != 1) & np.isfinite(position))
    share = lap_share(position[moving], axis.line)
    time_s = _time_s(frames, moving, share, started_at_us, clock_s or lap_time_s) * (
        lap_time_s / (clock_s or lap_time_s)
    )
    forward = _forward(share, time_s, lap_time_s)
    used, at = moving[forward], share[forward]
    places = np.concatenate([[0.0], at, [1.0]])
    back = np.diff(share)
    return Trace(
        axis=axis,
        time_s=np.interp(
            axis.share, places, np.concatenate([[0.0], time_s[forward], [lap_time_s]])
        ),
        channels=_on_axis(frames.take(used), at, axis, channels) if len(used) else {},
        backward_m=abs(float(back[back < 0].sum())) * axis.length_m,
        coarsest_m=float(np.diff(places).max()) * axis.length_m,
    )


def delta_s(lap: Trace, reference: Trace) -> Reals:
    """Return how much later a lap is than the reference at each place.

    The last entry is the difference of the lap times. Raises ValueError for laps on different axes.
    """
    if lap.axis != reference.axis:
        raise ValueError(
            f"laps on {lap.axis} and on {reference.axis} cannot be compared; lay both on one"
        )
    return lap.time_s - reference.time_s


def stacked(laps: Sequence[Trace], channel: str) -> Reals:
    """Stack a channel of several laps: one row per lap, one column per place."""
    return np.stack([lap[channel] for lap in laps])


def driven_m(frames: pa.Table) -> float:
    """Return the distance that a car drove in these frames: its speed integrated over time."""
    known = frames.filter(frames.column("speed_kmh").is_valid())
    time_s = known.column("time").cast(pa.int64()).to_numpy() / 1e6
    return float(np.trapezoid(np.abs(known.column("speed_kmh").to_numpy()) / 3.6, time_s))


def median_line(positions: Iterable[float | None]) -> float:
    """Return the median position at which the laps began: 0.999 and 0.001 are near each other."""
    off_origin = [position - round(position) for position in positions if position is not None]
    return float(np.median(off_origin)) % 1.0 if off_origin else 0.0


def _of_lap(lap: TimedLap, frames: pa.Table, axis: Axis, channels: Sequence[str]) -> Trace:
    assert lap.time_ms is not None
    ours_ms = lap.lap.lap_time_ms
    trace = resample(
        frames,
        axis,
        started_at_us=lap.lap.started_at_us,
        lap_time_s=lap.time_ms / 1000,
        channels=channels,
        clock_s=ours_ms / 1000 if ours_ms else None,
    )
    return Trace(axis, trace.time_s, trace.channels, trace.backward_m, trace.coarsest_m, lap)


def _time_s(
    frames: pa.Table, used: Integers, share: Reals, started_at_us: int, lap_time_s: float
) -> Reals:
    """Return the times of the used frames since the line."""
    time_s = (frames.column("time").cast(pa.int64()).to_numpy()[used] - started_at_us) / 1e6
    clock_s = frames.column("lap_clock_ms").to_numpy()[used] / 1000
    if "speed_kmh" in frames.column_names:
        return elapsed_s(
            time_s, clock_s, share, frames.column("speed_kmh").to_numpy()[used], lap_time_s
        )
    # Without a speed, only a pause distinguishes the clocks.
    paused = len(time_s) and time_s[-1] > lap_time_s + _PAUSED_S
    return np.asarray(clock_s if paused else time_s, np.float64)


def _forward(share: Reals, time_s: Reals, lap_time_s: float) -> Mask:
    """Select the frames within the lap that are further along and later than all before them."""
    ahead = np.maximum.accumulate(np.concatenate([[0.0], share]))[:-1]
    later = np.maximum.accumulate(np.concatenate([[0.0], time_s]))[:-1]
    mask: Mask = (share > ahead) & (share < 1) & (time_s > later) & (time_s < lap_time_s)
    return mask


def _on_axis(
    frames: pa.Table, share: Reals, axis: Axis, channels: Sequence[str]
) -> dict[str, Reals]:
    sent = [name for name in channels if name in _INTERPOLATION and name in frames.column_names]
    laid = ((name, _channel(name, frames.column(name), share, axis)) for name in sent)
    return {name: values for name, values in laid if values is not None}


def _channel(name: str, column: pa.ChunkedArray, share: Reals, axis: Axis) -> Reals | None:
    """Return a channel on the axis; None where frame after frame does not have it.

    The stretch between two frames is as unknown as for any channel, and does not count.
    """
    values = column.cast(pa.float64()).to_numpy()
    if column.null_count:
        known = np.isfinite(values)
        firsts, ends = np.flatnonzero(np.diff(known, prepend=True, append=True)).reshape(-1, 2).T
        if not known.any() or (share[ends - 1] - share[firsts]).max() > _UNKNOWN:
            return None
        values, share = values[known], share[known]
    return _interpolated(name, values, share, axis)


def _interpolated(name: str, values: Reals, share: Reals, axis: Axis) -> Reals:
    if _INTERPOLATION[name] == "previous":
        last = np.maximum(np.searchsorted(share, axis.share, "right") - 1, 0)
        return np.asarray(values[last], np.float64)
    # Between 3.1 and -3.1 rad lies a twelfth of a radian, not a whole turn.
    steady = np.unwrap(values) if name == "heading_rad" else values
    on_axis: Reals = np.interp(axis.share, share, steady)
    return on_axis
