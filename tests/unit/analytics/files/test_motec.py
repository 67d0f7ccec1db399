"""MoTeC logs hold what was driven: the rate, the time of each sample, values on both sides of a
wrap, decimals and names.
"""

from dataclasses import replace
from math import pi
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import ArrayLike

import analytics
from analytics.files.motec import write_motec
from analytics.laps.engine import timed
from analytics.model.channels import CHANNELS, FRAMES
from analytics.model.lap import Lap
from analytics.model.session import SessionInfo
from tests.paths import SHARED
from tests.unit.analytics.laps.test_odd_sessions import START_MS, Session, driven_back
from tests.unit.ld import Ld, read_ld

#: What is NULL where nobody sent it.
OPTIONAL = {channel.name for channel in CHANNELS if channel.optional} | {"sequence"}

STARTED_AT_MS = 1_760_000_000_000
_SESSION = SessionInfo(1, "k", "", "g", "", "c", "", None, None, None, None, None, 0)


def _frames(time_ms: ArrayLike, **channels: ArrayLike | list[float | None]) -> pa.Table:
    """Frames at times in ms since the start; channels that are not given stand at 0, optional ones
    are unknown.
    """
    time = (STARTED_AT_MS + np.asarray(time_ms, np.int64)) * 1000
    columns = []
    for field in FRAMES:
        if field.name == "time":
            columns.append(pa.array(time).cast(field.type))
        elif field.name in channels:
            columns.append(pa.array(channels[field.name], from_pandas=True).cast(field.type))
        else:
            columns.append(
                pa.nulls(len(time), field.type)
                if (field.name in OPTIONAL)
                else pa.array(np.zeros(len(time))).cast(field.type)
            )
    return pa.table(columns, schema=FRAMES)


def _logged(path: Path, frames: pa.Table, *, driver: str = "", track: str = "") -> Ld:
    write_motec(path / "stint.ld", frames, replace(_SESSION, driver=driver, track=track), [])
    return read_ld((path / "stint.ld").read_bytes())


@pytest.mark.parametrize(
    ("driven_hz", "rate_hz"), [(59.5, 60), (60, 60), (120, 120), (360, 360), (20, 20), (0.1, 1)]
)
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
    assert (
        0
        <= min(log.channels["Lap Position"].values)
        <= max(log.channels["Lap Position"].values)
        <= 100
    )
    assert (
        -pi - 1e-4
        <= min(log.channels["Car Heading"].values)
        <= max(log.channels["Car Heading"].values)
        <= pi + 1e-4
    )


def test_lap_clock_has_no_value_between_two_laps(tmp_path: Path) -> None:
    """At 59.5 Hz a sample lies between the last frame of a lap and the first of the next; the clock
    was never at 5 s there.
    """
    time_ms = np.round(np.arange(1800) * 1000 / 59.5)

    clock = (
        _logged(tmp_path, _frames(time_ms, lap_clock_ms=time_ms % 10_000))
        .channels["lap_clock_ms"]
        .values
    )

    last_or_first = np.array(clock)[np.abs((np.arange(len(clock)) * 1000 / 60 + 30) % 10_000) < 60]
    assert len(last_or_first) > 6
    assert ((last_or_first < 100) | (last_or_first > 9_900)).all()


def test_unknown_values_pull_nothing_to_zero(tmp_path: Path) -> None:
    log = _logged(tmp_path, _frames([0, 100, 200, 300], x_m=[500.0, None, None, 530.0]))

    assert log.channels["Car Coord X"].values == pytest.approx([500, 510, 520, 530])


def test_decimals_are_the_channels(tmp_path: Path) -> None:
    """i2 shows as many as the header says; a log without them shows a throttle of 0 or 100 %."""
    log = _logged(
        tmp_path,
        _frames([0, 100], speed_kmh=[123.45, 123.45], throttle=[0.5, 0.5], x_m=[1.2341, 1.2341]),
    )

    decimals = {name: channel.decimals for name, channel in log.channels.items()}
    assert decimals["Ground Speed"] == decimals["Throttle Pos"] == 2
    assert (decimals["Car Coord X"], decimals["Lap Position"], decimals["Gear"]) == (3, 4, 0)
    assert log.channels["Ground Speed"].values == pytest.approx([123.45, 123.45])
    assert log.channels["Car Coord X"].values == pytest.approx([1.234, 1.234])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Jürgen", "Jürgen"),
        ("Nu\u0308rburgring", "Nürburgring"),
        ("Łukasz Dvořák 🏁", "?ukasz Dvorák ?"),
    ],
)
def test_names_keep_their_letters(tmp_path: Path, name: str, shown: str) -> None:
    log = _logged(tmp_path, _frames([0, 100]), driver=name, track=name)

    assert (log.driver, log.venue) == (shown, shown)


def _lap(number: int, from_s: float, until_s: float, lap_time_ms: int | None, *flags: str) -> Lap:
    """A lap between two instants since the start; its time is not the interval's length where it
    has a pause in it.
    """
    started_at_us, ended_at_us = (
        (STARTED_AT_MS + round(1000 * s)) * 1000 for s in (from_s, until_s)
    )
    return Lap(number, started_at_us, ended_at_us, lap_time_ms, None, (), "", flags, 0, 0, 0.0)


def _extra(folder: Path, last_s: float, laps: list[Lap]) -> tuple[list[float], dict[str, str]]:
    """The beacons in seconds, and the details, of a log with these laps."""
    write_motec(folder / "stint.ld", _frames([0, 1000 * last_s]), _SESSION, laps)
    return _extra_of(folder)


def _extra_of(folder: Path) -> tuple[list[float], dict[str, str]]:
    root = ElementTree.parse(folder / "stint.ldx")
    details = {text.attrib["Id"]: text.attrib["Value"] for text in root.iter("String")}
    return [int(marker.attrib["Time"]) / 1e6 for marker in root.iter("Marker")], details


def test_pause_makes_no_lap(tmp_path: Path) -> None:
    """The lap of 95 s lasts 155 s with a pause of 60 s in it: its end is where the engine found
    it.
    """
    laps = [
        _lap(1, 0, 100, 100_000),
        _lap(2, 100, 255, 95_000, "partial"),
        _lap(3, 255, 349, 94_000),
    ]

    beacons, details = _extra(tmp_path, 360, laps)

    assert beacons == [100, 255, 349]
    assert details == {"Total Laps": "4", "Fastest Time": "01:34.000", "Fastest Lap": "2"}


@pytest.mark.parametrize(
    ("at_s", "back_s", "crossings_s"),
    [
        (80, 10, [60, 125, 179, 235]),
        (118, 8, [60, 115, 123, 177, 233]),
        (118, 60, [60, 115, 120, 175, 229, 285]),
    ],
)
def test_going_back_makes_no_lap(
    tmp_path: Path, at_s: float, back_s: float, crossings_s: list[float]
) -> None:
    """Within a lap, over one line, and over two: the car crosses no line where it goes back."""
    session = driven_back(at_s, back_s)

    beacons, details = _beacons_of(tmp_path, session)

    assert beacons == pytest.approx(crossings_s, abs=0.01)
    assert details["Total Laps"] == str(len(crossings_s) + 1)
    assert details["Fastest Time"] == "00:54.000"
    began_s = beacons[int(details["Fastest Lap"]) - 1]
    assert beacons[int(details["Fastest Lap"])] - began_s == pytest.approx(54, abs=0.002)


def test_a_race_begun_again_on_the_line_has_a_beacon_there(tmp_path: Path) -> None:
    """Without it, i2 would count the attempt before into the lap."""
    first, again = Session(), Session(laps_s=(61.0, 55.0))
    until = int(np.searchsorted(first.t, 150.0))
    again["time_ms"] = again["time_ms"] + 155_000
    columns = {name: np.concatenate([first[name][:until], again[name]]) for name in first.columns}
    first.t = (columns["time_ms"] - START_MS) / 1000
    first.columns = columns

    beacons, _ = _beacons_of(tmp_path, first)

    assert beacons == pytest.approx([60, 115, 155, 216, 271], abs=0.01)


def _beacons_of(folder: Path, session: Session) -> tuple[list[float], dict[str, str]]:
    """As `_extra`, of the laps that the engine finds."""
    frames = session.frames()
    write_motec(folder / "stint.ld", frames, _SESSION, timed(frames))
    return _extra_of(folder)


@pytest.mark.parametrize("apart_ms", [0, 2, 61, 72])
def test_crossing_has_one_beacon(tmp_path: Path, apart_ms: int) -> None:
    """By the game's lap times an end and the next start are up to 72 ms apart, in two of three real
    recordings.
    """
    next_from = 73.814 + apart_ms / 1000

    beacons, details = _extra(
        tmp_path, 150, [_lap(1, 0, 73.814, 73_875, "out"), _lap(2, next_from, 137.08, 63_266)]
    )

    assert beacons == [73.814, 137.08]
    assert (details["Total Laps"], details["Fastest Lap"]) == ("3", "1")


def test_lap_that_began_before_the_log_is_lap_0(tmp_path: Path) -> None:
    beacons, details = _extra(tmp_path, 100, [_lap(7, -0.079, 89.458, 89_537)])

    assert beacons == [89.458]
    assert details["Fastest Lap"] == "0"


@pytest.mark.parametrize(
    ("name", "laps", "fastest"),
    [("iracing_okayama_driverA", 15, "4"), ("acc_brands_hatch_mit_sessionA", 5, "3")],
)
def test_real_sessions_have_a_beacon_a_crossing(
    tmp_path: Path, name: str, laps: int, fastest: str
) -> None:
    recording = SHARED / "data" / f"{name}.parquet"
    if not recording.is_file():
        pytest.skip(f"needs the real recording {recording.name} beside the checkout")
    session = analytics.open(recording).sessions.newest()
    session.export(tmp_path / "stint.ld")

    root = ElementTree.parse(tmp_path / "stint.ldx")

    details = {text.attrib["Id"]: text.attrib["Value"] for text in root.iter("String")}
    assert len(list(root.iter("Marker"))) == laps - 1
    assert (details["Total Laps"], details["Fastest Lap"]) == (str(laps), fastest)
