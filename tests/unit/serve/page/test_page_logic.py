"""The page's logic, tested by Node's own test runner: the modules are the ones that the browser
loads.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.waiting import WITHIN_S

TESTS = sorted(Path(__file__).parent.glob("*.test.mjs"))
# Not --test, which starts a Node for each file: that takes longer than the tests.
RUN = "for (const file of process.argv.slice(1)) await import(file)"
PAGE = ROOT / "serve" / "page"


def test_pages_logic() -> None:
    """What is drawn follows from modules that know no document; every fact about them is in
    tests/unit/page.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("the page's logic is JavaScript and node is not installed")
    run = [node, "--input-type=module", "--eval", RUN, *(path.as_uri() for path in TESTS)]
    ran = subprocess.run(run, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_page_loads_nothing_from_elsewhere() -> None:
    """The page works on a machine without internet, and its policy is default-src 'self': no inline
    code or style.
    """
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    assert "<style" not in page
    assert " style=" not in page
    assert "//" not in page
    for file in (file for file in PAGE.rglob("*") if file.is_file()):
        text = file.read_text(encoding="utf-8")
        foreign = [
            word for word in ("https://", "@import", "new Function", "eval(") if word in text
        ]
        assert not foreign, f"{file.name} has {foreign}"


def test_page_has_folders_of_one_level() -> None:
    """The wheel ships serve/page/* and serve/page/*/*: anything deeper would be left behind."""
    assert max(len(file.relative_to(PAGE).parts) for file in PAGE.rglob("*")) == 2
