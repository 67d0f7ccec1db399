"""Node programs of the tests, with the packages that their package-lock.json names, in the cache
folder.

The lock has versions and hashes, and no address: ``npm install --package-lock-only
--omit-lockfile-registry-resolved`` in their folder writes it.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from ingest.embedded.cache import entry, filled
from tests.waiting import WITHIN_S

_INSTALL = [
    "npm",
    "ci",
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    "--loglevel=error",
]


def installed(folder: Path) -> Path:
    """A copy of ``folder`` beside its packages, which are fetched at first. Skips where node or the
    packages can't be had.
    """
    if lacking := [program for program in ("node", "npm") if shutil.which(program) is None]:
        pytest.skip(f"{' and '.join(lacking)} not installed")
    sources = sorted([*folder.glob("*.mjs"), *folder.glob("package*.json")])
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]

    def fill(place: Path) -> None:
        for source in sources:
            shutil.copy(source, place)
        ran = subprocess.run(
            _INSTALL, cwd=place, capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
        if ran.returncode != 0:
            pytest.skip(
                f"npm could not fetch the packages of {folder.name}: {ran.stderr.strip()[-500:]}"
            )

    return filled(entry(f"npm-{folder.name}-{digest}"), fill)
