"""What a game gave, write by write: for tests to hold against what the store has.

A file of equal records, so that it survives the game's being killed. Numbers are kept as wide as on
the page, and come back with its rounding.
"""

import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from tests.game_emulators.drive import Moment


class Kind(IntEnum):
    """What was written: a page, or a datagram about the player's car."""

    PHYSICS = 0
    GRAPHICS = 1
    CAR_INFO = 2  # Assetto Corsa's remote telemetry
    CAR_UPDATE = 3  # Competizione's broadcasting


class Written(NamedTuple):
    """One page or datagram, and the whole of what the game knew then, whether that page has a place
    for it or not.
    """

    at_s: float  # of the monotonic clock
    kind: int
    packet_id: int  # a page's; a datagram's number
    status: int
    session: int  # counted from 0 over all sessions of this game, restarts included
    lap_count: int
    lap_clock_ms: int
    last_lap_ms: int
    sector: int
    pit: int
    valid: int
    gear: int
    rpm: int
    position: float
    speed_kmh: float
    throttle: float
    brake: float
    steering: float
    x_m: float
    y_m: float
    z_m: float
    heading_rad: float
    torn: int  # written in pieces, with a pause between them
    copies: int  # datagrams that left: 0 lost, 2 doubled; of a page, 1
    # the longest between two pieces; longer than was asked for, where others needed the CPU
    pause_s: float


_RECORD = struct.Struct("<dBiBiiiiBBBbi9fBBf")


class Ledger:
    """Written by a game to ``path``; None keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._file = (
            None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        )

    def add(
        self,
        kind: Kind,
        packet_id: int,
        moment: Moment,
        *,
        at_s: float,
        status: int,
        session: int,
        torn: bool = False,
        copies: int = 1,
        pause_s: float = 0.0,
    ) -> None:
        """Note what has just been written."""
        if self._file is None:
            return
        car = _of_the_car(moment)
        record = _RECORD.pack(at_s, kind, packet_id, status, session, *car, torn, copies, pause_s)
        os.write(self._file, record)

    def close(self) -> None:
        """Nothing is noted after it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _of_the_car(m: Moment) -> tuple[float, ...]:
    """In the order of `Written`."""
    whole = (m.lap_count, m.lap_clock_ms, m.last_lap_ms, m.sector, m.pit, m.valid, m.gear, m.rpm)
    driving = (m.position, m.speed_kmh, m.throttle, m.brake, m.steering)
    return (*whole, *driving, m.x_m, m.y_m, m.z_m, m.heading_rad)


def read_ledger(path: Path) -> Iterator[Written]:
    """What the ledger at ``path`` has so far; the game may be writing on."""
    data = path.read_bytes()
    whole = len(data) - len(data) % _RECORD.size
    return (Written(*record) for record in _RECORD.iter_unpack(data[:whole]))
