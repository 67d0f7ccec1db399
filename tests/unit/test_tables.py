"""What commands print is what people and games called things, whole and as it is."""

from datetime import UTC, datetime

import pytest

from analytics.fleet import Report
from serve.command import _show
from serve.fleet import _progress
from serve.status import PartitionStatus, SessionStatus, Status
from serve.tables import say_whole, table_of

#: A team in brackets, a closing tag, a link and an emoji, if they were read as markup.
NAMES = ["[RED] Ann", "[/red] team", "[link=http://x]Ann[/link]", "ann:car:7", "x" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_is_what_it_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of("driver", "laps", right={"laps"})
    table.add_row(name, "12")

    say_whole(table)

    assert f"{name}     12" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_status_says_names_as_they_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    partition = PartitionStatus("telemetry", 0, next_offset=1, end_offset=1, owner=name, heartbeat_age_s=1.0)
    session = SessionStatus(name, name, name, name, frames=1, laps=1, open_gaps=0, updated_at=at)

    _show(Status((name,), (name,), name, 0, (partition,), (session,)))

    # Broker, topic, store, worker; the owner; and a session's key, driver, car and track.
    assert capsys.readouterr().out.count(name) == 9


@pytest.mark.parametrize("name", NAMES)
def test_a_session_that_could_not_be_timed_is_named_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with _progress() as tell:
        tell(1, 1, Report(name, reason="no frames"))

    assert f"{name}: no frames" in capsys.readouterr().err
