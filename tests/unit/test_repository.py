"""What holds for the repository as a whole: it works elsewhere, and its front door opens."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.style import measure

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


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {_normal(name): version for name, version in pairs}


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


def test_constraints_hold_names_and_versions_only() -> None:
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert [
        line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)
    ] == []
    assert len(lines) == len(_constraints()), "each name once"


def test_every_requirement_has_a_tested_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        one for extra in project["optional-dependencies"].values() for one in extra
    ]
    names = {
        _normal(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]) for requirement in wanted
    }
    assert names - _constraints().keys() == set()


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
