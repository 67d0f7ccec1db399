"""Notebooks as they are kept: text and code. What they put out is of one machine, and what they ask
is asked in `analytics`.
"""

import json
from pathlib import Path

import pytest

from tests.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_not_kept(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in cells] == [[]] * len(cells)
    assert {cell["execution_count"] for cell in cells} == {None}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_no_sql(path: Path) -> None:
    """The plans of `analytics.store.summaries` are looked at by tests; those of a cell would not
    be.
    """
    assert ".execute(" not in path.read_text()
    assert "SELECT" not in path.read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_begin_with_one_call(path: Path) -> None:
    """It finds the store, the running system or samples; nothing else is to be known to begin."""
    first = next(
        cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"
    )
    *_, last = "".join(first["source"]).splitlines()
    assert last.startswith("catalog = analytics.connect(otherwise=sample_")
