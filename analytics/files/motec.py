"""Writes MoTeC i2 files: a ``.ld`` log of channels at a steady rate, and a ``.ldx`` file with the
start of each lap.

MoTeC publishes no description. The layout is based on findings of others in files that i2 opens.
These are the header tables of gotzl/ldparser and the ``.ldx`` that GeekyDeaks/sim-to-motec writes.
docs/motec.md describes the findings in real logs. Rule: every number is little-endian, and every
text is in code page 1252, padded with zeros.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, pi
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analytics.errors import TooLong
from analytics.model.arrays import Integers, Reals
from analytics.model.channels import CHANNELS, Channel
from analytics.model.lap import Lap
from analytics.model.sample_rate import mean_rate_hz
from analytics.model.session import SessionInfo

_HEADER = np.dtype(
    {
        "names": [
            "marker", "channels_at", "data_at", "event_at", "signature", "serial",
            "device", "version", "signature_2",
            "channel_count", "date", "time", "driver", "vehicle", "venue", "comment",
        ],
        "formats": [
            "<u4", "<u4", "<u4", "<u4", "<u4", "<u4", "S8", "<u2", "<u2", "<u4",
            "S16", "S16", "S64", "S64", "S64", "S64",
        ],
        "offsets": [
            0x000, 0x008, 0x00C, 0x024, 0x042, 0x046, 0x04A, 0x052, 0x054, 0x056,
            0x05E, 0x07E, 0x09E, 0x0DE, 0x15E, 0x624,
        ],
        "itemsize": 0x6E2,
    }
)  # fmt: skip
_EVENT = np.dtype([("name", "S64"), ("session", "S64"), ("comment", "S1024"), ("venue_at", "<u2")])
_CHANNEL = np.dtype(
    [
        ("previous_at", "<u4"), ("next_at", "<u4"), ("data_at", "<u4"), ("samples", "<u4"),
        ("id", "<u2"),
        ("type", "<u2"), ("sample_bytes", "<u2"), ("rate_hz", "<u2"), ("shift", "<i2"),
        ("multiplier", "<i2"),
        ("scale", "<i2"), ("decimals", "<i2"), ("name", "S32"), ("short_name", "S8"),
        ("unit", "S12"), ("rest", "V40"),
    ]
)  # fmt: skip

#: The values that i2 requires before it opens a log, as the ADL loggers wrote them.
_ADL = {
    "marker": 64,
    "signature": 1_000_000,
    "serial": 12_007,
    "device": b"ADL",
    "version": 420,
    "signature_2": 128,
}
_SAMPLE_BYTES = 4
# Samples are whole numbers with decimals, as loggers write them. i2 shows as many decimals as the
# channel's header has.
_INTEGER = {"type": 3, "sample_bytes": _SAMPLE_BYTES, "multiplier": 1, "scale": 1}
_INT32 = np.iinfo(np.int32)

#: The name of a channel in i2's own workbooks, its unit there, the factor, and the decimals kept.
#: Other channels keep their names.
_AT_MOTEC = {
    "speed_kmh": ("Ground Speed", "km/h", 1.0, 2),
    "throttle": ("Throttle Pos", "%", 100.0, 2),
    "brake": ("Brake Pos", "%", 100.0, 2),
    "steering": ("Steering Pos", "%", 100.0, 2),
    "rpm": ("Engine RPM", "rpm", 1.0, 0),
    "gear": ("Gear", "", 1.0, 0),
    "lap_number": ("Lap Number", "", 1.0, 0),
    "normalized_position": ("Lap Position", "%", 100.0, 4),
    "x_m": ("Car Coord X", "m", 1.0, 3),
    "y_m": ("Car Coord Y", "m", 1.0, 3),
    "z_m": ("Car Coord Z", "m", 1.0, 3),
    "heading_rad": ("Car Heading", "rad", 1.0, 4),
}
# Periodic channels, with their periods: between 0.99 and 0.01 of a lap lies 0.00, not 0.50.
_PERIODS = {"normalized_position": 1.0, "heading_rad": 2 * pi}
# Lowest value of an unsigned range. Positions may lie a little before the line, headings on both
# sides of 0.
_SIGNED_BELOW = -0.02
# No car is back at the line within a second of a crossing.
_ONE_CROSSING_US = 1_000_000
_MOST_HZ = 500
# 60 Hz in whole ms is 60.01 Hz and becomes 60; 59.5 Hz does not become 59.
_WHOLE_WITHIN_HZ = 0.1
# Offsets in the file are 32-bit numbers.
_MOST_BYTES = 2**32 - 1


@dataclass(frozen=True, slots=True)
class _Trace:
    """A channel at a steady rate."""

    name: str
    unit: str
    decimals: int
    values: NDArray[np.int32]  # times 10**decimals


def write_motec(path: Path, frames: pa.Table, session: SessionInfo, laps: Sequence[Lap]) -> None:
    """Write ``path`` and the ``.ldx`` file beside it.

    ``frames`` has the columns of `analytics.model.channels.FRAMES`, and at least one row. Gaps
    between two frames are filled in, so a long gap may exceed the format. Raises TooLong.
    """
    time_us = frames.column("time").cast(pa.int64()).to_numpy()
    rate_hz = _rate_hz(time_us)
    lasts_s = float(time_us[-1] - time_us[0]) / 1e6
    if lasts_s * rate_hz * _SAMPLE_BYTES * len(CHANNELS) > _MOST_BYTES:
        raise TooLong(lasts_s / 3600, rate_hz)
    traces = list(_traces(frames, time_us, rate_hz))
    path.write_bytes(_log(session, int(time_us[0]), rate_hz, traces))
    beacons = _beacons_us(laps, int(time_us[0]), int(time_us[-1]))
    path.with_suffix(".ldx").write_bytes(_extra(beacons, laps, int(time_us[0])))


def _rate_hz(time_us: Integers) -> int:
    """Return the frames' own rate, rounded to a whole number without losing frames: the format has
    no other.
    """
    rate_hz = mean_rate_hz(time_us, per_second=1_000_000) or 1.0
    return int(np.clip(ceil(rate_hz - _WHOLE_WITHIN_HZ), 1, _MOST_HZ))


def _sample_times_us(lasts_us: int, rate_hz: int) -> Integers:
    """Return the times of the samples since the first frame.

    They come from the index in whole numbers, so that none drifts, even in a long log.
    """
    count = lasts_us * rate_hz // 1_000_000 + 1
    at_us: Integers = np.arange(count, dtype=np.int64) * 1_000_000 // rate_hz
    return at_us


def _traces(frames: pa.Table, time_us: Integers, rate_hz: int) -> Iterator[_Trace]:
    since_us = time_us - time_us[0]
    at_us = _sample_times_us(int(since_us[-1]), rate_hz)
    for channel in CHANNELS:
        column = frames.column(channel.name)
        if column.null_count < len(column):
            name, unit, times, decimals = _at_motec(channel)
            scaled = np.rint(_sampled(channel, since_us, column, at_us) * (times * 10**decimals))
            values = np.clip(scaled, _INT32.min, _INT32.max).astype("<i4")
            yield _Trace(name, unit, decimals, values)


def _at_motec(channel: Channel) -> tuple[str, str, float, int]:
    decimals = 0 if pa.types.is_integer(channel.arrow) else 3
    return _AT_MOTEC.get(channel.name, (channel.name, channel.unit, 1.0, decimals))


def _sampled(
    channel: Channel, since_us: Integers, column: pa.ChunkedArray, at_us: Integers
) -> Reals:
    if channel.interpolation != "linear":
        last: Reals = _floats(column.fill_null(0))[np.searchsorted(since_us, at_us, "right") - 1]
        return last
    values = _floats(column.drop_null())
    known_us = since_us[column.is_valid().to_numpy()]
    before = np.maximum(np.searchsorted(known_us, at_us, "right") - 1, 0)
    after = np.minimum(before + 1, len(values) - 1)
    share = np.clip(
        (at_us - known_us[before]) / np.maximum(known_us[after] - known_us[before], 1), 0, 1
    )
    start, step = values[before], values[after] - values[before]
    if channel.name == "lap_clock_ms":
        step = np.maximum(step, 0)  # the clock restarts, and has no value between two laps
    if channel.name not in _PERIODS:
        between: Reals = start + share * step
        return between
    return _round_the_wrap(
        start, step, share, _PERIODS[channel.name], signed=bool(values.min() < _SIGNED_BELOW)
    )


def _round_the_wrap(
    start: Reals, step: Reals, share: Reals, period: float, *, signed: bool
) -> Reals:
    """Interpolate between two values the short way round.

    The range begins at 0, or lies on both sides of it. A result outside the range comes in at the
    other end.
    """
    wraps = np.abs(step) > period / 2
    short: Reals = start + share * np.where(wraps, step - np.sign(step) * period, step)
    lowest = -period / 2 if signed else 0.0
    outside = wraps & ((short < lowest) | (short >= lowest + period))
    return np.where(outside, (short - lowest) % period + lowest, short)


def _floats(column: pa.ChunkedArray) -> Reals:
    values: Reals = column.to_numpy().astype(np.float64)
    return values


def _log(session: SessionInfo, started_at_us: int, rate_hz: int, traces: Sequence[_Trace]) -> bytes:
    event_at = _HEADER.itemsize
    channels_at = event_at + _EVENT.itemsize
    data_at = channels_at + _CHANNEL.itemsize * len(traces)
    when = np.datetime64(started_at_us, "us").item()
    header = _record(
        _HEADER,
        **_ADL,
        channels_at=channels_at,
        data_at=data_at,
        event_at=event_at,
        channel_count=len(traces),
        date=_text(f"{when:%d/%m/%Y}"),
        time=_text(f"{when:%H:%M:%S}"),
        driver=_text(session.driver),
        vehicle=_text(session.car),
        venue=_text(session.track),
        comment=_text(session.game),
    )
    event = _record(_EVENT, name=_text(session.track), session=_text(session.key))
    channels = _channels(channels_at, data_at, rate_hz, traces)
    return b"".join([header, event, channels, *(trace.values.tobytes() for trace in traces)])


def _channels(first_at: int, data_at: int, rate_hz: int, traces: Sequence[_Trace]) -> bytes:
    """Build the channel headers: a list that is linked both ways, with 0 at either end."""
    at = [0, *(first_at + i * _CHANNEL.itemsize for i in range(len(traces))), 0]
    records = [
        _record(
            _CHANNEL,
            **_INTEGER,
            previous_at=at[i],
            next_at=at[i + 2],
            data_at=data_at + i * trace.values.nbytes,
            samples=len(trace.values),
            id=i,
            rate_hz=rate_hz,
            decimals=trace.decimals,
            name=_text(trace.name),
            short_name=_text(trace.name[:8]),
            unit=_text(trace.unit),
        )
        for i, trace in enumerate(traces)
    ]
    return b"".join(records)


def _record(layout: np.dtype[Any], **values: object) -> bytes:
    record = np.zeros((), layout)
    for name, value in values.items():
        record[name] = value
    return record.tobytes()


def _text(text: str) -> bytes:
    """Encode a text in code page 1252.

    A letter that the code page lacks loses its accent. Any other missing character becomes a
    question mark.
    """
    return b"".join(_letter(letter) for letter in unicodedata.normalize("NFC", text))


def _letter(letter: str) -> bytes:
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return unicodedata.normalize("NFKD", letter)[0].encode("cp1252", "replace")


def _beacons_us(laps: Sequence[Lap], first_us: int, last_us: int) -> list[int]:
    """Return the line crossings within the log, in µs from its start: one where a lap ends and the
    next begins.
    """
    crossings = {lap.ended_at_us for lap in laps}
    # A game that puts the car back in mid-lap begins a lap there, and no line is near.
    crossings |= {lap.started_at_us for lap in laps if "joined_mid_lap" not in lap.reasons}
    beacons: list[int] = []
    for us in sorted(us for us in crossings if first_us < us <= last_us):
        if not beacons or us - first_us - beacons[-1] >= _ONE_CROSSING_US:
            beacons.append(us - first_us)
    return beacons


def _extra(beacons_us: Sequence[int], laps: Sequence[Lap], first_us: int) -> bytes:
    root = ElementTree.Element(
        "LDXFile", Locale="English_United Kingdom.1252", DefaultLocale="C", Version="1.6"
    )
    layers = ElementTree.SubElement(root, "Layers")
    block = ElementTree.SubElement(ElementTree.SubElement(layers, "Layer"), "MarkerBlock")
    group = ElementTree.SubElement(
        block, "MarkerGroup", Name="Beacons", Index=str(max(len(beacons_us) - 1, 0))
    )
    for number, time_us in enumerate(beacons_us, 1):
        marker = {
            "Version": "100",
            "ClassName": "BCN",
            "Name": f"Manual.{number}",
            "Flags": "77",
            "Time": str(time_us),
        }
        ElementTree.SubElement(group, "Marker", marker)
    details = ElementTree.SubElement(layers, "Details")
    for name, value in _details(beacons_us, laps, first_us).items():
        ElementTree.SubElement(details, "String", Id=name, Value=value)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _details(beacons_us: Sequence[int], laps: Sequence[Lap], first_us: int) -> dict[str, str]:
    """Return the details that i2 lists beside the log.

    i2 counts laps by beacons, and the part before the first beacon is lap 0.
    """
    known = {"Total Laps": str(len(beacons_us) + 1)}
    timed = [
        (lap.lap_time_ms, lap.started_at_us - first_us)
        for lap in laps
        if lap.lap_time_ms and not lap.flags
    ]
    if not timed:
        return known
    fastest_ms, began_us = min(timed)
    number = bisect_right(beacons_us, began_us)
    time = f"{fastest_ms // 60_000:02d}:{fastest_ms % 60_000 / 1000:06.3f}"
    return known | {"Fastest Time": time, "Fastest Lap": str(number)}
