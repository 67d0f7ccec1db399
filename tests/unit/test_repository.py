"""What holds for the repository as a whole: it works elsewhere, and its front door opens."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT
from tests.style import measure
from tests.supply.requirements import ALONE, PARTS, entries, locked, normal

# Written in pieces, or this file would be the first to break its own rule.
_PLACES = "|".join(["ro" + "ot", "wo" + "rk", "ho" + r"me/\w+", "opt/" + "wheels"])
MACHINE_PATH = re.compile(rf"(?<![\w.~$}}*)/-])/(?:{_PLACES})(?=/|\s|[\"'`)]|$)", re.MULTILINE)
_HOSTS = "|".join(
    [
        r"py" + r"pi\.org",
        r"python" + r"hosted\.org",
        r"npm" + r"js\.org",
        r"maven\." + r"apache\.org",
        r"maven\." + r"org",
    ]
)
REGISTRY = re.compile(rf"{_HOSTS}|{'--(?:extra-)?index-' + 'url'}|{'--find-' + 'links'}")

LOCKED_LINE = re.compile(
    r"[a-z0-9._-]+==[A-Za-z0-9.+!]+( ; [^:/]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?"
)


def _tracked() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as wrong:
        pytest.skip(f"not a git checkout: {wrong}")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def _found(pattern: re.Pattern[str]) -> list[str]:
    texts = {
        path: path.read_bytes().decode(errors="ignore")
        for path in _tracked()
        if path.suffix != ".parquet"
    }
    return [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path, text in texts.items()
        for match in pattern.finditer(text)
    ]


def test_no_file_names_a_package_registry() -> None:
    """Which index serves the packages is a setting of the machine."""
    assert _found(REGISTRY) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert _found(MACHINE_PATH) == []


@pytest.mark.parametrize("text", ["cd /" + "work/main", '"/' + 'root/.ssh"', "/" + "home/me/x"])
def test_machine_paths_are_recognised(text: str) -> None:
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize(
    "text",
    ["~/" + "work/x", "ingest/work/x", "the work/life of", "https://example.net/work/", "/api"],
)
def test_other_paths_are_not_machine_paths(text: str) -> None:
    assert not MACHINE_PATH.search(text)


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_names_the_commands_that_exist(command: str) -> None:
    assert command in (ROOT / "README.md").read_text()
    assert re.search(
        rf"^{command.removeprefix('make ')}:", (ROOT / "Makefile").read_text(), re.MULTILINE
    )


def test_locked_files_hold_names_versions_and_hashes_only() -> None:
    for part, text in locked().items():
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert [line for line in lines if not LOCKED_LINE.fullmatch(line)] == [], part
        assert len(entries(text)) == sum("==" in line for line in lines), "each name once"


def test_every_locked_package_has_a_hash() -> None:
    without = [
        name
        for text in locked().values()
        for name, entry in entries(text).items()
        if "--hash=sha256:" not in entry
    ]
    assert without == []


def test_a_package_stands_in_one_part_only() -> None:
    """Parts are installed together, and pip wants each requirement once."""
    names = [name for part in PARTS for name in entries(locked()[part])]
    assert len(names) == len(set(names))
    assert locked().keys() == {*PARTS, *ALONE}


def test_every_requirement_has_a_locked_version() -> None:
    """In its part, or in one before it."""
    project = _pyproject()["project"]
    wanted = {"collector": project["dependencies"], **project["optional-dependencies"]}
    there: set[str] = set()
    for part in PARTS:
        there |= entries(locked()[part]).keys()
        assert _names(wanted[part]) - there == set(), part
    assert wanted.keys() == set(PARTS)


def test_what_builds_and_checks_the_project_is_locked() -> None:
    project = _pyproject()
    assert _names(project["build-system"]["requires"]) == entries(locked()["build"]).keys()
    assert _names(project["dependency-groups"]["tools"]) <= entries(locked()["tools"]).keys()


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~; ]", one, maxsplit=1)[0]) for one in requirements}


def test_make_installs_by_hash_only() -> None:
    """What pip fetches is checked; the project itself is here, and has no hash."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    installs = [line for line in lines if re.match(r"\t.*(PIP_INSTALL|pip install)", line)]
    assert len(installs) > 5
    assert [
        line for line in installs if "$(call with," not in line and "$(PROJECT)" not in line
    ] == []
    assert any(line.startswith("with = --require-hashes ") for line in lines)


@pytest.mark.parametrize("folder", ["interop", "pglite"])
def test_npm_packages_are_locked_by_hash(folder: str) -> None:
    packages = json.loads((ROOT / f"tests/{folder}/package-lock.json").read_text())["packages"]
    wanted = json.loads((ROOT / f"tests/{folder}/package.json").read_text())["dependencies"]
    assert packages.pop("")["dependencies"] == wanted
    assert [name for name, one in packages.items() if "integrity" not in one] == []
    assert [name for name, one in packages.items() if "resolved" in one] == []


def test_house_style_is_within_its_limits() -> None:
    """``python -m tests.style`` prints the same figures."""
    assert [figure for figure in measure() if figure.exceeded] == []


def test_sql_that_is_put_together_is_found() -> None:
    """By the linter, with the settings of this repository (S608)."""
    code = (
        'def read(conn, key):\n    conn.execute(f"SELECT id FROM sessions WHERE key = {key!r}")\n'
    )
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--stdin-filename",
        "analytics/made_up.py",
        "-",
    ]
    found = subprocess.run(
        command, input=code, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "S608" in found.stdout
