"""The pages of a game, played by files in a folder of the test's own."""

import pytest

from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.shared_memory import TRIES, PageSizes, SharedMemory, wide_text

SIZES = PageSizes(physics=800, graphics=1588, static=820)


def write(folder, *, packet_id=1, version="1.9"):
    """Make the three pages anew, as the bridges do."""
    for name in SIZES._fields:
        (folder / f"acpmf_{name}").unlink(missing_ok=True)
        (folder / f"acpmf_{name}").write_bytes(packet_id.to_bytes(4, "little") + bytes(2044))
    (folder / "acpmf_static").write_bytes(
        version.encode("utf-16-le") + bytes(2048 - 2 * len(version))
    )


@pytest.fixture
def complaints():
    return AnomalyCounts("test")


@pytest.fixture
def memory(tmp_path, complaints):
    memory = SharedMemory(SIZES, complaints, folder=tmp_path)
    yield memory
    memory.close()


def test_without_a_game_there_is_nothing_and_nothing_is_made(memory, tmp_path, complaints):
    assert memory.snapshot(0.0) is None
    assert not memory.present
    assert list(tmp_path.iterdir()) == []
    assert complaints.counts == {}


def test_pages_are_copied_in_the_size_of_the_layout(memory, tmp_path):
    write(tmp_path, packet_id=7)

    pages = memory.snapshot(0.0)

    assert tuple(map(len, pages)) == SIZES
    assert pages.physics[:4] == b"\x07\0\0\0"
    assert pages.version == "1.9"


def test_a_game_that_comes_later_is_found(memory, tmp_path):
    memory.snapshot(0.0)
    write(tmp_path)

    assert memory.snapshot(0.1) is not None
    assert memory.present


def test_a_game_that_takes_its_pages_away_is_gone(memory, tmp_path):
    write(tmp_path)
    memory.snapshot(0.0)
    for name in SIZES._fields:
        (tmp_path / f"acpmf_{name}").unlink()

    assert memory.snapshot(0.1) is None
    assert not memory.present


def test_pages_recreated_are_an_end_and_then_the_new_ones(memory, tmp_path):
    write(tmp_path, packet_id=1000)
    memory.snapshot(0.0)
    write(tmp_path, packet_id=5)

    assert memory.snapshot(0.1) is None
    assert memory.snapshot(0.2).physics[:4] == b"\x05\0\0\0"


def test_a_page_cut_short_is_counted_and_not_read(memory, tmp_path, complaints):
    write(tmp_path)
    memory.snapshot(0.0)
    with (tmp_path / "acpmf_graphics").open("r+b") as page:
        page.truncate(1000)

    assert memory.snapshot(0.1) is None
    assert memory.snapshot(0.2) is None
    assert complaints.counts == {"graphics page too small": 1}


def test_what_is_no_page_is_counted(memory, tmp_path, complaints):
    write(tmp_path)
    (tmp_path / "acpmf_static").unlink()
    (tmp_path / "acpmf_static").mkdir()

    assert memory.snapshot(0.0) is None
    assert complaints.counts == {"static page cannot be opened": 1}


def test_pages_that_stand_still_are_opened_again_without_a_pause(memory, tmp_path):
    """On Windows our own hands would keep a dead game's pages alive."""
    write(tmp_path)
    first = memory.snapshot(0.0)
    opened = memory._open[0]

    assert memory.snapshot(1.9) == first
    assert memory._open[0] is opened
    assert memory.snapshot(2.1) == first
    assert memory._open[0] is not opened
    again = memory._open[0]
    assert memory.snapshot(4.0) == first
    assert memory._open[0] is again


class BeingWritten:
    """A page that changes between the first ``writes`` copies, and then rests."""

    def __init__(self, page, writes):
        self.page, self.writes, self.copies = page, writes, 0

    def copy(self):
        self.copies += 1
        state = min(self.copies, self.writes)
        return bytes([state]) + self.page.copy()[1:]

    def replaced(self):
        return self.page.replaced()

    def close(self):
        self.page.close()


def test_a_page_that_is_being_written_is_copied_again(memory, tmp_path, complaints):
    write(tmp_path)
    memory.snapshot(0.0)
    memory._open[1] = BeingWritten(memory._open[1], writes=7)

    assert memory.snapshot(0.1).graphics[0] == 7
    assert complaints.counts == {}


def test_a_page_that_is_written_in_pieces_is_waited_for(tmp_path, complaints):
    """Between two pieces it looks as whole as any; the rest comes while one waits."""
    write(tmp_path, packet_id=1)
    pieces = [slice(0, 100), slice(100, 400), slice(400, 800)]

    def write_on(_):
        if pieces:
            piece = pieces.pop(0)
            with (tmp_path / "acpmf_physics").open("r+b") as page:
                page.seek(piece.start)
                page.write(b"\x02" * (piece.stop - piece.start))

    memory = SharedMemory(SIZES, complaints, folder=tmp_path, sleep=write_on)
    write_on(0)
    try:
        assert memory.snapshot(0.0).physics == b"\x02" * 800
    finally:
        memory.close()


def test_a_page_that_never_rests_is_given_up_and_counted(memory, tmp_path, complaints):
    write(tmp_path)
    memory.snapshot(0.0)
    memory._open[0] = BeingWritten(memory._open[0], writes=250)

    assert memory.snapshot(0.1) is None
    assert memory.present
    assert memory._open[0].copies == TRIES + 1
    assert complaints.counts == {"pages changed while they were copied": 1}


@pytest.mark.parametrize(
    ("units", "text"),
    [("1.9\0stale", "1.9"), ("", ""), ("Spa", "Spa"), ("БЫСТР.\0", "БЫСТР.")],
)
def test_a_string_ends_at_its_nul_or_with_its_field(units, text):
    assert wide_text(b"\1\1" + units.encode("utf-16-le"), 2, 15) == text


def test_half_a_character_is_replaced_not_refused():
    assert wide_text(b"\x3d\xd8a\0", 0, 15) == "\ufffda"
