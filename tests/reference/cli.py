"""Generate the reference of the command line from click's own commands."""

import inspect
from collections.abc import Iterator

import click

from serve.cli.main import command
from tests.reference.markdown import code, table

PROGRAM = "purple-sector"


Found = tuple[click.Command, click.Context]


def walk(one: click.Command, parent: click.Context | None = None) -> Iterator[Found]:
    """Yield a command and all commands below it, each with its context."""
    context = click.Context(one, parent=parent, info_name=one.name if parent else PROGRAM)
    yield one, context
    if isinstance(one, click.Group):
        for name in one.list_commands(context):
            below = one.get_command(context, name)
            assert below is not None
            yield from walk(below, context)


def overview() -> str:
    """Return a table of the commands that do something, with the first sentence of each."""
    rows = [(_link(context), one.get_short_help_str(limit=200)) for one, context in _leaves()]
    return table(("command", "what it does"), rows)


def commands() -> str:
    """Return a section for each command: usage, help, arguments and options."""
    return "\n\n".join(_section(one, context) for one, context in _leaves())


def _leaves() -> list[Found]:
    return [found for found in walk(command) if not isinstance(found[0], click.Group)]


def _section(one: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *one.collect_usage_pieces(context)])
    options = [param for param in one.get_params(context) if isinstance(param, click.Option)]
    records = filter(None, [option.get_help_record(context) for option in options])
    rows = [(code(name), about) for name, about in records if not name.endswith("--help")]
    parts = [f"## {context.command_path}", f"```text\n{usage}\n```", _text(one)]
    return "\n\n".join([*parts, table(("option", "meaning"), rows)] if rows else parts)


def _text(one: click.Command) -> str:
    return inspect.cleandoc(one.help or "").replace("\b\n", "")


def _link(context: click.Context) -> str:
    path = context.command_path
    return f"[`{path.removeprefix(f'{PROGRAM} ')}`](#{path.replace(' ', '-')})"
