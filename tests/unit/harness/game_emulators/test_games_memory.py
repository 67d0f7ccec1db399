"""The played games' shared memory, stepped through by hand and read by offset, as a collector
would.
"""

import struct
from pathlib import Path

import pytest

from ingest.collectors.simulator.circuit import aldermoor_park
from ingest.collectors.simulator.lap import laps
from tests.game_emulators import memory
from tests.game_emulators.ac import AcPages
from tests.game_emulators.acc import AccPages
from tests.game_emulators.game import Game
from tests.game_emulators.ledger import Kind, Ledger, Written, read_ledger
from tests.game_emulators.memory import Page, SharedMemory, Tearing
from tests.game_emulators.outing import simulated
from tests.game_emulators.playing import Playing

NONE_MS = 2**31 - 1


class Screen:
    """A game in a folder, at a time of its own."""

    def __init__(
        self, folder: Path, pages: AccPages | AcPages, tearing: Tearing | None = None
    ) -> None:
        self._folder = folder
        self.playing = Playing(iter([simulated(seed=1), simulated("sarine", seed=2)]), load_s=1.0)
        shared = SharedMemory(
            folder, pages, self.playing, Ledger(folder / "ledger"), tearing=tearing
        )
        self.game = Game(self.playing, [shared])
        self.now_s = 500.0
        self.game.start(self.now_s)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 400)):
            self.now_s += 1 / 400
            self.game.step(self.now_s)

    def drive(self, seconds: float) -> None:
        """Load, and be so far into the session; the way there in one step."""
        self.run(1.01)
        self.now_s += seconds
        self.run(0.1)

    def page(self, name: str) -> bytes:
        return (self._folder / f"acpmf_{name}").read_bytes()

    def number(self, name: str, offset: int, kind: str = "i") -> float:
        return struct.unpack_from(f"<{kind}", self.page(name), offset)[0]

    def text(self, name: str, offset: int, units: int) -> str:
        return self.page(name)[offset : offset + 2 * units].decode("utf-16-le")

    def written(self, kind: Kind) -> list[Written]:
        return [one for one in read_ledger(self._folder / "ledger") if one.kind == kind]


@pytest.fixture
def acc(tmp_path: Path) -> Screen:
    return Screen(tmp_path, AccPages())


@pytest.fixture
def ac(tmp_path: Path) -> Screen:
    return Screen(tmp_path, AcPages())


def test_pages_are_there_and_zero_until_a_session_is_loaded(acc):
    acc.run(0.9)

    assert {name: acc.page(name) for name in ("physics", "graphics", "static")} == dict.fromkeys(
        ("physics", "graphics", "static"), bytes(2048)
    )


def test_a_loaded_session_is_live_and_states_what_is_driven(acc):
    acc.run(1.1)

    assert acc.number("graphics", 4) == 2
    assert acc.text("static", 0, 4) == "1.9\0"
    assert acc.text("static", 68, 33).split("\0")[0] == "lamborghini_huracan_gt3_evo"
    assert acc.text("static", 134, 33).split("\0")[0] == "aldermoor_park"
    assert acc.number("static", 400) == 3
    assert acc.number("static", 520, "f") == 0
    assert acc.number("graphics", 144) == acc.number("graphics", 148) == NONE_MS
    assert not any(acc.page("graphics")[1588:])


def test_texts_have_something_stale_behind_their_end(acc):
    acc.run(1.1)

    end, stale = acc.text("static", 134, 33).split("\0", 1)
    assert end == "aldermoor_park"
    assert stale.strip("\0")


def test_what_is_on_the_pages_is_in_the_ledger(acc):
    acc.drive(11.0)

    seen, shown = acc.written(Kind.PHYSICS)[-1], acc.written(Kind.GRAPHICS)[-1]
    assert seen.speed_kmh > 20
    physics = struct.unpack_from("<ifffiiff", acc.page("physics"))
    assert physics[0] == seen.packet_id
    assert (physics[1], physics[2]) == (seen.throttle, seen.brake)
    assert physics[4:] == (seen.gear + 1, seen.rpm, seen.steering, seen.speed_kmh)
    assert acc.number("physics", 208, "f") == seen.heading_rad
    assert acc.number("graphics", 0) == shown.packet_id
    assert acc.number("graphics", 132) == shown.lap_count
    assert acc.number("graphics", 140) == shown.lap_clock_ms
    assert acc.number("graphics", 248, "f") == shown.position
    assert struct.unpack_from("<3f", acc.page("graphics"), 256) == (shown.x_m, shown.y_m, shown.z_m)


def test_lap_times_come_at_the_line(acc):
    out_lap = next(laps(aldermoor_park(), seed=1))
    acc.drive(out_lap.time_s - 0.5)
    acc.run(0.5)

    shown = acc.written(Kind.GRAPHICS)
    line = next(index for index, one in enumerate(shown) if one.lap_count == 1)
    assert (shown[line - 1].last_lap_ms, shown[line].last_lap_ms) == (
        0,
        acc.number("graphics", 144),
    )
    assert shown[line].last_lap_ms == out_lap.time_ms
    assert shown[line].lap_clock_ms < 20
    assert acc.number("graphics", 132) == 1
    ms = int(acc.number("graphics", 144))
    assert (
        acc.text("graphics", 42, 15).split("\0")[0]
        == f"{ms // 60_000}:{ms // 1000 % 60:02}:{ms % 1000:03}"
    )


def test_physics_stands_still_in_a_pause_and_graphics_does_not(acc):
    acc.run(3.0)
    acc.game.apply_command("pause", acc.now_s)
    acc.run(0.1)
    before = (acc.number("physics", 0), acc.number("graphics", 0))
    acc.run(1.0)

    assert acc.number("graphics", 4) == 3
    assert acc.number("physics", 0) == before[0]
    assert acc.number("graphics", 0) == pytest.approx(before[1] + 60, abs=1)


def test_packets_are_counted_by_the_game_s_own_steps(acc):
    acc.run(2.0)
    before = (acc.number("physics", 0), acc.number("graphics", 0))
    acc.now_s += 1.0
    acc.run(0.01)

    assert acc.number("physics", 0) == pytest.approx(before[0] + 404, abs=2)
    assert acc.number("graphics", 0) == pytest.approx(before[1] + 60, abs=2)


def test_another_session_has_another_index_and_another_track(acc):
    acc.run(3.0)
    acc.game.apply_command("session", acc.now_s)
    acc.run(0.5)
    assert (acc.number("graphics", 4), acc.text("static", 134, 10)) == (0, "aldermoor_")

    acc.run(1.0)

    assert (acc.number("graphics", 4), acc.number("graphics", 1320)) == (2, 1)
    assert acc.text("static", 134, 33).split("\0")[0] == "val_sarine"


def test_a_restarted_game_has_new_pages_and_counts_from_the_beginning(acc, tmp_path):
    acc.run(3.0)
    old = tmp_path / "acpmf_physics"
    inode, packet_id = old.stat().st_ino, acc.number("physics", 0)
    with old.open("rb"):  # held, or the number might be used again
        acc.game.apply_command("restart 2", acc.now_s)
        assert list(tmp_path.glob("acpmf_*")) == []
        acc.run(2.5)
        assert not any(acc.page("static"))
        acc.run(1.0)

        assert old.stat().st_ino != inode
    assert 0 < acc.number("physics", 0) < packet_id
    assert acc.number("graphics", 4) == 2


def test_a_killed_game_leaves_half_a_write(acc, tmp_path):
    acc.drive(11.0)
    whole = acc.page("physics")
    acc.now_s += 0.5
    acc.playing.advance(acc.now_s)
    acc.game.kill()

    dead = acc.page("physics")
    assert dead[:400] != whole[:400]
    assert dead[400:] == whole[400:]
    assert acc.game.step(acc.now_s) > acc.now_s
    assert len(list(tmp_path.glob("acpmf_*"))) == 3


@pytest.mark.parametrize(
    ("id_first", "pieces"),
    [(True, ["new old old", "new new old"]), (False, ["old new old", "old new new"])],
)
def test_a_torn_write_comes_in_three_pieces(tmp_path, monkeypatch, id_first, pieces):
    """packetId before the rest, or after it; a reader in the pauses finds the pieces of two
    writes.
    """
    path = tmp_path / "page"
    page = Page(path)
    page.write(bytearray(800))
    found = []

    def look(pause_s):
        held = path.read_bytes()
        found.append(
            " ".join(
                "new" if part == b"\1" * len(part) else "old"
                for part in (held[:4], held[4:400], held[400:800])
            )
        )

    monkeypatch.setattr(memory.time, "sleep", look)
    page.write_torn(bytearray(b"\1" * 800), Tearing(1.0, 0.25, id_first), cut=400)

    assert found == pieces
    assert path.read_bytes() == b"\1" * 800 + bytes(1248)
    page.close()


def test_as_many_writes_are_torn_as_was_requested(tmp_path):
    screen = Screen(tmp_path, AccPages(), Tearing(0.2, 0.0))
    screen.run(3.0)

    torn = [one.torn for one in screen.written(Kind.PHYSICS)]
    assert sum(torn) / len(torn) == pytest.approx(0.2, abs=0.06)


def test_the_player_is_found_in_no_certain_slot(tmp_path):
    screen = Screen(tmp_path, AccPages(cars=5, player=2))
    screen.run(2.0)
    graphics = screen.page("graphics")
    ids = struct.unpack_from("<5i", graphics, 976)
    slot = ids.index(struct.unpack_from("<i", graphics, 1216)[0])

    shown = screen.written(Kind.GRAPHICS)[-1]
    assert sorted(ids) == [0, 1, 2, 3, 4]
    assert ids != (0, 1, 2, 3, 4)
    assert struct.unpack_from("<3f", graphics, 256 + 12 * slot) == (shown.x_m, shown.y_m, shown.z_m)


def test_assetto_corsa_has_its_own_layout(ac):
    ac.drive(11.0)

    shown = ac.written(Kind.GRAPHICS)[-1]
    assert ac.text("static", 0, 4) == "1.7\0"
    assert ac.number("static", 520, "f") > 1000
    assert struct.unpack_from("<3f", ac.page("graphics"), 252) == (shown.x_m, shown.y_m, shown.z_m)
    assert (ac.number("graphics", 144), ac.text("graphics", 42, 9)) == (0, "-:--:---\0")
    assert not any(ac.page("graphics")[296:])


@pytest.mark.parametrize(
    ("steering", "full"), [("normalised", 1), ("degrees", 450), ("radians", 7.853982)]
)
def test_assetto_corsa_reports_the_wheel_in_three_ways(tmp_path, steering, full):
    screen = Screen(tmp_path, AcPages(steering=steering))
    screen.drive(11.0)

    assert screen.number("physics", 24, "f") == pytest.approx(
        screen.written(Kind.PHYSICS)[-1].steering * full
    )
