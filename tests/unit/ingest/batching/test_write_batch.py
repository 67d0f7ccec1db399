"""What a batch becomes: each frame once, in the order it was read, and every hole named when it
opens.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.model.channels import FRAMES
from ingest.batching.partition_log import Batch, Partition, Records
from ingest.batching.sequence_set import SequenceSet
from ingest.batching.write_batch import OpenSession, SequenceGap, WriteBatch, make_chunk
from ingest.codec.decode import decode
from ingest.telemetry_pb2 import Session, TelemetryMessage
from tests.unit.frames import NOON_MS, frame

PARTITION = Partition("telemetry", 3)
LETTER_BYTES = 64 * 1024


class Reader:
    """Cuts records into batches as a worker does, and remembers what it remembers."""

    def __init__(self) -> None:
        self.sessions: dict[str, OpenSession] = {}
        self.offset = 1000

    def read(self, *records: tuple[str | bytes | None, bytes | None]) -> WriteBatch:
        keys = [key.encode() if isinstance(key, str) else key for key, _ in records]
        values = [value for _, value in records]
        start, self.offset = self.offset, self.offset + len(records)
        batch = Batch(
            PARTITION, start, self.offset, Records(values, keys, np.arange(start, self.offset))
        )
        decoded = decode(values, keys)
        for key in decoded.sessions:
            self.sessions.setdefault(key, OpenSession(len(self.sessions) + 1, key, SequenceSet()))
        return make_chunk(batch, decoded, self.sessions)

    def arrive(self, *sequences: int) -> WriteBatch:
        """Frames of one session."""
        return self.read(*(("a", drove(number)) for number in sequences))


@pytest.fixture
def reader() -> Reader:
    return Reader()


def drove(sequence: int, *, at_ms: int | None = None, rpm: int = 7000) -> bytes:
    at_ms = NOON_MS + 16 * sequence if at_ms is None else at_ms
    return frame(timestamp=at_ms, sequence=sequence, rpm=rpm).SerializeToString()


def facts(**known) -> bytes:
    return TelemetryMessage(
        session=Session(**known), session_id=known.get("id", "")
    ).SerializeToString()


def column(chunk: WriteBatch, name: str) -> list:
    return chunk.frames[name].to_pylist()


def test_frames_of_each_session_stay_in_reading_order(reader):
    chunk = reader.read(
        ("a", drove(1)), ("b", drove(1)), ("a", drove(3)), ("b", drove(2)), ("a", drove(2))
    )

    ids = {key: session.id for key, session in reader.sessions.items()}
    assert column(chunk, "session_id") == [ids["a"]] * 3 + [ids["b"]] * 2
    assert column(chunk, "sequence") == [1, 3, 2, 1, 2]
    assert chunk.frames.schema == FRAMES


def test_chunk_ends_where_its_batch_ends(reader):
    reader.arrive(1, 2)
    chunk = reader.arrive(3, 4, 5)

    assert (chunk.start, chunk.end) == (1002, 1005)


def test_resent_sequences_are_dropped_and_counted(reader):
    reader.arrive(1, 2, 3)
    chunk = reader.arrive(2, 3, 4, 4)

    assert column(chunk, "sequence") == [4]
    assert chunk.resent == 3


def test_batch_of_resends_alone_writes_no_frame(reader):
    reader.arrive(1, 2)
    chunk = reader.arrive(1, 2)

    assert chunk.frames.num_rows == 0
    assert chunk.progress == ()
    assert chunk.resent == 2


def test_jump_ahead_opens_a_gap_with_both_ends_included(reader):
    reader.arrive(1, 2)

    assert reader.arrive(5, 6, 10).gaps == (SequenceGap(1, 3, 4), SequenceGap(1, 7, 9))


def test_session_that_is_first_seen_in_its_middle_lacks_its_start(reader):
    assert reader.arrive(4).gaps == (SequenceGap(1, 1, 3),)


def test_gap_does_not_open_twice(reader):
    reader.arrive(1, 5)

    assert reader.arrive(6, 7).gaps == ()


def test_late_resend_opens_no_gap(reader):
    """What lies around it was named when the session jumped ahead."""
    reader.arrive(1, 10)

    assert reader.arrive(5).gaps == ()
    assert reader.sessions["a"].received.holes() == [(2, 4), (6, 9)]


def test_frames_out_of_order_within_a_batch_open_no_gap(reader):
    assert reader.arrive(3, 1, 2).gaps == ()


def test_what_its_collector_sent_and_did_not_arrive_is_a_gap(reader):
    """And is not one again when the session jumps over it."""
    assert reader.read(("a", drove(1)), ("a", facts(id="a", last_sequence=5))).gaps == (
        SequenceGap(1, 2, 5),
    )
    assert reader.read(("a", facts(id="a", last_sequence=5))).gaps == ()
    assert reader.arrive(3, 8).gaps == (SequenceGap(1, 6, 7),)


def test_what_was_sent_before_the_facts_may_be_read_with_them(reader):
    assert (
        reader.read(("a", facts(id="a", last_sequence=2)), ("a", drove(1)), ("a", drove(2))).gaps
        == ()
    )


def test_frames_behind_later_ones_are_late(reader):
    reader.arrive(1, 2, 8, 9)

    assert reader.arrive(10, 11).late == ()
    (late,) = reader.arrive(5, 12, 4).late
    assert (late.session_key, late.from_us) == ("a", 1000 * (NOON_MS + 16 * 4))


def test_gap_of_one_session_is_not_the_gap_of_another(reader):
    chunk = reader.read(("a", drove(1)), ("b", drove(3)), ("a", drove(2)))

    assert chunk.gaps == (SequenceGap(reader.sessions["b"].id, 1, 2),)


def test_frames_without_sequence_are_stored_as_they_come(reader):
    """They can't be told from new ones when they are sent again."""
    chunks = [reader.arrive(0, 0), reader.arrive(0)]

    assert [column(c, "sequence") for c in chunks] == [[None, None], [None]]
    assert [c.progress[0].received for c in chunks] == ["{}", "{}"]
    assert [c.gaps + c.dead_letters for c in chunks] == [(), ()]


def test_frames_with_and_without_sequence_may_mix(reader):
    reader.arrive(1)
    chunk = reader.arrive(0, 1, 2, 0)

    assert column(chunk, "sequence") == [None, 2, None]
    assert chunk.resent == 1


def test_dead_letter_states_where_it_lay_and_why(reader):
    chunk = reader.read(("a", drove(1)), ("a", b""), (b"\xff\xfe", drove(2)), (None, drove(3)))

    letters = chunk.dead_letters
    assert [(d.offset, d.key, d.value) for d in letters] == [
        (1001, b"a", b""),
        (1002, b"\xff\xfe", drove(2)),
        (1003, None, drove(3)),
    ]
    assert [d.reason.partition(":")[0] for d in letters] == ["empty", "key", "key"]
    assert column(chunk, "sequence") == [1]


def test_dead_letter_keeps_64_kib_of_a_record(reader):
    endless = b"\x08\x01" * LETTER_BYTES
    chunk = reader.read((b"k" * 2 * LETTER_BYTES, endless))

    assert chunk.dead_letters[0].value == endless[:LETTER_BYTES]
    assert len(chunk.dead_letters[0].key) == LETTER_BYTES


def test_tombstone_is_a_dead_letter_without_value(reader):
    chunk = reader.read(("a", None))

    assert [(d.key, d.value) for d in chunk.dead_letters] == [(b"a", None)]


def test_facts_set_the_start_of_their_session(reader):
    chunk = reader.read(
        ("a", facts(id="a", track="Imola", started_at=NOON_MS - 5000)), ("a", drove(1))
    )

    assert reader.sessions["a"].started_at_ms == NOON_MS - 5000
    assert [(id, told.track) for id, told in chunk.facts] == [(1, "Imola")]


def test_only_facts_that_are_news_of_a_session_under_way_move_its_laps(reader):
    """Collectors say the same again whenever they are asked; to look for laps that are judged
    wrongly takes the store long.
    """
    known = {"id": "a", "track": "Imola", "car": "gt3", "driver": "Anna"}
    assert not reader.read(("a", facts(**known)), ("a", drove(1))).moved
    assert not reader.read(("a", facts(**known, last_sequence=1))).moved
    assert not reader.read(("a", facts(id="a", last_sequence=1))).moved

    for news in ({"track": "Monza"}, {"driver": "Bea"}, {"user_id": "bea"}):
        assert reader.read(("a", facts(id="a", **news)), ("a", facts(id="a", car="gt3"))).moved


def test_a_session_keeps_its_first_user(reader):
    """And its laps need not be judged again because facts name another."""
    reader.read(("a", facts(id="a", user_id="anna")), ("a", drove(1)))

    assert not reader.read(("a", facts(id="a", user_id="bea"))).moved
    assert reader.sessions["a"].user_id == "anna"


def test_facts_that_know_no_start_leave_it_alone(reader):
    reader.arrive(1)
    reader.read(("a", facts(id="a", track="Imola")))

    assert reader.sessions["a"].started_at_ms == NOON_MS + 16


def test_session_without_facts_starts_at_its_first_frame(reader):
    reader.arrive(2, 1)

    assert reader.sessions["a"].started_at_ms == NOON_MS + 32


def test_progress_states_what_a_batch_adds_and_not_what_was_there(reader):
    reader.arrive(1, 2, 3)
    (progress,) = reader.arrive(3, 7, 5, 4).progress

    assert progress.id == 1
    assert progress.received == "{[4,6),[7,8)}"
    assert progress.frames == 3
    assert progress.first_at_us == (NOON_MS + 16 * 4) * 1000
    assert progress.last_at_us == (NOON_MS + 16 * 7) * 1000


def test_empty_batch_is_an_empty_chunk(reader):
    assert_says_nothing(reader.read())


def test_batch_of_garbage_moves_on_and_writes_letters_alone(reader):
    chunk = reader.read(("a", b"\xff"), ("a", b"\xff"))

    assert chunk.end - chunk.start == len(chunk.dead_letters) == 2
    assert chunk.frames.schema == FRAMES
    assert chunk.frames.num_rows == 0


def assert_says_nothing(chunk: WriteBatch) -> None:
    assert chunk.start == chunk.end
    assert chunk.frames == FRAMES.empty_table()
    assert (chunk.progress, chunk.facts, chunk.laps, chunk.gaps, chunk.dead_letters) == (
        (),
        (),
        (),
        (),
        (),
    )
    assert chunk.resent == 0


_ARRIVALS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 25)), max_size=60)
_CUTS = st.lists(st.integers(1, 12), max_size=60)


@given(arrivals=_ARRIVALS, cuts=_CUTS)
def test_however_a_stream_is_cut_each_frame_is_stored_once_by_first_arrival(arrivals, cuts):
    """Sessions interleave, frames come late, twice and with holes; what is kept does not depend on
    where batches end.
    """
    reader = Reader()
    stored: dict[str, list] = {"a": [], "b": [], "c": []}
    gaps: dict[str, list] = {"a": [], "b": [], "c": []}
    for chunk in chunks_of(reader, arrivals, cuts):
        key_of = {session.id: key for key, session in reader.sessions.items()}
        for row in chunk.frames.select(["session_id", "sequence", "rpm"]).to_pylist():
            stored[key_of[row["session_id"]]].append((row["sequence"], row["rpm"]))
        for gap in chunk.gaps:
            gaps[key_of[gap.session_id]] += range(gap.from_sequence, gap.to_sequence + 1)

    for key in stored:
        first: dict[int, int] = {}
        for place, (of, sequence) in enumerate(arrivals):
            if of == key:
                first.setdefault(sequence, place)
        assert stored[key] == list(first.items())
        assert len(set(gaps[key])) == len(gaps[key]), "a gap opened twice"
        assert set(range(1, max(first, default=0))) - first.keys() <= set(gaps[key]), (
            "a hole that is not named"
        )


@given(arrivals=_ARRIVALS, cuts=_CUTS)
def test_progress_adds_up_to_what_is_remembered(arrivals, cuts):
    """The store adds the batches' ranges; the worker has them in memory: both must be the same
    set.
    """
    reader = Reader()
    told: dict[int, list] = {}
    for chunk in chunks_of(reader, arrivals, cuts):
        for progress in chunk.progress:
            told.setdefault(progress.id, []).extend(
                SequenceSet.from_multirange(progress.received).ranges
            )

    for session in reader.sessions.values():
        assert SequenceSet(told[session.id]) == session.received
        assert sum(end - start for start, end in told[session.id]) == len(session.received)


def chunks_of(reader: Reader, arrivals, cuts):
    records = [
        (key, drove(number, at_ms=NOON_MS + 16 * place, rpm=place))
        for place, (key, number) in enumerate(arrivals)
    ]
    for size in [*cuts, len(records)]:
        batch, records = records[:size], records[size:]
        if batch:
            yield reader.read(*batch)
