"""Competizione gone mad: real files that anything is written to and done to, and a real socket that
says anything.
"""

import socket
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from ingest.collectors.games.acc.game import AccGame
from ingest.collectors.games.interface import GameEvent
from ingest.settings import AccSettings
from ingest.telemetry_pb2 import TelemetryFrame
from tests.fuzz.event_checker import EventChecker
from tests.fuzz.origin import holds
from tests.fuzz.pages import WrittenPages
from tests.fuzz.spoil import same_size, spoil
from tests.game_emulators import acc_messages as game
from tests.game_emulators.pages import ACC_GRAPHICS, ACC_PHYSICS
from tests.paths import SHARED
from tests.unit.acc import car_update, lap, pages, update

_REAL = SHARED / "sim" / "data"
_SPLITS = (23_647, 41_300, 29_325)
#: What a frame has, and where the pages have it.
_FROM_PHYSICS = {
    "throttle": "gas",
    "brake": "brake",
    "steering": "steerAngle",
    "speed": "speedKmh",
    "rpm": "rpms",
}
_FROM_GRAPHICS = {"normalized_position": "normalizedCarPosition"}


def _messages() -> list[bytes]:
    made = [
        game.registration_result(5, success=True, commands=False, error=""),
        game.registration_result(
            -1, success=False, commands=False, error="Wrong connection password"
        ),
        update(1000.0).encode(),
        update(1000.0, replay=game.Replay(1.0, 2.0)).encode(),
        car_update(500, last_lap=lap(94_272, splits_ms=_SPLITS)).encode(),
        game.entry_list(5, [3, 7]),
        game.EntryListCar(
            3, 32, "team", 1, 0, 0, 0, [game.Driver("Ada", "Lovelace", "LOV")]
        ).encode(),
        game.TrackData(5, "Monza Circuit", 12, 5793, [("set", ["one"])], ["HUD"]).encode(),
        game.event(5, "01:33.695", time_ms=1, car=3),
    ]
    return made + [path.read_bytes() for path in sorted(_REAL.glob("acc_bc_[1-7r]*.bin"))]


class Acc:
    """``step`` after ``step``; raises AssertionError when an event is wrong."""

    def __init__(self, folder: Path, draw: Random) -> None:
        self._folder, self._draw = folder, draw
        self._now_s = 1000.0
        self._server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._server.bind(("127.0.0.1", 0))
        self._server.setblocking(False)
        self._games = [self._follow(broadcast_only) for broadcast_only in (False, True)]
        self._checkers = [EventChecker(), EventChecker()]
        self._clients: set[tuple[str, int]] = set()
        self._messages = _messages()
        self._packet_id = 0
        self._pages = WrittenPages(folder, draw)
        self.inputs = 0

    def _follow(self, broadcast_only: bool) -> AccGame:
        settings = AccSettings.read(
            _env_file=None,
            shared_memory=str(self._folder),
            broadcast_port=self._server.getsockname()[1],
            broadcasting_json=str(self._folder / "broadcasting.json"),
        )
        return AccGame(
            settings,
            broadcast_only=broadcast_only,
            clock=lambda: self._now_s,
            wall_s=lambda: self._now_s,
            sleep=lambda _: None,
        )

    @property
    def summary(self) -> str:
        pages, alone = self._checkers
        counts = sum((Counter(one.counts) for one in self._games), Counter())
        summary = (
            f"pages: {pages.sessions} sessions, {pages.frames} frames; broadcasts alone:"
            f" {alone.sessions}, {alone.frames}"
        )
        return "\n".join([summary, *(f"{count:9} {kind}" for kind, count in counts.most_common())])

    def step(self) -> None:
        """Something goes wrong, or right, and both followers look."""
        rare = self._draw.random() < 0.02
        self._now_s += self._draw.choice(
            (0.3, 3.0, 20.0, 61.0) if rare else (0.001, 0.017, 0.017, 0.05)
        )
        self._write_pages()
        self._say()
        for game_, checker in zip(self._games, self._checkers, strict=True):
            events = game_.poll(0)
            checker.take(events)
            if checker is self._checkers[0]:
                self._check_origin(events)

    def close(self) -> None:
        for game_ in self._games:
            game_.close()
        self._server.close()

    def _write_pages(self) -> None:
        draw = self._draw
        often = draw.random() < 0.95
        self._packet_id = self._packet_id + draw.choice((1, 1, 7, 0)) if often else 0
        graphics = {"status": 2 if often else draw.randrange(4), "sessionIndex": 0 if often else 1}
        made = pages(self._packet_id, graphics=graphics)
        spoilt = [same_size(draw, page) if draw.random() < 0.5 else page for page in made]
        for name, page in zip(made._fields, spoilt, strict=True):
            self._pages.put(name, page.ljust(2048, b"\0"))
        self.inputs += 3
        if draw.randrange(500) == 0:
            (self._folder / "broadcasting.json").write_bytes(
                spoil(draw, b'{"updListenerPort": 0, "connectionPassword": ""}')
            )

    def _say(self) -> None:
        while True:
            try:
                self._clients.add(self._server.recvfrom(65535)[1])
            except OSError:
                break
        now_ms = self._now_s * 1000
        running = [update(now_ms).encode(), car_update(round(now_ms)).encode()]
        for client in self._clients:
            odd = [
                spoil(self._draw, self._draw.choice(self._messages))
                for _ in range(self._draw.choice((0, 0, 1, 3)))
            ]
            for datagram in running + odd:
                self._server.sendto(datagram[:60_000], client)
                self.inputs += 1

    def _check_origin(self, events: Sequence[GameEvent]) -> None:
        """Each frame is what some page said; nothing was made up."""
        for frame in events:
            if isinstance(frame, TelemetryFrame):
                physics = any(
                    _drives_like(frame, page)
                    for page in self._pages.lately("physics")
                    if len(page) >= 800
                )
                graphics = any(
                    _is_where(frame, page)
                    for page in self._pages.lately("graphics")
                    if len(page) >= 1588
                )
                assert physics, f"no page drives like that: {frame}"
                assert graphics, f"no page is there: {frame}"


def _drives_like(frame: TelemetryFrame, page: bytes) -> bool:
    matches = all(
        holds(frame, field, _number(ACC_PHYSICS, page, name))
        for field, name in _FROM_PHYSICS.items()
    )
    return matches and holds(frame, "gear", _number(ACC_PHYSICS, page, "gear") - 1)


def _is_where(frame: TelemetryFrame, page: bytes) -> bool:
    matches = all(
        holds(frame, field, _number(ACC_GRAPHICS, page, name))
        for field, name in _FROM_GRAPHICS.items()
    )
    return matches and holds(frame, "lap_number", _number(ACC_GRAPHICS, page, "completedLaps") + 1)


def _number(layout, page: bytes, name: str) -> float:
    field = layout.fields[name]
    return struct.unpack_from(f"<{field.kind}", page, field.offset)[0]
