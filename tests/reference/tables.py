"""Generate the tables of the store from the comments of ingest/store/schema/schema.sql."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.paths import ROOT
from tests.reference.markdown import code, table

_SCHEMA = ROOT / "ingest" / "store" / "schema" / "schema.sql"
_TABLE = re.compile(
    r"(?P<about>(?:--[^\n]*\n)*)CREATE TABLE IF NOT EXISTS (?P<name>\w+) \((?P<body>.*?)\n\);",
    re.DOTALL,
)
_ALTERED = re.compile(r"ALTER TABLE (?P<name>\w+)(?P<body>(?:\s+ADD COLUMN [^\n]*)+)")
_COLUMN = re.compile(r'"?(?P<name>[a-z]\w*)"? (?P<rest>[^-]*(?:-(?!-)[^-]*)*)(?:-- (?P<about>.*))?')
_RULE = re.compile(r"\b(?:NOT NULL|NULL|DEFAULT|GENERATED|PRIMARY|UNIQUE|CHECK)\b.*")
_CONSTRAINT = ("PRIMARY", "UNIQUE", "CHECK")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column as the schema has it."""

    name: str
    type: str
    about: str


@dataclass(frozen=True, slots=True)
class StoreTable:
    """A table as the schema has it."""

    name: str
    about: str
    columns: list[TableColumn]


def store_tables() -> list[StoreTable]:
    """Return the tables that schema.sql creates, with the columns that later versions added."""
    schema = _SCHEMA.read_text(encoding="utf-8")
    added = {found["name"]: found["body"] for found in _ALTERED.finditer(schema)}
    return [
        StoreTable(name, _words(about), _all(body, added.get(name, "")))
        for about, name, body in _TABLE.findall(schema)
    ]


def tables() -> str:
    """Return a section for each table, with its columns."""
    return "\n\n".join(_section(one) for one in store_tables())


def _section(one: StoreTable) -> str:
    rows = [(code(column.name), column.type, column.about) for column in one.columns]
    columns = table(("column", "type", "meaning"), rows)
    return "\n\n".join(filter(None, [f"### {one.name}", one.about, columns]))


def _all(*bodies: str) -> list[TableColumn]:
    """Return the columns of a table; one that is created and added stands where it is created."""
    found: dict[str, TableColumn] = {}
    for column in (column for body in bodies for column in _columns(body)):
        found.setdefault(column.name, column)
    return list(found.values())


def _columns(body: str) -> Iterator[TableColumn]:
    for line in map(str.strip, body.replace("ADD COLUMN IF NOT EXISTS", "").splitlines()):
        found = _COLUMN.match(line)
        if found and not line.startswith(_CONSTRAINT):
            kind = _RULE.sub("", found["rest"]).strip(" ,;")
            yield TableColumn(found["name"], kind, (found["about"] or "").strip())


def _words(comment: str) -> str:
    return " ".join(line.removeprefix("--").strip() for line in comment.splitlines())
