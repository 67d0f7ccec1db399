"""Build Markdown tables, and replace the generated parts of a page."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

_PART = re.compile(
    r"<!-- generated: (?P<name>[\w ]+) -->\n"
    r"(?P<body>.*?)<!-- /generated -->",
    re.DOTALL,
)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Bars and line breaks in cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |".replace("|  |", "| |") for line in lines)


def code(text: str) -> str:
    """Return text as code; nothing for an empty one."""
    return f"`{text}`" if text else ""


def replaced(page: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """Return a page with those of its generated parts that ``parts`` knows."""

    def new(found: re.Match[str]) -> str:
        name = found["name"]
        body = f"\n{parts[name]()}\n\n" if name in parts else found["body"]
        return f"<!-- generated: {name} -->\n{body}<!-- /generated -->"

    return _PART.sub(new, page)


def names(page: str) -> list[str]:
    """Return the names of a page's generated parts."""
    return [found["name"] for found in _PART.finditer(page)]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
