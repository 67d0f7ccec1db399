"""Assetto Corsa gone mad: a real socket that answers anything, and real files that anything is
written to and done to.
"""

import socket
import struct
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from random import Random

from ingest.codec.blanking import blanked_fields
from ingest.collectors.games.ac.clocks import ClockReading
from ingest.collectors.games.ac.game import AcGame
from ingest.collectors.games.interface import GameEvent
from ingest.settings import AcSettings
from ingest.telemetry_pb2 import TelemetryFrame
from tests.fuzz.event_checker import EventChecker
from tests.fuzz.origin import holds
from tests.fuzz.pages import WrittenPages
from tests.fuzz.spoil import same_size, spoil
from tests.game_emulators.ac_packets import CAR_INFO, HANDSHAKE, read_request
from tests.game_emulators.pages import AC_GRAPHICS, AC_PHYSICS
from tests.paths import SHARED
from tests.unit import ac

_REAL = SHARED / "sim" / "data"
#: What a frame has, and where a datagram or the pages have it.
_OF_CAR = {"speed": "speed_Kmh", "throttle": "gas", "brake": "brake", "lap_time": "lapTime"}
_OF_PHYSICS = {
    "throttle": "gas",
    "brake": "brake",
    "speed": "speedKmh",
    "rpm": "rpms",
    "heading": "heading",
}
_OF_GRAPHICS = {"lap_time": "iCurrentTime", "normalized_position": "normalizedCarPosition"}


class Ac:
    """``step`` after ``step``; raises AssertionError when an event is wrong."""

    def __init__(self, folder: Path, draw: Random) -> None:
        self._folder, self._draw = folder, draw
        self._now_s = 1000.0
        self._server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._server.bind(("127.0.0.1", 0))
        self._server.setblocking(False)
        (folder / "none").mkdir()
        self._games = [self._follow(folder), self._follow(folder / "none")]
        self._checkers = [EventChecker(), EventChecker()]
        self._clients: set[tuple[str, int]] = set()
        self._messages = [ac.answer(), ac.info(), ac.lap(3, 99_000)]
        self._messages += [path.read_bytes() for path in sorted(_REAL.glob("acudp_*.bin"))]
        self._sent: deque[bytes] = deque(maxlen=400)
        self._pages = WrittenPages(folder, draw)
        self._packet_id = self._lap_count = self._clock_ms = 0
        self.inputs = 0

    def _follow(self, folder: Path) -> AcGame:
        settings = AcSettings.read(
            _env_file=None,
            shared_memory=str(folder),
            udp_port=self._server.getsockname()[1],
            host="127.0.0.1",
        )
        return AcGame(
            settings,
            clocks=lambda: ClockReading(self._now_s, round(self._now_s * 1000)),
            sleep=self._pass,
        )

    def _pass(self, seconds: float) -> None:
        self._now_s += seconds

    @property
    def summary(self) -> str:
        pages, alone = self._checkers
        counts = sum((Counter(one.counts) for one in self._games), Counter())
        summary = (
            f"with pages: {pages.sessions} sessions, {pages.frames} frames; without:"
            f" {alone.sessions}, {alone.frames}"
        )
        return "\n".join([summary, *(f"{count:9} {kind}" for kind, count in counts.most_common())])

    def step(self) -> None:
        """Something goes wrong, or right, and both followers look."""
        rare = self._draw.random() < 0.02
        passed_s = self._draw.choice(
            (0.3, 3.0, 20.0, 61.0) if rare else (0.003, 0.018, 0.018, 0.051)
        )
        self._pass(passed_s)
        self._drive(passed_s)
        self._write_pages()
        self._say()
        for game, checker in zip(self._games, self._checkers, strict=True):
            events = game.poll(0)
            checker.take(events)
            self._check_origin(events)

    def close(self) -> None:
        for game in self._games:
            game.close()
        self._server.close()

    def _drive(self, passed_s: float) -> None:
        self._clock_ms += round(passed_s * 1000)
        match self._draw.randrange(400):
            case 0:
                self._lap_count, self._clock_ms = self._lap_count + 1, 3
            case 1:
                self._lap_count, self._clock_ms = 0, 0

    def _write_pages(self) -> None:
        draw = self._draw
        if draw.random() < 0.3:  # else the pages are still, and the datagrams are all there is
            return
        often = draw.random() < 0.95
        self._packet_id = self._packet_id + draw.choice((1, 1, 7, 0)) if often else 0
        graphics = {
            "status": ac.LIVE if often else draw.randrange(4),
            "session": 0 if often else 1,
            "completedLaps": self._lap_count,
            "iCurrentTime": self._clock_ms,
        }
        made = ac.pages(self._packet_id, self._packet_id, graphics=graphics)
        spoilt = [same_size(draw, page) if draw.random() < 0.5 else page for page in made]
        for name, page in zip(made._fields, spoilt, strict=True):
            self._pages.put(name, page.ljust(2048, b"\0"))
        self.inputs += 3

    def _say(self) -> None:
        draw = self._draw
        for request, client in self._asked():
            self._clients.add(client)
            if request is not None and request.operation == HANDSHAKE:
                self._send(ac.answer() if draw.random() < 0.8 else spoil(draw, ac.answer()), client)
        running = ac.info(lapCount=self._lap_count, lapTime=self._clock_ms)
        for client in self._clients:
            odd = [
                spoil(draw, draw.choice(self._messages)) for _ in range(draw.choice((0, 0, 1, 3)))
            ]
            for datagram in [running] * (draw.random() < 0.9) + odd:
                self._send(datagram[:60_000], client)

    def _asked(self):
        while True:
            try:
                request, client = self._server.recvfrom(65_535)
            except OSError:
                return
            yield read_request(request), client

    def _send(self, datagram: bytes, client: tuple[str, int]) -> None:
        self._sent.append(datagram)
        self._server.sendto(datagram, client)
        self.inputs += 1

    def _check_origin(self, events: Sequence[GameEvent]) -> None:
        """Each frame is what some datagram or some page said; nothing was made up."""
        for frame in events:
            if isinstance(frame, TelemetryFrame):
                sent = any(
                    _is_in(frame, data, CAR_INFO, _OF_CAR, "lapCount") for data in self._sent
                )
                assert sent or self._is_written(frame), f"nothing says that: {frame}"

    def _is_written(self, frame: TelemetryFrame) -> bool:
        physics = any(
            _is_in(frame, page, AC_PHYSICS, _OF_PHYSICS) for page in self._pages.lately("physics")
        )
        return physics and any(
            _is_in(frame, page, AC_GRAPHICS, _OF_GRAPHICS, "completedLaps")
            for page in self._pages.lately("graphics")
        )


def _is_in(
    frame: TelemetryFrame, data: bytes, layout, fields: dict[str, str], laps: str = ""
) -> bool:
    if len(data) < layout.size:
        return False
    matches = all(
        holds(frame, field, _number(layout, data, name)) for field, name in fields.items()
    )
    return matches and (not laps or _is_lap(frame, int(_number(layout, data, laps)) + 1))


def _is_lap(frame: TelemetryFrame, lap_number: int) -> bool:
    """AC counts from 0 and has no formation lap: a lap below 1 is one that cannot be."""
    unknown = "lap_number" in blanked_fields(frame)
    return (unknown and lap_number < 1) or holds(frame, "lap_number", lap_number)


def _number(layout, data: bytes, name: str) -> float:
    field = layout.fields[name]
    return struct.unpack_from(f"<{field.kind}", data, field.offset)[0]
