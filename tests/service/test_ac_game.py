"""Assetto Corsa is followed over real sockets and real pages, while another thread plays it."""

import socket
import time
from contextlib import contextmanager
from random import Random

import pytest

from ingest.collectors.games.ac.game import AcGame
from ingest.collectors.games.interface import SessionBegan, SessionEnded
from ingest.settings import AcSettings
from ingest.telemetry_pb2 import TelemetryFrame
from tests.fuzz.ac import Ac
from tests.game_emulators.ac import AcPages
from tests.game_emulators.ac_packets import SUBSCRIBE_SPOT, SUBSCRIBE_UPDATE
from tests.game_emulators.game import Game
from tests.game_emulators.ledger import Kind, Ledger, read_ledger
from tests.game_emulators.memory import SharedMemory
from tests.game_emulators.outing import simulated
from tests.game_emulators.playing import Playing, Status
from tests.game_emulators.remote import RemoteTelemetry
from tests.game_emulators.run import in_thread
from tests.game_emulators.wire import Weather, Wire
from tests.unit import ac
from tests.waiting import WITHIN_S


class Table:
    """A game that plays, our side of it, and all that was said."""

    def __init__(self, folder, *, memory=False, weather=None, load_s=0.0):
        self.ledger_path = folder / "ledger"
        ledger = Ledger(self.ledger_path)
        playing = Playing([simulated(seed=1), simulated(seed=2)], load_s=load_s)
        # Half a lap is behind the car: shorter than the silence before we ask again, a session can
        # be mistaken for the next.
        playing._driven_ms = 30_000.0
        self.remote = RemoteTelemetry(Wire(weather=weather), playing, ledger)
        pages = [SharedMemory(folder, AcPages(), playing, ledger, physics_hz=333)] if memory else []
        self.game = Game(playing, [self.remote, *pages])
        self.port = self.remote._wire.port
        self.ours = AcGame(AcSettings(AC_UDP_PORT=self.port, AC_SHARED_MEMORY=str(folder)))
        self.said = []

    def follow(self, seconds):
        """What is said meanwhile."""
        until, said = time.monotonic() + seconds, []
        while (left_s := until - time.monotonic()) > 0:
            said += self.ours.poll(min(0.1, left_s))
        self.said += said
        return said

    def follow_until(self, wanted):
        until, said = time.monotonic() + WITHIN_S, []
        while time.monotonic() < until:
            said += self.follow(0.05)
            if any(isinstance(event, wanted) for event in said):
                return said
        raise AssertionError(f"no {wanted.__name__} within {WITHIN_S} s")

    def written(self, kind=Kind.CAR_INFO):
        return [
            one
            for one in read_ledger(self.ledger_path)
            if one.kind == kind and one.status == Status.LIVE
        ]

    def frames(self):
        return [event for event in self.said if isinstance(event, TelemetryFrame)]


@contextmanager
def playing(folder, **how):
    table = Table(folder, **how)
    with in_thread(table.game) as thread:
        table.apply_command = thread.apply_command
        try:
            yield table
        finally:
            table.ours.close()


def of(kind, said):
    return [event for event in said if isinstance(event, kind)]


def test_every_datagram_of_the_car_is_a_frame(tmp_path):
    """Through a pause and a restart; what is lost is what was sent to nobody."""
    with playing(tmp_path) as table:
        table.follow_until(SessionBegan)
        assert sorted(table.remote.listeners.values()) == [SUBSCRIBE_UPDATE, SUBSCRIBE_SPOT]
        assert table.ours.running
        table.follow(0.6)  # more than a game may take to begin again in
        table.apply_command("pause")
        assert of(TelemetryFrame, table.follow(0.3)[3:]) == []
        table.apply_command("live")
        table.follow(0.2)
        table.apply_command("restart 0.6")
        again = table.follow_until(SessionBegan)
        assert len(of(SessionEnded, again)) == 1
        table.follow(0.3)
        table.apply_command("pause")
        table.follow(0.1)

        assert [(f.lap_number - 1, f.lap_time) for f in table.frames()] == _moves(table.written())
        assert table.ours.counts == {}


def test_the_next_session_is_found_by_requesting_again(tmp_path):
    """The stream stops while the game loads, and the driver is another one afterwards."""
    with playing(tmp_path, load_s=0.0) as table:
        (first,) = of(SessionBegan, table.follow_until(SessionBegan))
        table.game.playing._load_s = 1.2
        table.apply_command("session")
        said = table.follow_until(SessionBegan)

        assert first.facts.driver != of(SessionBegan, said)[0].facts.driver
        assert len(of(SessionEnded, said)) == 1


def test_a_game_that_has_forgotten_us_is_requested_again_and_reported_when_we_leave(tmp_path):
    with playing(tmp_path) as table:
        table.follow_until(SessionBegan)
        table.remote._listeners.clear()
        table.follow(0.2)
        said = table.follow_until(TelemetryFrame)
        assert of(SessionBegan, said) == of(SessionEnded, said) == []

        table.ours.close()
        deadline = time.monotonic() + WITHIN_S
        while table.remote.listeners and time.monotonic() < deadline:
            time.sleep(0.02)
        assert table.remote.listeners == {}


def test_bad_weather_costs_what_it_takes(tmp_path):
    """Lost and overtaken datagrams are missing; doubled and spoilt ones add nothing; all is in
    order.
    """
    with playing(
        tmp_path, weather=Weather(loss=0.05, doubling=0.05, reordering=0.05, garbage=0.2)
    ) as table:
        table.follow_until(SessionBegan)
        table.follow(1.5)
        table.apply_command("pause")  # or it might not have noted yet what it has sent

        clocks = [(f.lap_number - 1, f.lap_time) for f in table.frames()]
        told = [(one.lap_count, one.lap_clock_ms) for one in table.written()]
        assert len(of(SessionBegan, table.said)) == 1
        assert clocks == sorted(set(clocks))
        assert set(clocks) <= set(told)
        assert len(clocks) > 0.75 * len(told)
        assert set(table.ours.counts) <= {"came late", "datagram of unknown size"}
        assert table.ours.counts["datagram of unknown size"] > 2


def test_shared_memory_goes_first(tmp_path):
    """Both are there: one session, with what only the pages have, and nobody listens to the
    datagrams.
    """
    with playing(tmp_path, memory=True) as table:
        (began,) = of(SessionBegan, table.follow_until(SessionBegan))
        frames = of(TelemetryFrame, table.follow(1))

        assert began.facts.track_length == pytest.approx(4099.7, abs=0.1)
        assert all(frame.heading and frame.sector for frame in frames)
        assert len(frames) > 20
        assert table.remote.listeners == {}
        table.apply_command("restart 0.1")
        said = table.follow_until(SessionBegan)
        assert len(of(SessionEnded, said)) == 1
        # A page may be seen between being made and being given its size.
        assert [kind for kind in table.ours.counts if "too small" not in kind] == []


def test_nobody_else_is_listened_to(tmp_path):
    """A stranger who knows our port sends a car of his own."""
    with playing(tmp_path) as table:
        table.follow_until(SessionBegan)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for address in table.remote.listeners:
                for lap_time in range(1_000_000, 1_000_600, 15):
                    stranger.sendto(ac.info(lapTime=lap_time), address)
        table.follow(0.3)

        assert max(frame.lap_time for frame in table.frames()) < 90_000
        assert table.ours.counts == {}


def _moves(written):
    """The moments that differ from the one before: a pause tells the same again and again."""
    told = [(one.lap_count, one.lap_clock_ms) for one in written]
    return [now for before, now in zip([None, *told], told, strict=False) if now != before]


def test_a_game_gone_mad_is_survived(tmp_path):
    """``python -m tests.fuzz ac`` does it for longer."""
    game = Ac(tmp_path, Random(4))
    try:
        for _ in range(150):
            game.step()
    finally:
        game.close()

    assert game.inputs > 500
    assert all(checker.frames > 20 for checker in game._checkers)
