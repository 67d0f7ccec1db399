"""The datagrams of Assetto Corsa's remote telemetry. Texts end with '%'; what follows them, and the
padding, is garbage.
"""

import struct
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.game_emulators.layout import Layout

HANDSHAKE, SUBSCRIBE_UPDATE, SUBSCRIBE_SPOT, UNSUBSCRIBE = range(4)
IDENTIFIER, VERSION = 4242, 1

RESPONSE = Layout(
    "carName:w50 driverName:w50 identifier:i version:i trackName:w50 trackConfig:w50", end="%"
)
CAR_INFO = Layout("""
    identifier:b _pad0:b3 size:i speed_Kmh:f speed_Mph:f speed_Ms:f isAbsEnabled:b isAbsInAction:b
        isTcInAction:b isTcEnabled:b
    isInPit:b isEngineLimiterOn:b _pad1:b2 accG_vertical:f accG_horizontal:f accG_frontal:f
        lapTime:i lastLap:i bestLap:i
    lapCount:i gas:f brake:f clutch:f engineRPM:f steer:f gear:i cgHeight:f wheelAngularSpeed:f4
        slipAngle:f4
    slipAngle_ContactPatch:f4 slipRatio:f4 tyreSlip:f4 ndSlip:f4 load:f4 Dy:f4 Mz:f4
        tyreDirtyLevel:f4 camberRAD:f4
    tyreRadius:f4 tyreLoadedRadius:f4 suspensionHeight:f4 carPositionNormalized:f carSlope:f
        carCoordinates:f3
    """)
LAP = Layout("carIdentifierNumber:i lap:i driverName:w50 carName:w50 time:i", end="%")

_REQUEST = struct.Struct("<iii")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for."""

    identifier: int
    version: int
    operation: int


def read_request(datagram: bytes) -> Request | None:
    """None for what is no request of twelve bytes."""
    return Request(*_REQUEST.unpack(datagram)) if len(datagram) == _REQUEST.size else None


def packet(layout: Layout, values: dict[str, Any], garbage: Random) -> bytes:
    """A datagram whose every byte that ``values`` does not decide is garbage."""
    page = bytearray(garbage.randbytes(layout.size))
    layout.put(page, values)
    return bytes(page)
