"""Run the service ring on a slow machine, and list what failed: ``make unsteady``.

A cgroup of its own gets a share of a CPU (``--cpus 0.5`` by default), as a machine that others use
too would have it. A test that fails here and passes alone is a fault of the test or of the product.
Needs root, and cgroups of either version.
"""

import argparse
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.paths import ROOT

_CGROUPS = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000
_REPORT = ROOT / "build" / "unsteady.xml"


@contextmanager
def quota(cpus: float) -> Iterator[Path]:
    """Make a cgroup that gets so many CPUs, and remove it. Raises OSError without root or
    cgroups.
    """
    second = (_CGROUPS / "cgroup.controllers").exists()
    group = (_CGROUPS if second else _CGROUPS / "cpu") / f"unsteady-{os.getpid()}"
    group.mkdir()
    quota_us = int(cpus * _PERIOD_US)
    try:
        if second:
            (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
        else:
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        yield group
    finally:
        kill_all(group)
        group.rmdir()


def kill_all(group: Path) -> None:
    """Kill what is left in the cgroup, until nothing is."""
    while pids := (group / "cgroup.procs").read_text().split():
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def run(group: Path, arguments: list[str]) -> None:
    """Run pytest in the cgroup, to its end."""

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "2",
        "--dist",
        "loadfile",
        f"--junitxml={_REPORT}",
        *arguments,
    ]
    subprocess.run(command, cwd=ROOT, preexec_fn=enter, check=False)


def failed(report: Path) -> list[str]:
    """Return the names of the tests that failed or ended in an error, from a JUnit report."""
    cases = ElementTree.parse(report).iter("testcase")
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]


def main() -> int:
    """Run the ring; return 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpus", type=float, default=0.5, help="how many CPUs the ring gets (0.5)")
    parser.add_argument("tests", nargs="*", default=["tests/contract", "tests/service"])
    given = parser.parse_args()
    _REPORT.parent.mkdir(exist_ok=True)
    try:
        with quota(given.cpus) as group:
            run(group, given.tests)
    except OSError as error:
        sys.stderr.write(f"no cgroup could be made: {error}; run as root, on Linux\n")
        return 2
    names = failed(_REPORT)
    sys.stdout.write("".join(f"failed: {name}\n" for name in names) or "no test failed\n")
    return int(bool(names))


if __name__ == "__main__":
    sys.exit(main())
