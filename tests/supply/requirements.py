"""Write ``requirements/``: the packages of each part, with the SHA-256 of every file of a version.

``make requirements`` runs it. uv resolves once, for all systems and Pythons that the project
supports; a package stands in the first part that needs it, so parts are installed together.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.paths import ROOT

FOLDER = ROOT / "requirements"
# Each needs those before it. The first is the project without an extra: what a game PC has.
PARTS = (
    "collector",
    "analyst",
    "cluster",
    "embedded",
    "notebooks",
    "dev",
    "docs",
    "aws",
)
# Each is whole by itself: what builds the project, and the tools of `make sbom|audit|requirements`.
ALONE = ("build", "tools")

_HEADER = "# Written by `make requirements`. Hashes are of all files of a version.\n"
_ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==\S.*?(?=^[A-Za-z0-9]|\Z)", re.MULTILINE | re.DOTALL)


def normal(name: str) -> str:
    """The name of a package as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(text: str) -> dict[str, str]:
    """Each package of a locked file by name: its line with version, marker and hashes."""
    return {normal(found[1]): found[0] for found in _ENTRY.finditer(text)}


def parted(whole: Mapping[str, str], needed: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The entries of ``whole`` by part: each in the first that needs it, in the order of
    ``needed``.
    """
    seen: set[str] = set()
    parts = {}
    for part, names in needed.items():
        new = set(names) - seen
        seen |= new
        parts[part] = [entry for name, entry in whole.items() if name in new]
    return parts


def locked() -> dict[str, str]:
    """The text of each file that is there."""
    return {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.txt"))}


def _compiled(*arguments: str | Path, wanted: str | None = None) -> str:
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--fork-strategy", "fewest", "--no-annotate", "--no-header"]
    ran = subprocess.run(
        [*command, *arguments], cwd=ROOT, input=wanted, capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        raise SystemExit(ran.stderr)
    return ran.stdout


def _whole(text: Mapping[str, str], upgrade: list[str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "whole.txt"
        file.write_text("".join(text.get(part, "") for part in PARTS))
        made = ["--all-extras", "pyproject.toml", "--generate-hashes", "--output-file", file]
        _compiled(*made, *upgrade)
        return file.read_text()


def _needed(whole: str) -> Iterator[tuple[str, Iterable[str]]]:
    for part in PARTS:
        extra = [] if part == "collector" else ["--extra", part]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(whole)
            file.flush()
            names = entries(_compiled("pyproject.toml", *extra, "--constraint", file.name))
        yield part, names


def _alone(name: str, text: str, upgrade: list[str]) -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = {"build": project["build-system"]["requires"], **project["dependency-groups"]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "alone.txt"
        file.write_text(text)
        made = ["-", "--generate-hashes", "--output-file", file, *upgrade]
        _compiled(*made, wanted="\n".join(groups[name]))
        return file.read_text()


def main(upgrade: list[str]) -> None:
    """Resolve and write; ``upgrade`` are uv's arguments that choose what may be newer."""
    FOLDER.mkdir(exist_ok=True)
    before = locked()
    whole = _whole(before, upgrade)
    made = parted(entries(whole), dict(_needed(whole)))
    texts = {part: "".join(lines) for part, lines in made.items()}
    texts |= {name: _alone(name, before.get(name, ""), upgrade) for name in ALONE}
    for name, text in texts.items():
        (FOLDER / f"{name}.txt").write_text(_HEADER + text)


if __name__ == "__main__":
    main(sys.argv[1:])
