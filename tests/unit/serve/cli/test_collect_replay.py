"""When the frames of a replayed recording are dated: its own time, or now."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from analytics.files.recording import Recording, open_recording
from ingest.codec.timestamps import EARLIEST_MS, date_fault
from ingest.collectors.replay import REQUIRED
from ingest.collectors.replay import replay as frames_of
from serve.cli.collect import _first_timestamp_ms, replay
from tests.unit.frames import NOON_MS

STEP_MS, FRAMES = 20, 51
NOT_DATED = "its times are before 2010"


def recording(folder: Path, started_at_ms: int) -> Recording:
    """A second of a car that stands."""
    columns = {name: [0.0] * FRAMES for name in REQUIRED}
    columns["timestamp_ms"] = [float(started_at_ms + STEP_MS * n) for n in range(FRAMES)]
    pyarrow.parquet.write_table(pa.table(columns), folder / "stint.parquet")
    return open_recording(folder / "stint.parquet")


def times_ms(of: Recording, first_ms: int | None) -> list[int]:
    return [frame.timestamp for frame in frames_of(of.columns(), first_timestamp_ms=first_ms)]


@pytest.mark.parametrize("started_at_ms", [0, 5_907, 1_000_000_000, EARLIEST_MS - 1])
def test_a_recording_that_names_no_day_is_driven_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], started_at_ms: int
) -> None:
    """Its times count from its start. The store would refuse them as those of a broken clock."""
    stint = recording(tmp_path, started_at_ms)

    first_ms = _first_timestamp_ms(stint, now=False, speed=1.0, now_ms=NOON_MS)

    assert NOT_DATED in capsys.readouterr().out
    assert times_ms(stint, first_ms) == [NOON_MS + STEP_MS * n for n in range(FRAMES)]
    assert [date_fault(at_ms) for at_ms in times_ms(stint, first_ms)] == [None] * FRAMES
    assert date_fault(started_at_ms) is not None


@pytest.mark.parametrize("started_at_ms", [EARLIEST_MS, NOON_MS - 86_400_000])
def test_a_recording_with_a_day_keeps_its_time_unless_it_is_to_be_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], started_at_ms: int
) -> None:
    stint = recording(tmp_path, started_at_ms)

    own, moved = (
        _first_timestamp_ms(stint, now=now, speed=1.0, now_ms=NOON_MS) for now in (False, True)
    )

    assert NOT_DATED not in capsys.readouterr().out
    assert times_ms(stint, own)[0] == started_at_ms
    assert times_ms(stint, moved)[0] == NOON_MS


@pytest.mark.parametrize(("speed", "before_now_ms"), [(4.0, 750), (0.0, 1_000), (0.5, 0)])
def test_a_recording_that_is_moved_ends_in_no_future(
    tmp_path: Path, speed: float, before_now_ms: int
) -> None:
    """It is played faster than it was driven."""
    stint = recording(tmp_path, 0)

    assert _first_timestamp_ms(stint, now=False, speed=speed, now_ms=NOON_MS) == (
        NOON_MS - before_now_ms
    )


def test_help_states_which_recordings_are_moved_unasked() -> None:
    shown = " ".join(CliRunner().invoke(replay, ["--help"]).output.split())

    assert "it keeps its own time. A recording that begins before 2010 is always moved" in shown
