"""A reader of MoTeC ``.ld`` files, written from the table of offsets that gotzl/ldparser publishes,
which is on no package registry.

It shares nothing with `analytics.files.motec`: it goes by absolute offsets and follows the links
between channels.
"""

import struct
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class LdChannel:
    name: str
    unit: str
    decimals: int
    rate_hz: int
    values: list[float]


@dataclass(frozen=True)
class Ld:
    driver: str
    vehicle: str
    venue: str
    started_at: datetime
    channels: dict[str, LdChannel]


def read_ld(data: bytes) -> Ld:
    channels = {}
    (at,) = struct.unpack_from("<I", data, 0x08)
    before = 0
    while at:
        previous, following = struct.unpack_from("<II", data, at)
        assert previous == before
        channel = _channel(data, at)
        channels[channel.name] = channel
        before, at = at, following
    date, time = _text(data, 0x5E, 16), _text(data, 0x7E, 16)
    return Ld(
        driver=_text(data, 0x9E, 64),
        vehicle=_text(data, 0xDE, 64),
        venue=_text(data, 0x15E, 64),
        started_at=datetime.strptime(f"{date} {time}", "%d/%m/%Y %H:%M:%S"),
        channels=channels,
    )


def _channel(data: bytes, at: int) -> LdChannel:
    data_at, samples = struct.unpack_from("<II", data, at + 0x08)
    kind, size, rate_hz = struct.unpack_from("<HHH", data, at + 0x12)
    shift, multiplier, scale, decimals = struct.unpack_from("<hhhh", data, at + 0x18)
    code = {(7, 4): "f", (7, 2): "e", (3, 4): "i", (3, 2): "h", (5, 4): "i", (0, 2): "h"}[
        kind, size
    ]
    raw = struct.unpack_from(f"<{samples}{code}", data, data_at)
    values = [(value / scale * 10.0**-decimals + shift) * multiplier for value in raw]
    return LdChannel(
        _text(data, at + 0x20, 32), _text(data, at + 0x48, 12), decimals, rate_hz, values
    )


def _text(data: bytes, at: int, length: int) -> str:
    return data[at : at + length].partition(b"\0")[0].decode("cp1252")
