"""What commands print is what people and games called things, whole and as it is."""

from datetime import UTC, datetime

import pytest

from analytics.fleet.batch import JobReport
from serve.cli.fleet import _progress
from serve.cli.main import _show
from serve.cli.status import PartitionStatus, SessionStatus, Status
from serve.cli.store_counts import StoreCounts
from serve.cli.tables import print_table, table_of

#: A team in brackets, a closing tag, a link and an emoji, if they were read as markup.
NAMES = ["[RED] Ann", "[/red] team", "[link=http://x]Ann[/link]", "ann:car:7", "x" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_is_what_it_states(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of("driver", "laps", right={"laps"})
    table.add_row(name, "12")

    print_table(table)

    assert f"{name}     12" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_status_states_names_as_they_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    partition = PartitionStatus(
        "telemetry", 0, next_offset=1, end_offset=1, owner=name, heartbeat_age_s=1.0
    )
    session = SessionStatus(name, name, name, name, frames=1, laps=1, open_gaps=0, updated_at=at)

    _show(Status((name,), (name,), name, StoreCounts(), (partition,), (session,)))

    # Broker, topic, store, worker; the owner; and a session's key, driver, car and track.
    assert capsys.readouterr().out.count(name) == 9


def test_status_shows_what_was_not_kept_and_whose_clock_was_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    counts = StoreCounts(12, 1180, at, 3, 2, "ann:[7]", "359 s ahead of the broker's clock", at)
    session = SessionStatus(
        "ann:[7]", "", "", "", frames=1, laps=1, open_gaps=0, updated_at=at, clock_corrections=2
    )

    _show(seen := Status(("b",), (), "a store", counts, (), (session,)))

    shown = capsys.readouterr().out
    assert "12 dead letters and 1,180 that were not kept (the last at 2026-05-01 12:00:00)" in shown
    assert (
        "3 clock corrections in 2 sessions; the last at 2026-05-01 12:00:00, session ann:[7]: 359 s"
        " ahead" in shown
    )
    assert "clock corrections" in shown.splitlines()[-2]
    assert "      2 " in shown.splitlines()[-1]
    told = seen.as_json()
    assert (told["dead_letters"], told["dead_letters_not_kept"], told["clock_corrections"]) == (
        12,
        1180,
        3,
    )
    assert told["sessions"][0]["clock_corrections"] == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_session_that_could_not_be_timed_is_named_as_it_is(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with _progress() as report:
        report(1, 1, JobReport(name, reason="no frames"))

    assert f"{name}: no frames" in capsys.readouterr().err
