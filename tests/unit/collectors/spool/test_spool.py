"""What a game gave is sent after the collector was killed, the disk lied or filled up; what is lost
is counted and seen.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collectors.delivery.records import OutgoingRecord, new_session_key
from ingest.collectors.spool import disk, reader
from ingest.collectors.spool.cursor import Cursor, SpoolPosition, session_path
from ingest.collectors.spool.folder import SpoolFolder, default_path
from ingest.collectors.spool.memory import SpooledSession
from ingest.collectors.spool.record import encode
from ingest.collectors.spool.segments import first_of, segment_path, segments
from ingest.errors import SpoolUnavailable
from ingest.settings import CollectorSettings
from tests.waiting import wait_until

SESSION = SpooledSession("s", "anna", "protobuf")
SEGMENT_BYTES = 330  # ten records


class Clock:
    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


def folder_at(path, *, max_bytes=10**8, keep_s=3600.0, clock=time.time):
    return SpoolFolder(
        path, max_bytes=max_bytes, keep_s=keep_s, segment_bytes=SEGMENT_BYTES, wall_clock=clock
    )


def record(sequence):
    return OutgoingRecord(sequence, 1_000 + sequence, b"frame %03d" % sequence)


def fill(spool, count, first=1):
    for sequence in range(first, first + count):
        spool.append(record(sequence))


def deliver(spool, count):
    for _ in range(count):
        assert spool.take() is not None
    for _ in range(count):
        spool.acknowledge()


def await_cursor(folder, *, segment):
    """Until the disk has it that all before this segment was acknowledged."""
    wait_until(lambda: Cursor.read(folder).acknowledged.segment == segment)


def take_all(spool):
    return [taken.sequence for taken in iter(spool.take, None)]


def test_a_reader_that_lags_twice_reads_the_segment_it_is_in(tmp_path, monkeypatch):
    """It was up to date in between, and went through segments without opening them."""
    monkeypatch.setattr(reader, "_MOST_NOTED", 5)
    spool = folder_at(tmp_path).begin(SESSION)
    fill(spool, 8)
    assert take_all(spool) == list(range(1, 9))
    for sequence in range(9, 30):
        fill(spool, 1, first=sequence)
        assert take_all(spool) == [sequence]
    fill(spool, 20, first=30)

    assert take_all(spool) == list(range(30, 50))
    assert spool.damaged_bytes == 0
    spool.close()


def left(folder):
    """What a collector that starts now would send, by session, in order."""
    found = {}
    for spool in folder.left():
        found[spool.session.key] = take_all(spool)
        spool.close()
    return found


def killed(folder, to):
    """The spool as a collector leaves it that is killed at this moment."""
    shutil.copytree(folder.path, to, copy_function=copy_if_there)
    return folder_at(to)


def copy_if_there(file, to):
    """A draft may have got its name meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(file, to)


@pytest.fixture
def folder(tmp_path):
    return folder_at(tmp_path / "spool")


@pytest.fixture
def written(folder):
    """A session of 30 frames in three segments, of which nothing was acknowledged."""
    spool = folder.begin(SESSION)
    fill(spool, 30)
    spool.close()
    assert [first_of(path) for path in segments(folder.path / "00000001")] == [1, 11, 21]
    return folder.path / "00000001"


def test_a_killed_collectors_frames_are_sent_by_the_next(folder, tmp_path):
    spool = folder.begin(SESSION)
    fill(spool, 25)
    after = killed(folder, tmp_path / "killed")
    spool.close()

    (earlier,) = after.left()
    assert earlier.session == SESSION
    assert [earlier.take() for _ in range(25)] == [record(n) for n in range(1, 26)]
    earlier.close()


def test_a_session_whose_end_the_disk_lost_is_never_continued(folder, written):
    """A frame is sent before it is synced, so Kafka may have more than the disk. A sequence means
    one frame for ever: what comes after a crash is another session, and of this one only what is
    whole is sent again, as it was.
    """
    last = segments(written)[-1]
    os.truncate(last, last.stat().st_size // 2)

    (earlier,) = folder.left()
    again = list(iter(earlier.take, None))
    assert 20 < len(again) < 30
    assert again == [record(n) for n in range(1, len(again) + 1)]
    with pytest.raises(ValueError, match="over"):
        earlier.append(record(len(again) + 1))
    earlier.close()

    folder.begin(SESSION).close()  # a folder of its own, and in life a key of its own
    assert written.with_name("00000002").is_dir()
    now = datetime.now(UTC)
    assert new_session_key("anna", now=now) != new_session_key("anna", now=now)


def test_a_session_goes_on_after_what_was_acknowledged_on_its_partition(folder):
    spool = folder.begin(SESSION)
    spool.choose(7)
    fill(spool, 25)
    deliver(spool, 12)
    spool.take()  # on its way as the collector stops
    spool.close()

    (earlier,) = folder.left()
    assert earlier.partition == 7
    assert take_all(earlier) == list(range(13, 26))
    earlier.close()


def test_a_cursor_is_never_ahead_of_what_was_acknowledged(folder, tmp_path):
    """It may be behind: the store drops what it has twice."""
    spool = folder.begin(SESSION)
    fill(spool, 60)
    for moment in range(6):
        deliver(spool, 10)
        time.sleep(0.02)
        after = killed(folder, tmp_path / f"killed-{moment}")
        again = left(after).get("s", [])
        assert set(again) >= set(range(10 * moment + 11, 61))
    spool.close()
    assert left(folder) == {}


def test_without_a_cursor_that_can_be_read_everything_is_sent(written):
    (written / "cursor.json").write_text('{"acknowledged": [21')

    assert left(folder_at(written.parent)) == {"s": list(range(1, 31))}


@pytest.mark.parametrize(
    "cursor",
    [
        Cursor(SpoolPosition(21, 10_000)),
        Cursor(SpoolPosition(21, 300)),
        Cursor(SpoolPosition(99, 0)),
    ],
)
def test_a_cursor_beyond_what_the_disk_kept_leaves_nothing(written, cursor):
    """The broker had acknowledged what a power cut then took."""
    cursor.write(written)
    segment_path(written, 21).write_bytes(b"")

    assert left(folder_at(written.parent)) == {"s": []}
    assert left(folder_at(written.parent)) == {}


def test_sessions_are_sent_in_the_order_in_which_they_began(folder):
    for name in "zya":
        spool = folder.begin(SpooledSession(name, "anna", "json"))
        fill(spool, 3)
        spool.close()

    assert list(left(folder)) == ["z", "y", "a"]


def test_a_session_that_is_held_is_nobody_elses(folder):
    spool = folder.begin(SESSION)
    fill(spool, 3)
    assert left(folder) == {}
    spool.close()

    first, *none = folder.left()
    assert list(folder.left()) == none == []
    first.close()
    assert left(folder) == {"s": [1, 2, 3]}


def test_a_session_of_which_nothing_is_left_is_left_alone(folder):
    spool = folder.begin(SESSION)
    fill(spool, 25)
    deliver(spool, 25)
    spool.close()

    assert list(folder.left()) == []


def test_whose_records_cannot_be_read_is_put_aside(written):
    session_path(written).write_bytes(b"\0" * 60)

    assert left(folder_at(written.parent)) == {}
    assert [path.name for path in written.parent.iterdir()] == ["unknown-00000001"]


LAST = b"".join(map(encode, map(record, range(21, 31))))


@pytest.mark.parametrize("cut", range(0, len(LAST), 11))  # each byte: test_spool_record
def test_a_torn_end_is_cut_and_counted(written, cut):
    last = segment_path(written, 21)
    last.write_bytes(LAST[:cut])
    whole = [
        n for n in range(21, 31) if len(b"".join(map(encode, map(record, range(21, n + 1))))) <= cut
    ]

    (earlier,) = folder_at(written.parent).left()
    assert take_all(earlier) == [*range(1, 21), *whole]
    assert earlier.damaged_bytes == cut - last.stat().st_size
    earlier.close()
    (again,) = folder_at(written.parent).left()
    assert take_all(again) == [*range(1, 21), *whole]
    assert again.damaged_bytes == 0
    again.close()


ALL = [encode(record(n)) for n in range(1, 31)]


@pytest.mark.parametrize("byte", range(0, len(b"".join(ALL)), 37))
def test_a_wrong_byte_costs_its_record_and_is_put_aside(written, byte):
    place = byte
    for path in segments(written):
        if place < path.stat().st_size:
            break
        place -= path.stat().st_size
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)
    hit = byte // len(ALL[0]) + 1

    (earlier,) = folder_at(written.parent).left()
    assert take_all(earlier) == [n for n in range(1, 31) if n != hit]
    assert earlier.damaged_bytes == len(ALL[0])
    earlier.close()
    if hit < 30:  # the last one cannot be told from a torn write
        (aside,) = (written.parent / "quarantine").iterdir()
        assert len(aside.read_bytes()) == len(ALL[0])


def test_a_segment_that_is_gone_costs_its_records(written):
    segment_path(written, 11).unlink()

    assert left(folder_at(written.parent)) == {"s": [*range(1, 11), *range(21, 31)]}


def test_while_the_disk_cannot_be_read_frames_wait_in_order(written):
    """It may be readable again: a program that looks for viruses holds a file for a moment, a cable
    is loose.
    """
    segment_path(written, 11).rename(written / "away")
    segment_path(written, 11).mkdir()
    (earlier,) = folder_at(written.parent).left()
    assert take_all(earlier) == list(range(1, 11))
    assert not earlier.drained

    segment_path(written, 11).rmdir()
    (written / "away").rename(segment_path(written, 11))
    assert take_all(earlier) == list(range(11, 31))
    earlier.close()


def test_a_folder_that_cannot_be_read_keeps_no_other_back(written):
    """A link that leads to itself stands for a disk that fails at one place."""
    (written.parent / "00000000").symlink_to("00000000")
    folder = folder_at(written.parent, keep_s=0)
    folder.free()

    assert [kept.session.key for kept in folder.kept()] == ["s"]
    assert left(folder) == {"s": list(range(1, 31))}


def test_copies_that_other_programs_make_are_no_segments(written):
    shutil.copy2(segment_path(written, 11), written / "0000000000000000011 (1).segment")
    folder = folder_at(written.parent, keep_s=0)
    folder.free()

    assert [r.sequence for kept in folder.kept() for r in kept.read([(1, 30)])] == list(
        range(1, 31)
    )
    assert left(folder) == {"s": list(range(1, 31))}


@given(
    steps=st.lists(
        st.sampled_from(["append", "append", "take", "acknowledge", "kill", "close"]), max_size=60
    ),
    tail=st.integers(0, 200),
)
def test_through_kills_and_torn_ends_nothing_unacknowledged_is_lost(tmp_path_factory, steps, tail):
    """What the game gave is what was acknowledged or is still there; a torn end takes only what is
    torn.
    """
    base = tmp_path_factory.mktemp("spool")
    folder = folder_at(base / "0")
    spool = folder.begin(SESSION)
    given_, acknowledged, taken = [], set(), []
    lives = [spool]
    for number, step in enumerate(steps):
        if step == "append":
            if spool is not lives[0]:
                continue  # an earlier session gets no more
            given_.append(len(given_) + 1)
            spool.append(record(given_[-1]))
        elif step == "take" and (one := spool.take()) is not None:
            taken.append(one.sequence)
        elif step == "acknowledge" and taken:
            acknowledged.add(taken.pop(0))
            spool.acknowledge()
        elif step in {"kill", "close"}:
            if step == "close":
                spool.close()
            folder = killed(folder, base / f"{number + 1}")
            if (spool := next(folder.left(), None)) is None:
                break
            lives.append(spool)
            taken = []
    for each in lives:
        if each is not spool:
            each.close()
    if spool is not None:
        spool.close()
    found = left(folder).get("s", [])
    assert found == sorted(found)
    assert acknowledged | set(found) >= set(given_)

    last = segments(folder.path / "00000001")[-1:] if given_ else []
    for path in last:
        torn = path.read_bytes()
        path.write_bytes(torn[: max(0, len(torn) - tail)])
    after = set(left(folder).get("s", []))
    assert after <= set(found)
    assert len(set(found) - after) <= -(-tail // len(ALL[0]))


# --- room
# --------------------------------------------------------------------------------------------------


def test_what_was_acknowledged_is_freed_when_it_was_kept_long_enough(tmp_path):
    clock = Clock()
    folder = folder_at(tmp_path, keep_s=7200, clock=clock)
    spool = folder.begin(SESSION)
    fill(spool, 45)
    deliver(spool, 35)  # three whole segments, and a half
    await_cursor(tmp_path / "00000001", segment=31)
    clock.now += 7_199
    folder.free()
    assert [r.sequence for kept in folder.kept() for r in kept.read([(1, 45)])] == list(
        range(1, 46)
    )

    clock.now += 2
    folder.free()
    assert [r.sequence for kept in folder.kept() for r in kept.read([(1, 45)])] == list(
        range(31, 46)
    )
    assert take_all(spool) == list(range(36, 46))
    spool.close()


def test_the_time_counts_from_the_acknowledgement(tmp_path):
    """The broker was away for a day."""
    clock = Clock()
    folder = folder_at(tmp_path, keep_s=7200, clock=clock)
    spool = folder.begin(SESSION)
    fill(spool, 25)
    clock.now += 86_400
    deliver(spool, 25)
    spool.close()
    folder.free()

    (kept,) = folder.kept()
    assert [r.sequence for r in kept.read([(1, 99)])] == list(range(1, 26))


def test_a_clock_that_steps_back_frees_nothing_early(tmp_path):
    clock = Clock()
    folder = folder_at(tmp_path, keep_s=7200, clock=clock)
    spool = folder.begin(SESSION)
    fill(spool, 25)
    deliver(spool, 25)
    spool.close()
    clock.now += 7_100 - 3_600
    folder.free()

    assert len(list(folder.kept())) == 1


def test_a_session_goes_when_all_of_it_has_gone(tmp_path):
    clock = Clock()
    folder = folder_at(tmp_path, keep_s=60, clock=clock)
    spool = folder.begin(SESSION)
    fill(spool, 25)
    deliver(spool, 25)
    spool.close()
    clock.now = time.time() + 120
    folder.free()

    assert list(tmp_path.iterdir()) == []
    assert list(folder.kept()) == []


def test_what_is_no_session_stays_where_it_is(tmp_path, written):
    """Somebody's SPOOL_DIR is where his pictures are, by year and by day."""
    pictures = tmp_path / "pictures"
    (pictures / "20260314").mkdir(parents=True)
    (pictures / "20260314" / "monza.jpg").write_bytes(b"red")
    (pictures / "2025").mkdir()
    (pictures / "1").write_bytes(b"")
    shutil.copytree(written, pictures / "00000001")
    for path in segments(pictures / "00000001"):
        path.unlink()
    (pictures / "00000001" / "mine.txt").write_bytes(b"")
    there = sorted(pictures.rglob("*"))
    for path in there:
        os.utime(path, (0, 0))
    folder_at(pictures).free()

    assert sorted(pictures.rglob("*")) == there


def test_what_is_not_acknowledged_never_goes(tmp_path):
    clock = Clock()
    folder = folder_at(tmp_path, keep_s=0, clock=clock)
    spool = folder.begin(SESSION)
    fill(spool, 25)
    spool.close()
    clock.now += 10**9
    folder.free()

    assert left(folder) == {"s": list(range(1, 26))}


def test_for_room_what_is_acknowledged_goes_before_its_time(tmp_path):
    folder = folder_at(tmp_path, max_bytes=5 * SEGMENT_BYTES)
    earlier = folder.begin(SpooledSession("earlier", "anna", "protobuf"))
    fill(earlier, 25)
    deliver(earlier, 25)
    earlier.close()
    spool = folder.begin(SESSION)
    fill(spool, 25)
    spool.close()

    assert folder.used_bytes <= 5 * SEGMENT_BYTES
    assert [k.session.key for k in folder.kept()] == ["s", "earlier"]
    assert left(folder) == {"s": list(range(1, 26))}


@pytest.fixture
def few_held(monkeypatch):
    monkeypatch.setattr(disk, "HELD_RECORDS", 5)


@pytest.mark.usefixtures("few_held")
def test_a_full_spool_holds_some_in_memory_and_then_loses_all_but_the_newest(tmp_path):
    """So that the first frame after the hole, here the last of all, tells the store what is
    missing.
    """
    folder = folder_at(tmp_path, max_bytes=2 * SEGMENT_BYTES)
    spool = folder.begin(SESSION)
    fill(spool, 40)
    on_disk = 20
    assert spool.dropped == 40 - on_disk - 5
    assert spool.waiting == on_disk + 5

    assert take_all(spool) == [*range(1, on_disk + 5), 40]
    spool.close()
    assert left(folder) == {"s": [*range(1, on_disk + 5), 40]}


@pytest.mark.usefixtures("few_held")
def test_frames_go_to_disk_again_when_there_is_room(tmp_path):
    folder = folder_at(tmp_path, max_bytes=2 * SEGMENT_BYTES)
    spool = folder.begin(SESSION)
    fill(spool, 24)
    deliver(spool, 15)
    await_cursor(tmp_path / "00000001", segment=11)
    spool.tend(now=0.5)
    assert list(segments(tmp_path / "00000001"))[-1].name.endswith("11.segment")

    spool.tend(now=1.0)
    fill(spool, 3, first=25)
    assert [first_of(path) for path in segments(tmp_path / "00000001")] == [11, 21]
    assert spool.dropped == 0
    assert take_all(spool) == list(range(16, 28))
    spool.close()


def test_the_facts_of_a_session_are_not_lost_for_a_frame(tmp_path, few_held):
    folder = folder_at(tmp_path, max_bytes=0)
    spool = folder.begin(SESSION)
    fill(spool, 5)
    spool.append(OutgoingRecord(0, 1, b"facts"))
    fill(spool, 3, first=6)
    spool.close()

    (earlier,) = folder.left()
    assert [taken.sequence for taken in iter(earlier.take, None)] == [1, 2, 3, 4, 0, 8]
    earlier.close()


# --- where
# --------------------------------------------------------------------------------------------------


def test_the_folder_is_the_settings_or_the_users_own(tmp_path):
    chosen = CollectorSettings(_env_file=None, spool_dir=str(tmp_path / "mine"))
    assert SpoolFolder.of(chosen, {}).path == tmp_path / "mine"

    default = CollectorSettings(_env_file=None)
    assert SpoolFolder.of(default, {"XDG_STATE_HOME": "/state"}).path == default_path(
        {"XDG_STATE_HOME": "/state"}
    )


def test_only_the_user_may_read_it(folder):
    folder.begin(SESSION).close()

    assert folder.path.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(
        Exception, match=r"frames cannot be kept in .*file/spool: Not a directory; make room there"
    ):
        folder_at(tmp_path / "file" / "spool").begin(SESSION)


def test_a_disk_that_knows_no_locks_is_reported(folder, monkeypatch):
    """Where nobody can tell whether a folder is held, the game must not wait for one that is
    free.
    """

    asked = iter(range(100))

    def refuse(*_):
        next(asked)
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)

    with pytest.raises(SpoolUnavailable, match="No locks available"):
        folder.begin(SESSION)


def test_the_facts_beside_the_segments_are_readable(written):
    assert json.loads(session_path(written).read_text()) == {
        "key": "s",
        "user_id": "anna",
        "encoding": "protobuf",
    }
