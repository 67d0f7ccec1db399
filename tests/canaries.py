"""Secrets of fixtures, searched for where none may be: in what a test prints, and in the command
lines of all processes; `tests.conftest` does both after each test.
"""

from collections.abc import Iterable
from pathlib import Path

_SECRETS: set[str] = set()
_SHORTEST = 8  # what is shorter may stand anywhere by chance


def secret(text: str) -> str:
    """Have ``text`` searched for from now on, and return it."""
    assert len(text) >= _SHORTEST, "too short to be told from other text"
    _SECRETS.add(text)
    return text


def is_in(text: str) -> bool:
    """Whether any of the secrets is."""
    return any(one in text for one in _SECRETS)


def command_lines_with_one() -> list[int]:
    """The processes whose arguments have a secret: everybody on the machine may list those."""
    if not _SECRETS:
        return []
    return [
        int(file.parent.name)
        for file in Path("/proc").glob("[0-9]*/cmdline")
        if is_in(_text_of(file))
    ]


def files_with_one(files: Iterable[Path]) -> list[Path]:
    """Those of the files that have a secret."""
    return [file for file in files if _SECRETS and is_in(_text_of(file))]


def _text_of(file: Path) -> str:
    try:
        return file.read_bytes().decode(errors="replace")
    except OSError:
        return ""  # it has ended, or was removed
