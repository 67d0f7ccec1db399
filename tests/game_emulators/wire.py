"""A bad network between a game and its clients: datagrams are lost, doubled, and overtake each
other. Everything follows from the seed.
"""

import socket
from contextlib import suppress
from dataclasses import dataclass
from random import Random

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Weather:
    """Shares of the datagrams, both ways: lost, doubled, held back until the next has overtaken,
    spoilt.
    """

    loss: float = 0.0
    doubling: float = 0.0
    reordering: float = 0.0
    garbage: float = 0.0  # truncated, lengthened or random ones, beside the good ones


class Wire:
    """One UDP socket of a game, and the weather before it."""

    def __init__(self, port: int = 0, weather: Weather | None = None, *, seed: int = 1) -> None:
        self._weather = weather or Weather()
        self._draw = Random(f"wire {seed}")
        self._held: list[tuple[bytes, Address]] = []
        self._open(port)

    def _open(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]

    def receive(self) -> list[tuple[bytes, Address]]:
        """All that has come through since the last call."""
        came: list[tuple[bytes, Address]] = []
        while True:
            try:
                datagram, address = self.socket.recvfrom(65_536)
            except BlockingIOError:
                return came
            except ConnectionError:
                continue  # a client has closed its port
            came += [(datagram, address)] * self._copies()

    def send(self, datagram: bytes, address: Address) -> int:
        """How often it left, or will leave after the next."""
        copies = self._copies()
        overtaking, self._held = self._held, []
        for _ in range(copies):
            if self._hits(self._weather.reordering):
                self._held.append((datagram, address))
            else:
                self._leave(datagram, address)
        for one in overtaking:
            self._leave(*one)
        if copies and self._hits(self._weather.garbage):
            self._leave(self._spoilt(datagram), address)
        return copies

    def close(self) -> None:
        self.socket.close()

    def reopen(self) -> None:
        """On the same port, as a game that is started again."""
        self._held = []
        self._open(self.port)

    def _copies(self) -> int:
        if self._hits(self._weather.loss):
            return 0
        return 2 if self._hits(self._weather.doubling) else 1

    def _hits(self, share: float) -> bool:
        return share > 0 and self._draw.random() < share

    def _spoilt(self, datagram: bytes) -> bytes:
        match self._draw.randrange(3):
            case 0:
                return datagram[: self._draw.randrange(len(datagram))]
            case 1:
                return datagram + self._draw.randbytes(self._draw.randrange(1, 400))
            case _:
                return self._draw.randbytes(self._draw.randrange(1, 1500))

    def _leave(self, datagram: bytes, address: Address) -> None:
        # Nobody listens there any more, or too slowly: a game does not notice either.
        with suppress(BlockingIOError, ConnectionError):
            self.socket.sendto(datagram, address)
