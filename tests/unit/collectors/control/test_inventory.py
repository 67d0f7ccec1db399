"""What of a spool can be sent again: as far as it was acknowledged, with the facts that were told
last.
"""

from pathlib import Path

import pytest

from ingest.collectors.control.inventory import ResendableSession, SessionInventory
from ingest.collectors.delivery import records
from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.spool.folder import SpoolFolder
from ingest.collectors.spool.memory import SpooledSession
from ingest.telemetry_pb2 import Session, TelemetryMessage

SEGMENT_BYTES = 2_000


@pytest.fixture
def spool(tmp_path: Path) -> SpoolFolder:
    return SpoolFolder(tmp_path, max_bytes=10_000_000, keep_s=7200, segment_bytes=SEGMENT_BYTES)


def facts(track: str, encoding: records.Encoding) -> OutgoingRecord:
    return OutgoingRecord(
        0, 1, records.facts_value(Session(id="a", user_id="anna", track=track), encoding)
    )


def drive(
    spool: SpoolFolder,
    *,
    frames: int,
    acknowledged: int,
    user: str = "anna",
    encoding: records.Encoding = "protobuf",
):
    """A session of so many frames that ended; its facts changed half way."""
    session = spool.begin(SpooledSession("a", user, encoding))
    session.choose(3)
    session.append(facts("Spa", encoding))
    for sequence in range(1, frames + 1):
        session.append(OutgoingRecord(sequence, sequence, b"x" * 40))
        if sequence == frames // 2:
            session.append(facts("Monza", encoding))
    done = 0
    while done < acknowledged and (record := session.take()) is not None:
        session.acknowledge()
        done += record.sequence > 0
    if acknowledged == frames:
        assert session.take() is None
    session.close()


def held(spool: SpoolFolder) -> ResendableSession | None:
    return SessionInventory(spool, "anna").of("a")


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("acknowledged", [1, 20, 99, 200])
def test_holding_speaks_of_what_was_acknowledged(spool, acknowledged, encoding):
    drive(spool, frames=200, acknowledged=acknowledged, encoding=encoding)
    holding = held(spool)

    assert holding is not None
    assert (holding.partition, holding.last_sequence) == (3, acknowledged)
    assert holding.facts.track == "Monza"
    assert [record.sequence for record in holding.read([(5, 9)])] == [5, 6, 7, 8, 9]


def test_statement_has_facts_and_how_far_it_was_sent(spool):
    drive(spool, frames=200, acknowledged=150)
    holding = held(spool)

    assert holding is not None
    said = TelemetryMessage.FromString(holding.statement().value)
    assert said == TelemetryMessage(
        session_id="a", session=Session(id="a", user_id="anna", track="Monza", last_sequence=150)
    )


def test_what_was_never_acknowledged_is_not_held(spool):
    """It is on its way by itself."""
    drive(spool, frames=200, acknowledged=0)

    assert held(spool) is None


def test_sessions_of_others_on_this_pc_are_theirs(spool):
    drive(spool, frames=20, acknowledged=20, user="ben")

    assert held(spool) is None
    assert SessionInventory(spool, "anna").ended() == set()


def test_session_has_ended_when_all_of_it_is_acknowledged(spool):
    drive(spool, frames=20, acknowledged=19)
    assert SessionInventory(spool, "anna").ended() == set()

    (left,) = spool.left()
    while left.take() is not None:
        left.acknowledge()
    left.close()
    assert SessionInventory(spool, "anna").ended() == {"a"}


def test_facts_are_forgotten_with_the_segment_that_they_were_in(spool):
    drive(spool, frames=200, acknowledged=200)
    holdings = SessionInventory(spool, "anna")
    (kept,) = spool.kept()
    for segment in sorted(kept.folder.glob("*.segment"))[:-1]:
        segment.unlink()

    holding = holdings.of("a")
    assert holding is not None
    assert (holding.facts, holding.last_sequence) == (Session(), 200)
