"""The notebooks, run from their first cell to their last on a store with a session; what they make stays out of the tree."""

import itertools
import json
import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import psycopg
import pytest

from analytics import database as store
from ingest.collectors.circuit import val_sarine
from ingest.collectors.simulate import drive, facts
from ingest.telemetry_pb2 import TelemetryMessage
from tests.conftest import Database
from tests.service.owner import Owner

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
KEY = b"stint"
FRAMES_DRIVEN = 5_000
STARTED_AT_MS = 1_767_225_600_000


def store_stint(url: str) -> None:
    """Some laps at 10 Hz, as ingest stores them."""
    told = facts(val_sarine(), session_id="stint", user_id="anna", driver="Anna", started_at_ms=STARTED_AT_MS)
    frames = itertools.islice(drive(val_sarine(), seed=5, started_at_ms=STARTED_AT_MS, rate_hz=10), FRAMES_DRIVEN)
    values = [TelemetryMessage(session=told, session_id="stint").SerializeToString()]
    for sequence, frame in enumerate(frames, 1):
        frame.sequence = sequence
        values.append(frame.SerializeToString())
    with Owner(url) as owner:
        owner.write(*((KEY, value) for value in values))


def run(notebook: Path, into: Path, url: str) -> list[dict[str, Any]]:
    """What its cells put out, the last of them last. Jupyter, IPython and matplotlib get a home that is thrown away."""
    done = into / notebook.name
    ran = subprocess.run(
        [sys.executable, "-m", "jupyter", "execute", "--output", str(done), str(notebook)],
        env=os.environ | {"DATABASE_URL": url, "HOME": str(into), "PURPLE_SECTOR_HOME": str(into)},
        cwd=into,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [output for cell in json.loads(done.read_text())["cells"] for output in cell.get("outputs", [])]


def test_session_at_a_glance(database: Database, tmp_path: Path) -> None:
    """The newest session by name, with its best lap; a figure of its seconds, and one of its laps."""
    store_stint(database.url)
    with psycopg.connect(database.url) as conn:
        laps = store.laps(conn, "stint")
    best_ms = min(lap.official_lap_time_ms or lap.lap_time_ms or 0 for lap in laps if not lap.flags)

    outputs = run(NOTEBOOKS / "session_at_a_glance.ipynb", tmp_path, database.url)

    assert {output["output_type"] for output in outputs} <= {"display_data", "execute_result"}
    told = "".join(text for output in outputs for text in output["data"].get("text/markdown", ""))
    assert told.startswith("**Anna · ")
    assert f"{len(laps)} laps finished" in told
    assert f"best {best_ms // 60_000}:{best_ms % 60_000 / 1000:06.3f}" in told
    figures = [b64decode(output["data"]["image/png"]) for output in outputs if "image/png" in output["data"]]
    assert [figure[:8] for figure in figures] == [b"\x89PNG\r\n\x1a\n"] * 2


@pytest.mark.parametrize(
    ("name", "figures", "says"),
    [("two_laps_compared", 2, "s slower than"), ("consistency_and_corners", 1, "Left out: lap 1: out")],
)
def test_laps_are_compared_without_a_server(tmp_path: Path, name: str, figures: int, says: str) -> None:
    """Without DATABASE_URL a notebook drives its own sessions."""
    outputs = run(NOTEBOOKS / f"{name}.ipynb", tmp_path, "")

    told = "".join(text for output in outputs for text in output["data"].get("text/markdown", ""))
    assert says in told
    assert len([output for output in outputs if "image/png" in output["data"]]) == figures
