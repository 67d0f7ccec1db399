"""MoTeC logs hold what was driven: the rate, the time of each sample, values on both sides of a wrap, decimals and names."""

from math import pi
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import ArrayLike

from analytics.channels import FRAMES
from analytics.database import Session
from analytics.motec import write_motec
from tests.unit.ld import Ld, read_ld

STARTED_AT_MS = 1_760_000_000_000


def _frames(time_ms: ArrayLike, **channels: ArrayLike | list[float | None]) -> pa.Table:
    """Frames at times in ms since the start; channels that are not given stand at 0, optional ones are unknown."""
    time = (STARTED_AT_MS + np.asarray(time_ms, np.int64)) * 1000
    columns = []
    for field in FRAMES:
        if field.name == "time":
            columns.append(pa.array(time).cast(field.type))
        elif field.name in channels:
            columns.append(pa.array(channels[field.name], from_pandas=True).cast(field.type))
        else:
            columns.append(
                pa.nulls(len(time), field.type) if field.nullable else pa.array(np.zeros(len(time))).cast(field.type)
            )
    return pa.table(columns, schema=FRAMES)


def _logged(path: Path, frames: pa.Table, *, driver: str = "", track: str = "") -> Ld:
    session = Session(1, "k", "", "g", track, "c", driver, None, None, None, None, None, len(frames))
    write_motec(path / "stint.ld", frames, session, [])
    return read_ld((path / "stint.ld").read_bytes())


@pytest.mark.parametrize(("driven_hz", "rate_hz"), [(59.5, 60), (60, 60), (120, 120), (360, 360), (20, 20), (0.1, 1)])
def test_rate_is_the_frames_own(tmp_path: Path, driven_hz: float, rate_hz: int) -> None:
    """Times are whole ms: at 60 Hz the median step is 17 ms, which would be 59 Hz."""
    log = _logged(tmp_path, _frames(np.round(np.arange(1000) * 1000 / driven_hz)))

    assert log.channels["Ground Speed"].rate_hz == rate_hz


def test_pause_does_not_lower_the_rate(tmp_path: Path) -> None:
    time_ms = np.round(np.arange(1200) * 1000 / 60)
    time_ms[600:] += 60_000

    assert _logged(tmp_path, _frames(time_ms)).channels["Gear"].rate_hz == 60


@pytest.mark.parametrize(("hours", "driven_hz"), [(1, 60), (24, 3)])
def test_samples_do_not_drift(tmp_path: Path, hours: int, driven_hz: int) -> None:
    """The lap clock counts the ms since the start, so that each sample shows when it was taken."""
    time_ms = np.round(np.arange(hours * 3600 * driven_hz + 1) * 1000 / driven_hz)
    clock = _logged(tmp_path, _frames(time_ms, lap_clock_ms=time_ms)).channels["lap_clock_ms"]

    assert clock.rate_hz == driven_hz
    off_ms = np.array(clock.values) - np.arange(len(clock.values)) * 1000 / driven_hz
    assert len(clock.values) == len(time_ms)
    assert np.abs(off_ms).max() <= 1


def test_channels_that_wrap_go_the_short_way(tmp_path: Path) -> None:
    """Between 99.9 % and 0.1 % of a lap lies the line, not the far side of the track."""
    time_ms = np.round(np.arange(6000) * 1000 / 59.5)
    position = (time_ms / 30_000) % 1.0
    heading = (2 * pi * position + pi) % (2 * pi) - pi

    log = _logged(tmp_path, _frames(time_ms, normalized_position=position, heading_rad=heading))

    at_ms = np.arange(len(log.channels["Lap Position"].values)) * 1000 / 60
    share = (at_ms / 30_000) % 1.0
    off = np.array(log.channels["Lap Position"].values) / 100 - share
    turned = np.array(log.channels["Car Heading"].values) - 2 * pi * share
    assert np.abs((off + 0.5) % 1.0 - 0.5).max() < 1e-4
    assert np.abs((turned + pi) % (2 * pi) - pi).max() < 1e-3
    assert 0 <= min(log.channels["Lap Position"].values) <= max(log.channels["Lap Position"].values) <= 100
    assert -pi - 1e-4 <= min(log.channels["Car Heading"].values) <= max(log.channels["Car Heading"].values) <= pi + 1e-4


def test_lap_clock_has_no_value_between_two_laps(tmp_path: Path) -> None:
    """At 59.5 Hz a sample lies between the last frame of a lap and the first of the next; the clock was never at 5 s there."""
    time_ms = np.round(np.arange(1800) * 1000 / 59.5)

    clock = _logged(tmp_path, _frames(time_ms, lap_clock_ms=time_ms % 10_000)).channels["lap_clock_ms"].values

    last_or_first = np.array(clock)[np.abs((np.arange(len(clock)) * 1000 / 60 + 30) % 10_000) < 60]
    assert len(last_or_first) > 6
    assert ((last_or_first < 100) | (last_or_first > 9_900)).all()


def test_unknown_values_pull_nothing_to_zero(tmp_path: Path) -> None:
    log = _logged(tmp_path, _frames([0, 100, 200, 300], x_m=[500.0, None, None, 530.0]))

    assert log.channels["Car Coord X"].values == pytest.approx([500, 510, 520, 530])


def test_decimals_are_the_channels(tmp_path: Path) -> None:
    """i2 shows as many as the header says; a log without them shows a throttle of 0 or 100 %."""
    log = _logged(tmp_path, _frames([0, 100], speed_kmh=[123.45, 123.45], throttle=[0.5, 0.5], x_m=[1.2341, 1.2341]))

    decimals = {name: channel.decimals for name, channel in log.channels.items()}
    assert decimals["Ground Speed"] == decimals["Throttle Pos"] == 2
    assert (decimals["Car Coord X"], decimals["Lap Position"], decimals["Gear"]) == (3, 4, 0)
    assert log.channels["Ground Speed"].values == pytest.approx([123.45, 123.45])
    assert log.channels["Car Coord X"].values == pytest.approx([1.234, 1.234])


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Jürgen", "Jürgen"), ("Nu\u0308rburgring", "Nürburgring"), ("Łukasz Dvořák 🏁", "?ukasz Dvorák ?")],
)
def test_names_keep_their_letters(tmp_path: Path, name: str, shown: str) -> None:
    log = _logged(tmp_path, _frames([0, 100]), driver=name, track=name)

    assert (log.driver, log.venue) == (shown, shown)
