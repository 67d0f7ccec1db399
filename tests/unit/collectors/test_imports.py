"""A game PC has no Ray, no Arrow and no NumPy; everything that a collector imports does without
them.
"""

import subprocess
import sys

from tests.paths import ROOT

PROGRAM = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"ray", "pyarrow", "numpy"}:
            raise ModuleNotFoundError(f"{name} is not on a game PC", name=name)

sys.meta_path.insert(0, Absent())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def imports(*modules):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_collectors_import_without_the_libraries_of_a_cluster():
    files = sorted((ROOT / "ingest" / "collectors").rglob("*.py"))
    collectors = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in files
    ]
    assert "ingest.collectors.delivery.sender" in collectors

    outcome = imports("ingest.settings", "ingest.kafka.topics", *collectors)

    assert outcome.returncode == 0, outcome.stderr


def test_the_program_notices_what_is_absent():
    outcome = imports("analytics.model.channels")

    assert outcome.returncode != 0
    assert "pyarrow is not on a game PC" in outcome.stderr
