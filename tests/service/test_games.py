"""The played games as their clients meet them: over UDP, and as processes that can be told, killed
and measured.
"""

import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ingest.collectors.simulator.circuit import aldermoor_park
from ingest.collectors.simulator.lap import laps
from tests.game_emulators.acc_messages import Malformed
from tests.game_emulators.announcements import Announcements
from tests.game_emulators.broadcast import Broadcasting
from tests.game_emulators.game import Game
from tests.game_emulators.ledger import Kind, Ledger, read_ledger
from tests.game_emulators.outing import simulated
from tests.game_emulators.playing import Playing
from tests.game_emulators.remote import RemoteTelemetry
from tests.game_emulators.run import in_process, in_thread
from tests.game_emulators.wire import Weather, Wire
from tests.waiting import WITHIN_S

#: Of the simulated car, from when its session is loaded.
OUT_LAP_S = next(laps(aldermoor_park(), seed=1)).time_s
HANDSHAKE, UPDATE, SPOT, UNSUBSCRIBE = range(4)


class Client:
    """A client of a game that is stepped by hand."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._came: list[bytes] = []

    @property
    def address(self) -> tuple[str, int]:
        return self._socket.getsockname()

    def send(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except ConnectionRefusedError:  # of the datagram before
            self._socket.send(datagram)

    def take_in(self) -> None:
        """What the kernel holds: its buffer is small."""
        while True:
            try:
                self._came.append(self._socket.recv(65_536))
            except ConnectionRefusedError:
                continue
            except BlockingIOError:
                return

    def received(self) -> list[bytes]:
        """Since the last call."""
        self.take_in()
        came, self._came = self._came, []
        return came

    def close(self) -> None:
        self._socket.close()


class Table:
    """A game and its clients, at a time of their own."""

    def __init__(self, game: Game, port: int) -> None:
        self.game, self._port = game, port
        self.now_s = 500.0
        self._clients: list[Client] = []
        game.start(self.now_s)

    def client(self) -> Client:
        self._clients.append(Client(self._port))
        return self._clients[-1]

    def run(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds * 200))):
            self.now_s += 1 / 200
            self.game.step(self.now_s)
            for client in self._clients:
                client.take_in()

    def skip(self, seconds: float) -> None:
        self.now_s += seconds
        self.run(0.05)

    def close(self) -> None:
        self.game.close()
        for client in self._clients:
            client.close()


@contextmanager
def acc(
    *,
    weather: Weather | None = None,
    cars: int = 3,
    timeout_s: float | None = None,
    ledger: Ledger | None = None,
) -> Iterator[Table]:
    playing, wire = Playing(iter([simulated(), simulated("sarine")])), Wire(0, weather)
    announcements = Announcements(playing, cars=cars, player=cars // 2)
    served = Broadcasting(
        wire, playing, ledger or Ledger(None), announcements=announcements, timeout_s=timeout_s
    )
    table = Table(Game(playing, [served]), wire.port)
    try:
        table.run(1.1)
        yield table
    finally:
        table.close()


@contextmanager
def ac(
    *, weather: Weather | None = None, cars: int = 3, ledger: Ledger | None = None
) -> Iterator[Table]:
    playing, wire = Playing(iter([simulated(), simulated("sarine")])), Wire(0, weather)
    table = Table(
        Game(playing, [RemoteTelemetry(wire, playing, ledger or Ledger(None), cars=cars)]),
        wire.port,
    )
    try:
        table.run(1.1)
        yield table
    finally:
        table.close()


def text(value: str) -> bytes:
    return struct.pack("<H", len(value)) + value.encode()


def registration(
    *, password: str = "asd", version: int = 4, commands: str = "", interval_ms: int = 100
) -> bytes:
    return (
        bytes([1, version])
        + text("me")
        + text(password)
        + struct.pack("<i", interval_ms)
        + text(commands)
    )


def registered(table: Table, client: Client, **told: object) -> int:
    """The connection's id."""
    client.send(registration(**told))
    table.game.step(table.now_s)
    answer = client.received()[0]
    assert (answer[0], answer[5]) == (1, 1)
    return struct.unpack_from("<i", answer, 1)[0]


def kinds(datagrams: list[bytes]) -> Counter[int]:
    return Counter(one[0] for one in datagrams)


@pytest.mark.parametrize(
    ("told", "said"),
    [({"password": "wrong"}, b"Wrong connection password"), ({"version": 3}, b"outdated")],
)
def test_broadcasting_refuses_who_knows_no_password_or_speaks_another_version(told, said):
    with acc() as table:
        client = table.client()
        client.send(registration(**told))
        table.run(1.0)
        (answer,) = client.received()

    assert (answer[0], answer[5]) == (1, 0)
    assert said in answer


@pytest.mark.parametrize(("commands", "rights"), [("", 0), ("commands", 1)])
def test_a_wrong_command_password_may_still_read(commands, rights):
    with acc() as table:
        client = table.client()
        client.send(registration(commands=commands))
        table.run(0.0)
        answer = client.received()[0]

    assert (answer[0], answer[5], answer[6]) == (1, 1, rights)
    assert (b"readonly" in answer) is not bool(rights)


def test_updates_come_at_the_interval_that_was_requested():
    with acc() as table:
        slow, fast = table.client(), table.client()
        registered(table, slow, interval_ms=500)
        registered(table, fast, interval_ms=50)
        slow.received(), fast.received()
        table.run(5.02)

        assert kinds(slow.received()) == {2: 10, 3: 30}
        assert kinds(fast.received()) == {2: 100, 3: 300}


def test_entry_list_and_track_come_when_requested_by_the_right_connection():
    with acc() as table:
        client = table.client()
        connection = registered(table, client, interval_ms=60_000)
        client.received()
        client.send(b"\x0a" + struct.pack("<i", connection + 1))
        table.run(0.1)
        assert client.received() == []

        client.send(b"\x0a" + struct.pack("<i", connection))
        client.send(b"\x0b" + struct.pack("<i", connection))
        table.run(0.1)
        came = client.received()

    assert kinds(came) == {4: 1, 6: 3, 5: 1}
    assert struct.unpack("<H3H", came[0][5:]) == (3, 1, 2, 0)
    assert text("Aldermoor Park") in came[-1]


def test_the_player_s_laps_are_in_its_updates_and_events():
    with acc() as table:
        client = table.client()
        registered(table, client, interval_ms=100)
        table.skip(OUT_LAP_S - 1)
        client.received()
        table.run(3.0)
        came = client.received()
    events = [one for one in came if one[0] == 7 and one[-4:] == struct.pack("<i", 1)]
    last = [one for one in came if one[0] == 3 and one[1:3] == b"\x01\0"][-1]
    minutes, seconds = events[0][4:13].decode().split(":")

    assert [one[1] for one in events] == [5, 7]
    assert struct.unpack_from("<H", last, 32) == (1,)
    # After the best lap, whose three splits are known: the last one.
    assert struct.unpack_from("<i", last, 38 + 25) == (
        int(minutes) * 60_000 + round(float(seconds) * 1000),
    )


def test_a_replay_shows_it():
    with acc() as table:
        client = table.client()
        registered(table, client, interval_ms=100)
        table.run(1.0)
        live = next(one for one in reversed(client.received()) if one[0] == 2)
        table.game.apply_command("replay", table.now_s)
        table.run(0.2)
        replay = next(one for one in reversed(client.received()) if one[0] == 2)

    assert len(replay) == len(live) + 8


def test_broadcasting_forgets_who_unregisters_who_is_silent_and_all_at_a_restart():
    with acc(timeout_s=3.0) as table:
        leaving, silent = table.client(), table.client()
        connection = registered(table, leaving)
        registered(table, silent)
        leaving.send(b"\x09" + struct.pack("<i", connection))
        table.run(0.1)
        leaving.received()
        table.run(2.0)
        assert leaving.received() == []
        assert silent.received()

        table.run(2.0)
        gone = silent.received()[-1]
        assert (gone[0], gone[5]) == (1, 0)

        registered(table, silent)
        table.game.apply_command("restart 1", table.now_s)
        silent.received()
        table.run(3.0)
        assert silent.received() == []
        assert registered(table, silent) == 1


def test_broadcasting_is_silent_outside_a_session():
    with acc() as table:
        client = table.client()
        table.game.apply_command("menu", table.now_s)
        client.send(registration())
        table.run(1.0)

        assert client.received() == []


def test_who_registers_late_receives_nothing_of_laps_before():
    with acc() as table:
        table.skip(OUT_LAP_S + 5)
        client = table.client()
        registered(table, client)
        table.run(1.0)

        assert kinds(client.received()).keys() == {2, 3}


def test_a_silent_game_broadcasts_no_events_either():
    with acc() as table:
        client = table.client()
        registered(table, client)
        table.game.apply_command("silence", table.now_s)
        client.received()
        table.skip(OUT_LAP_S)
        table.run(1.0)
        assert client.received() == []

        table.game.apply_command("live", table.now_s)
        table.run(0.2)
        assert kinds(client.received()).keys() == {2, 3}


def test_a_malformed_registration_ends_the_game():
    with acc() as table:
        table.client().send(registration()[:-1])

        with pytest.raises(Malformed):
            table.run(0.1)


def request(operation: int, *, version: int = 1) -> bytes:
    return struct.pack("<iii", 1, version, operation)


def subscribed(table: Table, client: Client, operation: int) -> bytes:
    """The response to the handshake."""
    client.send(request(HANDSHAKE))
    table.run(0.0)
    (response,) = client.received()
    client.send(request(operation))
    table.run(0.0)
    return response


def test_handshake_reports_car_and_track_with_garbage_behind_them():
    with ac() as table:
        response = subscribed(table, table.client(), UPDATE)

    assert len(response) == 408
    assert (
        response[:100].decode("utf-16-le", "replace").split("%")[0] == "lamborghini_huracan_gt3_evo"
    )
    assert struct.unpack_from("<ii", response, 200) == (4242, 1)
    assert response[208:308].decode("utf-16-le", "replace").split("%")[0] == "aldermoor_park"
    assert len(set(response[240:308])) > 20


def test_car_infos_are_what_the_ledger_states(tmp_path):
    with ac(ledger=Ledger(tmp_path / "ledger")) as table:
        client = table.client()
        subscribed(table, client, UPDATE)
        table.skip(10.0)
        table.run(1.0)
        came = client.received()
    rows = list(read_ledger(tmp_path / "ledger"))

    assert len(came) == len(rows) == pytest.approx(65, abs=4)
    assert {(len(one), one[0], struct.unpack_from("<i", one, 4)[0]) for one in came} == {
        (328, ord("a"), 328)
    }
    for one, row in zip(came, rows, strict=True):
        assert struct.unpack_from("<f", one, 8)[0] == row.speed_kmh
        assert struct.unpack_from("<4i", one, 40) == (
            row.lap_clock_ms,
            row.last_lap_ms,
            0,
            row.lap_count,
        )
        assert row.lap_clock_ms % 3 == 0
        assert struct.unpack_from("<ff", one, 56) == (row.throttle, row.brake)
        assert struct.unpack_from("<f", one, 68)[0] == row.rpm
        assert struct.unpack_from("<f", one, 72)[0] == pytest.approx(450 * row.steering)
        assert struct.unpack_from("<i", one, 76)[0] == row.gear + 1
        assert struct.unpack_from("<f", one, 308)[0] == row.position
        assert struct.unpack_from("<3f", one, 316) == (row.x_m, row.y_m, row.z_m)


def test_a_client_has_one_subscription():
    """Hence collectors need a socket for each."""
    with ac() as table:
        client = table.client()
        subscribed(table, client, UPDATE)
        client.send(request(SPOT))
        table.run(0.1)
        client.received()
        table.skip(300.0)

        assert {len(one) for one in client.received()} == {212}


def test_laps_of_all_cars_are_reported():
    with ac() as table:
        client = table.client()
        subscribed(table, client, SPOT)
        table.skip(OUT_LAP_S - 1)
        table.run(3.0)
        told = {
            struct.unpack_from("<ii", one): struct.unpack_from("<i", one, 208)[0]
            for one in client.received()
        }

    assert set(told) == {(0, 0), (1, 0), (2, 0)}
    assert told[1, 0] == 95_700


@pytest.mark.parametrize(
    "unwanted", [request(UPDATE), request(HANDSHAKE, version=2), b"\0" * 11, b""]
)
def test_nothing_comes_without_a_handshake(unwanted):
    with ac() as table:
        client = table.client()
        client.send(unwanted)
        table.run(0.5)

        assert client.received() == []


@pytest.mark.parametrize("ends", ["dismiss", "silence", "restart 1", "menu"])
def test_car_infos_end(ends):
    with ac() as table:
        client = table.client()
        subscribed(table, client, UPDATE)
        table.run(0.5)
        assert client.received()
        if ends == "dismiss":
            client.send(request(UNSUBSCRIBE))
        else:
            table.game.apply_command(ends, table.now_s)
        table.run(0.0)
        client.received()
        table.run(3.0)

        assert client.received() == []


def test_a_bad_network_loses_doubles_and_reorders_and_the_ledger_knows(tmp_path):
    weather = Weather(loss=0.2, doubling=0.1, reordering=0.1, garbage=0.1)
    with ac(weather=weather, ledger=Ledger(tmp_path / "ledger")) as table:
        client = table.client()
        while not table.game.outlets[0].listeners.get(client.address):
            client.send(request(HANDSHAKE))
            client.send(request(UPDATE))
            table.run(0.0)
        client.received()
        table.run(20.0)
        came = client.received()
    rows = list(read_ledger(tmp_path / "ledger"))
    good = [one for one in came if len(one) == 328 and one[0] == ord("a")]
    clocks = [struct.unpack_from("<i", one, 40)[0] for one in good]

    assert Counter(row.copies for row in rows).keys() == {0, 1, 2}
    assert len(good) == pytest.approx(sum(row.copies for row in rows), abs=2)
    assert clocks != sorted(clocks)
    assert set(clocks) <= {row.lap_clock_ms for row in rows if row.copies}
    assert len(came) > len(good) + 50


def test_a_game_in_a_thread_does_what_is_commanded(tmp_path):
    playing, wire = Playing(iter([simulated()]), load_s=0.0), Wire()
    with in_thread(Game(playing, [RemoteTelemetry(wire, playing, Ledger(None))])) as running:
        running.apply_command("pause")
        stood = playing.moment
        running.apply_command("live")
        deadline = time.monotonic() + WITHIN_S
        while playing.moment == stood and time.monotonic() < deadline:
            time.sleep(0.01)
        assert playing.moment != stood


def test_a_game_in_a_process_is_reported_measured_and_killed(tmp_path):
    """It costs so little that a collector can be measured beside it; the limit is for a machine
    that does other things too.
    """
    with in_process("acc", tmp_path, "--load", "0.1", "--torn", "0.1", "--cars", "2") as game:
        assert game.addresses["shared memory"] == str(tmp_path)
        assert game.port("broadcasting") > 1024
        game.apply_command("pause")
        with pytest.raises(ValueError, match="'fly' is none of"):
            game.apply_command("fly")
        game.apply_command("live")
        before_s, began_s = game.cpu_s, time.monotonic()
        time.sleep(1.5)
        share = (game.cpu_s - before_s) / (time.monotonic() - began_s)
        game.apply_command("kill")
        rows = game.written()

    assert game.process.returncode == -9
    assert len(list(tmp_path.glob("acpmf_*"))) == 3
    assert (tmp_path / "acpmf_physics").stat().st_size == 2048
    assert {row.kind for row in rows} == {Kind.PHYSICS, Kind.GRAPHICS}
    assert share < 0.25


def test_a_game_takes_its_pages_away_when_it_ends(tmp_path):
    with in_process("ac", tmp_path, "--load", "0.1") as game:
        assert game.port("remote telemetry") > 1024
        deadline = time.monotonic() + WITHIN_S
        while not game.written() and time.monotonic() < deadline:
            time.sleep(0.02)

    assert game.process.returncode == 0
    assert list(tmp_path.glob("acpmf_*")) == []
