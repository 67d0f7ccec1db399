"""The notebooks, run from their first cell to their last, on a store and without one; what they
make stays out of the tree.

A kernel takes longer to start than a notebook to run: all of them go through one, which forgets
everything in between.
"""

import itertools
import json
import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

import psycopg

from analytics.catalog import lap_time
from analytics.store import queries as store
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.driver import driver
from ingest.collectors.simulator.frames import drive, facts
from ingest.telemetry_pb2 import TelemetryMessage
from tests.conftest import Database
from tests.paths import ROOT
from tests.service.owner import Owner
from tests.waiting import WITHIN_S

NOTEBOOKS = ROOT / "notebooks"
FRAMES_DRIVEN = 9_500
STARTED_AT_MS = 1_767_225_600_000
FORGET = {
    "cell_type": "code",
    "id": "",
    "metadata": {},
    "outputs": [],
    "execution_count": None,
    "source": "%reset -f",
}
PNG = b"\x89PNG\r\n\x1a\n"

Output = dict[str, dict[str, str]]


def store_stint(url: str, key: str, name: str, seed: int) -> None:
    """Some laps at 10 Hz, as ingest stores them."""
    told = facts(
        val_sarine(), session_id=key, user_id=name, driver=name, started_at_ms=STARTED_AT_MS
    )
    frames = itertools.islice(
        drive(val_sarine(), seed=seed, started_at_ms=STARTED_AT_MS, rate_hz=10), FRAMES_DRIVEN
    )
    values = [TelemetryMessage(session=told, session_id=key).SerializeToString()]
    for sequence, frame in enumerate(frames, 1):
        frame.sequence = sequence
        values.append(frame.SerializeToString())
    with Owner(url) as owner:
        owner.write(*((key.encode(), value) for value in values))


def run(names: Sequence[str], into: Path, url: str) -> dict[str, list[Output]]:
    """What the cells of each notebook put out. Jupyter, IPython and matplotlib get a home that is
    thrown away.
    """
    kept = {name: json.loads((NOTEBOOKS / f"{name}.ipynb").read_text()) for name in names}
    cells = [
        FORGET | {"id": f"{n}-{i}"} | cell
        for n, one in kept.items()
        for i, cell in enumerate([*one["cells"], {}])
    ]
    book, done = into / "all.ipynb", into / "done.ipynb"
    book.write_text(json.dumps(next(iter(kept.values())) | {"cells": cells}))
    environment = os.environ | {
        "DATABASE_URL": url,
        "HOME": str(into),
        "PURPLE_SECTOR_HOME": str(into),
    }
    # Where matplotlib meets a new home it lists all fonts, and says so in the notebook when that
    # takes more than 5 s.
    subprocess.run(
        [sys.executable, "-c", "import matplotlib.font_manager"],
        env=environment,
        cwd=into,
        check=True,
    )
    # Patience for each cell, and not for all of them, so that the one that hangs is named.
    patience = f"--timeout={WITHIN_S:.0f}", f"--startup_timeout={WITHIN_S:.0f}"
    ran = subprocess.run(
        [sys.executable, "-m", "jupyter", "execute", *patience, "--output", str(done), str(book)],
        env=environment,
        cwd=into,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    after = iter(json.loads(done.read_text())["cells"])
    return {
        name: [output for _ in [*one["cells"], {}] for output in next(after).get("outputs", [])]
        for name, one in kept.items()
    }


def said(outputs: list[Output]) -> str:
    """All text, and that there was nothing but text and figures: no warning, no trace of an
    error.
    """
    assert [
        one for one in outputs if one["output_type"] not in {"display_data", "execute_result"}
    ] == []
    return "".join(text for output in outputs for text in output["data"].get("text/markdown", ""))


def figures(outputs: list[Output]) -> list[bytes]:
    return [
        b64decode(output["data"]["image/png"])[:8]
        for output in outputs
        if "image/png" in output["data"]
    ]


ALL = ("session_at_a_glance", "two_laps_compared", "consistency_and_corners", "the_fleet")


def check(ran: dict[str, list[Output]], name: str) -> None:
    """Who was read, in every notebook, and that all figures are there."""
    glance, compared, even, fleet = (ran[name] for name in ALL)
    assert said(glance).startswith(f"**{name} · ")
    assert f": {name}, lap " in said(compared)
    assert " s slower than " in said(compared)
    assert f"**{name} · " in said(even)
    assert "Left out: lap 1: out" in said(even)
    assert " laps against " in said(even)
    assert "| Val Sarine | Purple Sector GT3 | " in said(fleet)
    assert "Not timed: none." in said(fleet)
    assert "mini-sectors" in said(fleet)
    drawn = [figures(outputs) for outputs in (glance, compared, even, fleet)]
    assert drawn == [[PNG] * 2, [PNG] * 2, [PNG], [PNG] * 2]


def test_notebooks_read_the_store(database: Database, tmp_path: Path) -> None:
    """The newest session there, by name and with its best lap."""
    store_stint(database.url, "before", "Bea", 9)
    store_stint(database.url, "stint", "Anna", 5)
    with psycopg.connect(database.url) as conn:
        laps = store.laps(conn, "stint")
    best_ms = min(lap.time_ms or 0 for lap in laps if not lap.flags)

    ran = run(ALL, tmp_path, database.url)

    check(ran, "Anna")
    assert f"{len(laps)} laps finished, best {lap_time(best_ms)}" in said(
        ran["session_at_a_glance"]
    )
    assert f"\n\n2 sessions, {2 * FRAMES_DRIVEN:,} frames." in said(ran["the_fleet"])


def test_notebooks_read_recordings_without_a_server(tmp_path: Path) -> None:
    """Without DATABASE_URL, and where no system runs, they drive sessions into files of their
    own.
    """
    ran = run(ALL, tmp_path, "")

    check(ran, driver(9).name)
