"""The notebooks on sessions with next to nothing in them: a sentence, and the figures that can be
drawn.

Their cells are run here without a kernel, which takes longer to start than all of this;
`tests/service/test_notebooks.py` has one.
"""

import ast
import json
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import analytics
from analytics.files.recording import as_recorded
from analytics.model.channels import FRAMES
from ingest.collectors.simulator.circuit import val_sarine
from ingest.simulated_recordings import record
from tests.paths import ROOT
from tests.unit.analytics.laps.test_odd_sessions import Session

NOTEBOOKS = ROOT / "notebooks"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    """Drawn on no screen, and closed."""
    matplotlib.use("Agg")
    yield
    plt.close("all")


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """What the cells of a notebook say of the recordings in a folder, and how many figures they
    draw.
    """
    monkeypatch.setenv("PURPLE_SECTOR_HOME", str(folder))
    monkeypatch.setenv("DATABASE_URL", "postgresql://names.a.store/")
    monkeypatch.setattr(analytics, "connect", lambda **_: analytics.open(folder))
    known: dict[str, Any] = {}
    said = []
    for cell in json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            said.append(_run("".join(cell["source"]), known))
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    return "\n".join(filter(None, said)), len(plt.get_fignums())


def _run(source: str, known: dict[str, Any]) -> str:
    """What the last expression of a cell says. A warning is an error, as it is for whoever reads
    the notebook.
    """
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")
        exec(compile(tree, "cell", "exec"), known)
        answer = eval(compile(last, "cell", "eval"), known) if last else None
    return str(getattr(answer, "data", "") or "")


@cache
def driven(laps: int) -> dict[str, bytes]:
    """The files of a recording: driving takes most of a test, and many drive the same."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "stint.parquet"
        record(path, val_sarine(), seed=5, laps=laps, started_at=NOON, rate_hz=10)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def drive_laps(folder: Path, laps: int, *, until_s: float | None = None) -> None:
    """A recording of an out lap and of what follows it, or of its first seconds."""
    for name, content in driven(laps).items():
        (folder / name).write_bytes(content)
    path = folder / "stint.parquet"
    if until_s is not None:
        table = pyarrow.parquet.read_table(path)
        pyarrow.parquet.write_table(table.slice(0, int(until_s * 10)), path)


def drive_round_a_circle(folder: Path) -> None:
    """Four laps at one speed, on a track that shows no corner."""
    count = 9_000
    at_s = np.arange(count) / 20
    lap = (at_s // 100).astype(np.int32)
    clock_ms = np.round(1000 * (at_s % 100)).astype(np.int32)
    zero, one = np.zeros(count, np.float32), np.ones(count, np.float32)
    columns = {
        "time": pa.array(
            (at_s * 1e6).astype(np.int64) + 1_767_268_800_000_000, pa.timestamp("us", tz="UTC")
        ),
        "lap_number": lap + 1,
        "lap_clock_ms": clock_ms,
        "normalized_position": (at_s % 100 / 100).astype(np.float32),
        "speed_kmh": 144 * one,
        "throttle": one,
        "brake": zero,
        "steering": zero,
        "gear": np.full(count, 4, np.int16),
        "rpm": np.full(count, 7000, np.int32),
    }
    frames = pa.table(
        [
            pa.array(columns[f.name]).cast(f.type) if f.name in columns else pa.nulls(count, f.type)
            for f in FRAMES
        ],
        schema=FRAMES,
    )
    path = folder / "circle.parquet"
    pyarrow.parquet.write_table(as_recorded(frames), path)
    path.with_suffix(".json").write_text(
        json.dumps({"game": "g", "track": "circle", "track_length_m": 4000})
    )


def drive_with_uncounted_out_lap(folder: Path) -> Session:
    """An out lap and three more. The game's counter reads 1 in the first two, and each lap has a
    top speed of its own.
    """
    session = Session(laps_s=(120.0, 95.0, 94.0, 96.0), rate_hz=5.0)
    session["lap_number"] = np.maximum(session.lap, 1)
    top_kmh = np.array([150.0, 210.0, 220.0, 230.0, 240.0])[session.lap]
    halfway = np.abs(session["normalized_position"] - 0.5) < 0.02
    session["speed_kmh"] = np.where(halfway, top_kmh, 120.0)
    for name, value in (("throttle", 1), ("brake", 0), ("steering", 0), ("gear", 4), ("rpm", 7000)):
        session[name] = value
    path = folder / "uncounted.parquet"
    pyarrow.parquet.write_table(as_recorded(session.frames()), path)
    path.with_suffix(".json").write_text(json.dumps({"game": "g", "track": "t"}))
    return session


TWO, CORNERS, FLEET = "two_laps_compared", "consistency_and_corners", "the_fleet"


@pytest.mark.parametrize(
    ("name", "laps", "until_s", "said", "drawn"),
    [
        (TWO, 1, 40.0, "0 flying laps, and it takes two to compare. No lap has a time yet", 0),
        (TWO, 1, None, "0 flying laps, and it takes two to compare. Drawn is ", 1),
        (TWO, 2, None, "1 flying laps, and it takes two to compare. Drawn is ", 1),
        (TWO, 3, None, " s slower than ", 2),
        (CORNERS, 1, 40.0, "Too few to say", 0),
        (CORNERS, 1, 40.0, "0 laps qualify, and it takes 5", 0),
        (CORNERS, 1, None, "0 laps qualify, and it takes 5 (lap 1: out)", 1),
        (CORNERS, 2, None, "1 laps qualify, and it takes 5 (lap 1: out)", 1),
        (CORNERS, 3, None, "2 laps qualify, and it takes 5 (lap 1: out)", 1),
        (FLEET, 1, 40.0, "No lap has a time yet", 0),
        (FLEET, 1, None, "| 0 of 1 |", 0),
        (FLEET, 2, None, "there is only one", 2),
    ],
)
def test_few_laps_are_drawn_as_far_as_they_go(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    laps: int,
    until_s: float | None,
    said: str,
    drawn: int,
) -> None:
    drive_laps(tmp_path, laps, until_s=until_s)
    words, figures = run(name, tmp_path, monkeypatch)

    assert said in words
    assert figures == drawn


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        (TWO, 1),
        (CORNERS, 1),
        ("session_at_a_glance", 2),
        (FLEET, 2),
    ],
)
def test_a_track_without_corners_is_drawn_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, drawn: int
) -> None:
    drive_round_a_circle(tmp_path)

    assert run(name, tmp_path, monkeypatch)[1] == drawn


@pytest.mark.parametrize(("laps", "until_s"), [(1, 40.0), (1, None), (2, None)])
def test_session_at_a_glance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, laps: int, until_s: float | None
) -> None:
    drive_laps(tmp_path, laps, until_s=until_s)
    words, figures = run("session_at_a_glance", tmp_path, monkeypatch)

    assert f"{laps - (until_s is not None)} laps finished" in words
    assert figures == 2


def table_rows() -> dict[float, list[str]]:
    """What the table of laps, the last figure, writes in each row."""
    (axes,) = plt.figure(plt.get_fignums()[-1]).axes
    rows: dict[float, list[str]] = {}
    for text in axes.texts:
        rows.setdefault(text.get_position()[1], []).append(text.get_text())
    return rows


def test_an_out_lap_that_the_game_does_not_count_moves_no_lap_at_a_glance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times and top speeds are of the same frames."""
    drive_with_uncounted_out_lap(tmp_path)

    words, _ = run("session_at_a_glance", tmp_path, monkeypatch)

    assert "4 laps finished, best 1:34.0" in words
    rows = [row for _, row in sorted(table_rows().items())][1:]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert [row[1][:6] for row in rows] == ["2:00.0", "1:35.0", "1:34.0", "1:36.0"]
    assert [row[3] for row in rows] == ["150", "210", "220", "230"]


def test_an_out_lap_that_the_game_does_not_count_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fastest laps are 3 and 2 by the engine, 2 and 1 by the game."""
    drive_with_uncounted_out_lap(tmp_path)

    run(TWO, tmp_path, monkeypatch)

    (_, speed, _) = plt.figure(plt.get_fignums()[0]).axes
    slow, fast = speed.lines[:2]
    assert [round(max(line.get_ydata())) for line in (slow, fast)] == [210, 220]
    assert "lap 2" in slow.get_label()
    assert "lap 3" in fast.get_label()
