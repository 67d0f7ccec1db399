"""Find every command, SQL statement and Python program in README.md, CONTRIBUTING.md and docs/.

A block says by its language what it is; code in a sentence is a command where it begins with a
program's name, or with a command of ``purple-sector`` and something behind it.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from serve.cli.main import command
from tests.paths import ROOT

PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PROGRAMS = re.compile(
    r"(\.venv/bin/)?(purple-sector|python|pip|make|docker|ray|kafka-[\w-]+(\.sh)?|psql|pg_\w+|createdb)\b"
)
_MARKDOWN = MarkdownIt("commonmark").enable("table")
#: ``start|stop`` in a sentence stands for two commands.
_EITHER = re.compile(r"^[a-z]+(\|[a-z]+)+$")


@dataclass(frozen=True, slots=True)
class Snippet:
    """Code of a page, with the language of its block; a sentence's code has the language sh."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> list[Snippet]:
    """Return the code blocks of all pages. An indented block has no language."""
    return [
        Snippet(_name(page), (token.map or [0])[0] + 1, token.info.strip(), token.content)
        for page in PAGES
        for token in _tokens(page)
        if token.type in {"fence", "code_block"}
    ]


def blocks_in(language: str) -> list[Snippet]:
    """Return the code blocks in a language."""
    return [block for block in blocks() if block.language == language]


def commands() -> list[Snippet]:
    """Return every command of the pages, one a snippet, without comments."""
    found = [
        Snippet(block.page, block.line, "sh", line)
        for block in blocks_in("sh")
        for line in block.text.replace("\\\n", " ").splitlines()
        if shlex.split(line, comments=True)
    ]
    return found + [span for span in _spans() if _is_command(span.text)]


def steps(page: Path, section: str) -> list[str]:
    """Return the commands of the first block of a section of a page."""
    tokens = _tokens(page)
    (begin,) = (i for i, token in enumerate(tokens) if token.content == section)
    block = next(token for token in tokens[begin:] if token.type == "fence")
    return block.content.splitlines()


def words(text: str) -> list[list[str]]:
    """Return the words of a command: several commands where it has ``start|stop``."""
    split = shlex.split(text, comments=True)
    choices = [word.split("|") if _EITHER.match(word) else [word] for word in split]
    return [list(one) for one in product(*choices)]


def _is_command(text: str) -> bool:
    first, *others = text.split()
    return bool(others) and (bool(PROGRAMS.match(first)) or first in command.commands)


def _spans() -> Iterator[Snippet]:
    for page in PAGES:
        for token in _tokens(page):
            for child in token.children or []:
                if child.type == "code_inline" and child.content.strip():
                    yield Snippet(_name(page), (token.map or [0])[0] + 1, "sh", child.content)


def _tokens(page: Path) -> list[Token]:
    return _MARKDOWN.parse(page.read_text(encoding="utf-8"))


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()
