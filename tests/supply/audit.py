"""Ask for known vulnerabilities of the packages in ``requirements/``: ``make audit``.

Ends with 1 where one is known and not in ``ignored.toml``. A service that does not answer, or knows
none of the packages, is printed and is no failure: which index a machine has is not ours to decide.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tests.supply.requirements import ALONE, FOLDER, PARTS

IGNORED = Path(__file__).with_name("ignored.toml")
# Of pip-audit: what the index itself knows, then the database that it is made from.
_SERVICES = ("pypi", "osv")
_NO_ANSWER = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ServiceError", "HTTPError")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a service knows of the packages: how many of them, and what is wrong with them."""

    known: int
    unknown: tuple[str, ...]
    found: tuple[str, ...]


def read_ignored(text: str) -> dict[str, date]:
    """Each ignored vulnerability, and the day from which it counts again.

    Raises ValueError where one has no reason.
    """
    listed = tomllib.loads(text).get("ignored", [])
    if without := [one["id"] for one in listed if not one.get("reason", "").strip()]:
        raise ValueError(f"ignored without a reason: {', '.join(without)}")
    return {one["id"]: one["until"] for one in listed}


def judged(report: Mapping[str, Any], ignored: Mapping[str, date], today: date) -> Verdict:
    """Judge the JSON of pip-audit. An ignored one counts again from its day on."""
    packages = report["dependencies"]
    known = [one for one in packages if "skip_reason" not in one]
    passing = {name for name, until in ignored.items() if today < until}
    found = (
        f"{one['name']} {one['version']}: {each['id']}, fixed in"
        f" {', '.join(each['fix_versions']) or 'no version'}"
        for one in known
        for each in one["vulns"]
        if passing.isdisjoint({each["id"], *each["aliases"]})
    )
    unknown = (one["name"] for one in packages if "skip_reason" in one)
    return Verdict(len(known), tuple(unknown), tuple(found))


def _report(service: str, files: Iterable[Path]) -> Mapping[str, Any] | None:
    """The report of that service, or None where it does not answer."""
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", service]
    command += ["--format", "json", "--progress-spinner", "off"]
    command += ["--require-hashes", "--disable-pip"]
    for file in files:
        command += ["--requirement", str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.stdout.strip():
        report: Mapping[str, Any] = json.loads(ran.stdout)
        return report
    if not any(sign in ran.stderr for sign in _NO_ANSWER):
        raise SystemExit(ran.stderr)
    return None


def audited(files: Iterable[Path], ignored: Mapping[str, date], today: date) -> Verdict | None:
    """The verdict of the first service that knows any of the packages; None if none does."""
    for service in _SERVICES:
        report = _report(service, files)
        if report is not None and (verdict := judged(report, ignored, today)).known:
            return verdict
    return None


def lines(verdict: Verdict) -> Iterator[str]:
    """Say what was found, what could not be judged, and how much was."""
    yield from verdict.found
    if verdict.unknown:
        yield f"not known there: {', '.join(verdict.unknown)}"
    yield f"{verdict.known} packages audited, {len(verdict.found)} vulnerabilities"


def main() -> int:
    """Audit the parts together, and what is resolved by itself alone: its versions may differ."""
    ignored, today = read_ignored(IGNORED.read_text()), datetime.now(UTC).date()
    verdicts = []
    for names in (PARTS, *((name,) for name in ALONE)):
        verdict = audited([FOLDER / f"{name}.txt" for name in names], ignored, today)
        if verdict is None:
            sys.stdout.write("NOT AUDITED: no service for known vulnerabilities answers here\n")
            break
        sys.stdout.writelines(f"{line}\n" for line in lines(verdict))
        verdicts.append(verdict)
    return int(any(verdict.found for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
