"""Competizione's broadcasting: the server's side of registration, and what it then sends to each
client at its own interval.

What real ACC does not survive, a malformed registration, ends this one too. A game that was started
again knows nobody.
"""

from dataclasses import dataclass
from typing import Any

from tests.game_emulators.acc_messages import (
    PROTOCOL_VERSION,
    REGISTER,
    REQUEST_ENTRY_LIST,
    REQUEST_TRACK_DATA,
    UNREGISTER,
    Registration,
    entry_list,
    read_connection,
    read_registration,
    registration_result,
)
from tests.game_emulators.announcements import Announcements
from tests.game_emulators.ledger import Kind, Ledger
from tests.game_emulators.playing import Playing, Status
from tests.game_emulators.wire import Address, Wire

_IDLE_S = 0.05


@dataclass(slots=True)
class _Client:
    connection: int
    interval_s: float
    due_s: float
    received_s: float


class Broadcasting:
    """On ``wire``. A client that is not heard of for ``timeout_s`` is told that it is gone; None
    waits for ever.
    """

    def __init__(
        self,
        wire: Wire,
        playing: Playing,
        ledger: Ledger,
        *,
        password: str = "asd",
        command_password: str = "commands",
        announcements: Announcements | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._wire, self._playing, self._ledger = wire, playing, ledger
        self._password, self._command_password = password, command_password
        self._timeout_s = timeout_s
        self._announcements = announcements or Announcements(playing)
        self.clients: dict[Address, _Client] = {}
        self._connections = 0
        self._sent = 0
        self._there = False
        self._now_s = 0.0
        self.silent = False

    @property
    def sockets(self) -> tuple[Any, ...]:
        return (self._wire.socket,) if self._there else ()

    def appear(self, now_s: float) -> None:
        if self._wire.socket.fileno() < 0:
            self._wire.reopen()
        self.clients, self._connections, self._there = {}, 0, True
        self._announcements.forget()

    def vanish(self) -> None:
        self._there = False
        self._wire.close()

    def die(self) -> None:
        self.vanish()

    def drop(self) -> None:
        """Forget all clients, and say so."""
        for address, client in self.clients.items():
            self._refuse(address, "Connection lost", client.connection)
        self.clients = {}

    def step(self, now_s: float) -> float:
        """Answer who asked, send each client what is due; when the next is due. Raises Malformed,
        as ACC crashes.
        """
        self._now_s = now_s
        if not self._there:
            return now_s + 1.0
        for datagram, address in self._wire.receive():
            self._receive(datagram, address)
        self._forget_the_unheard()
        if not self._playing.loaded or self._playing.status is Status.OFF:
            return now_s + _IDLE_S
        if now_s >= self._due_s(now_s):
            self._send_due(now_s)
        return self._due_s(now_s)

    def _due_s(self, now_s: float) -> float:
        return min((client.due_s for client in self.clients.values()), default=now_s + _IDLE_S)

    def _send_due(self, now_s: float) -> None:
        """Updates to whose time has come, and what has happened to all."""
        events = self._announcements.events()
        for address, client in self.clients.items():
            if not self.silent:
                for one in events:
                    self._wire.send(one, address)
            if now_s >= client.due_s:
                client.due_s = max(client.due_s + client.interval_s, now_s)
                if not self.silent:
                    self._send_updates(address)

    def _receive(self, datagram: bytes, address: Address) -> None:
        if not datagram or not self._playing.loaded or self._playing.status is Status.OFF:
            return  # no answer outside a session
        if datagram[0] == REGISTER:
            self._register(read_registration(datagram), address)
            return
        client = self.clients.get(address)
        if client is None or read_connection(datagram) != client.connection:
            return
        client.received_s = self._now_s
        if datagram[0] == UNREGISTER:
            del self.clients[address]
        elif datagram[0] == REQUEST_ENTRY_LIST:
            self._send_entry_list(address, client)
        elif datagram[0] == REQUEST_TRACK_DATA:
            self._wire.send(self._announcements.track(client.connection).encode(), address)

    def _register(self, told: Registration, address: Address) -> None:
        if told.version != PROTOCOL_VERSION:
            self._refuse(address, "Your broadcasting control app is outdated")
        elif told.password != self._password:
            self._refuse(address, "Wrong connection password")
        else:
            if not self.clients:
                # what has happened while nobody listened is told to nobody
                self._announcements.events()
            self._connections += 1
            interval_s = max(0.01, told.interval_ms / 1000)
            self.clients[address] = _Client(self._connections, interval_s, self._now_s, self._now_s)
            commands = told.command_password == self._command_password
            error = "" if commands else "Wrong command mode password, readonly access granted"
            self._wire.send(
                registration_result(
                    self._connections, success=True, commands=commands, error=error
                ),
                address,
            )

    def _refuse(self, address: Address, why: str, connection: int = -1) -> None:
        self._wire.send(
            registration_result(connection, success=False, commands=False, error=why), address
        )

    def _forget_the_unheard(self) -> None:
        if self._timeout_s is None:
            return
        for address, client in list(self.clients.items()):
            if self._now_s - client.received_s > self._timeout_s:
                self._refuse(address, "Connection lost", client.connection)
                del self.clients[address]

    def _send_entry_list(self, address: Address, client: _Client) -> None:
        cars = self._announcements.cars()
        self._wire.send(entry_list(client.connection, [one.car for one in cars]), address)
        for one in cars:
            self._wire.send(one.encode(), address)

    def _send_updates(self, address: Address) -> None:
        self._wire.send(self._announcements.session().encode(), address)
        for rival in self._announcements.rivals():
            self._wire.send(rival.encode(), address)
        copies = self._wire.send(self._announcements.player().encode(), address)
        self._sent += 1
        self._ledger.add(
            Kind.CAR_UPDATE,
            self._sent,
            self._playing.moment,
            at_s=self._now_s,
            status=self._playing.status,
            session=self._playing.session,
            copies=copies,
        )
