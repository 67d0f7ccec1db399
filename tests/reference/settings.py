"""Generate the tables of settings and .env.example from `ingest.settings`."""

import textwrap
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from ingest import settings
from tests.reference.markdown import code, table

_HEAD = """\
# Every setting with its default. Copy to .env and uncomment what differs.
# The environment wins over .env.
# A wrong value is one line that names the variable, the value and what is accepted (exit code 2).
# Written by `make reference` from ingest/settings.py.
"""
_WIDTH = 119
_KINDS = {"boolean": "`true`, `false`", "integer": "whole number", "number": "number"}
#: Above this, a limit only keeps a number within what the database takes.
_UNBOUNDED = 2**53

Group = type[settings._Environment]


def groups() -> list[Group]:
    """Return the classes of settings in the order of the file."""
    base = settings._Environment
    found = [one for one in vars(settings).values() if isinstance(one, type)]
    return [one for one in found if issubclass(one, base) and one is not base]


def variables(group: Group) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the name and the field of each variable of a group, without those that it inherits."""
    for name, field in group.model_fields.items():
        if name in group.__annotations__:
            yield str(field.alias), field


def written(value: Any) -> str:
    """Return a default as it is written in .env."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def tables() -> str:
    """Return a heading and a table for each group."""
    return "\n\n".join(_section(group) for group in groups())


def _section(group: Group) -> str:
    schemas = group.model_json_schema(by_alias=True)["properties"]
    rows = [
        (
            code(name),
            code(written(field.default)),
            accepted(schemas[name]),
            field.description or "",
        )
        for name, field in variables(group)
    ]
    head = f"## {group.title}\n\nRead by {group.read_by}."
    return f"{head}\n\n{table(('variable', 'default', 'accepted', 'meaning'), rows)}"


def accepted(schema: dict[str, Any]) -> str:
    """Return in words what a JSON schema accepts."""
    if choices := schema.get("enum"):
        return ", ".join(map(code, choices))
    if pattern := schema.get("pattern"):
        return code(pattern)
    return f"{_KINDS.get(schema['type'], 'text')} {bounds(schema)}".strip()


def bounds(schema: dict[str, Any]) -> str:
    """Return the range of a JSON schema; nothing where there is none."""
    if "minimum" in schema and schema.get("maximum", _UNBOUNDED) < _UNBOUNDED:
        return f"{_number(schema['minimum'])} to {_number(schema['maximum'])}"
    if "minimum" in schema:
        return f"from {_number(schema['minimum'])}"
    if "exclusiveMinimum" in schema:
        return f"above {_number(schema['exclusiveMinimum'])}"
    return f"of at most {_number(schema['maxLength'])} characters" if "maxLength" in schema else ""


def _number(value: float) -> str:
    # pydantic gives whole bounds as floats within a union.
    return f"{int(value) if value == int(value) else value:,}"


def env_example() -> str:
    """Return the text of .env.example. A variable that two groups have stands in the first."""
    seen: set[str] = set()
    blocks = [_HEAD]
    for group in groups():
        rule = f"# --- {group.title} "
        lines = [f"{rule}{'-' * (_WIDTH - len(rule))}", ""]
        for name, field in variables(group):
            if name not in seen:
                seen.add(name)
                lines += [*_commented(_about(field)), f"#{name}={written(field.default)}"]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _about(field: FieldInfo) -> str:
    choices = ", ".join(get_args(field.annotation))
    return f"{field.description}: {choices}" if choices else str(field.description)


def _commented(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")
