"""Who only reads a store or recordings has NumPy, Arrow and psycopg: the extra ``analyst``."""

import subprocess
import sys

from tests.paths import ROOT

PROGRAM = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"ray", "pandas", "polars", "fastapi", "confluent_kafka",
        "matplotlib"}:
            raise ModuleNotFoundError(f"{name} is not in the extra analyst", name=name)

sys.meta_path.insert(0, Absent())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_analysts_import_without_ray() -> None:
    files = sorted((ROOT / "analytics").rglob("[a-z]*.py"))
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    modules.remove("analytics.fleet.ray_data")
    assert "analytics.catalog" in modules

    outcome = subprocess.run(
        [sys.executable, "-c", PROGRAM, *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert outcome.returncode == 0, outcome.stderr
