"""Every command of the documentation is one that the programs accept.

Nothing is run: click, the Makefile and the sources of the modules know what they accept.
`tests/service/test_documented.py` runs what is quick, and `tests/contract/test_documented_sql.py`
the SQL.
"""

import ast
import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from serve.cli.main import command
from tests.documented import Snippet, blocks, blocks_in, commands, words
from tests.paths import ROOT
from tests.reference import settings

LANGUAGES = {"sh", "sql", "python", "ini", "text", "{toctree}"}
#: What is not run here, and why.
NOT_RUN = {
    "docker compose": "needs Docker's engine; test_interop_compose.py runs what compose.yaml names",
    "ray up": "needs an account at AWS; test_cluster_config.py checks cluster.yaml",
    "ray start": "adds a machine to a cluster; tests/cluster/nodes.py does",
}
#: What a test of its own runs, which reads or names the page.
RUN_BY = {
    "kafka-acls.sh": "tests/service/secured.py",
    "kafka-configs.sh": "tests/service/secured.py",
    "kafka-consumer-groups": "tests/service/test_interop_lag.py",
    "pg_dump": "tests/service/test_backup.py",
    "pg_restore": "tests/service/test_backup.py",
    "psql": "tests/service/test_backup.py",
    "createdb": "tests/service/test_backup.py",
}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^\.PHONY: ([\w-]+)$", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^(\w+) \?=", MAKEFILE, re.MULTILINE))
#: Modules whose options a variable of the Makefile passes on.
PASSED_ON = {"SOAK_ARGS": "tests.soak", "UNSTEADY_ARGS": "tests.unsteady"}


class UnknownCommand(Exception):
    """A command that no program accepts."""


def check(snippet: Snippet) -> None:
    """Refuse a command that no machine could run. Raises UnknownCommand or ClickException."""
    if snippet.text.startswith(tuple(NOT_RUN) + tuple(RUN_BY)):
        return
    for one in words(snippet.text):
        program = Path(one[0]).name
        if program in CHECKS:
            CHECKS[program](one[1:])
        elif program in command.commands:
            check_purple_sector(one)
        else:
            raise UnknownCommand(f"{program} is neither checked nor in NOT_RUN or RUN_BY")


def check_purple_sector(arguments: list[str]) -> None:
    """Parse as click does. A sentence may leave out arguments, and the value of a last option."""
    one: click.Command = command
    context = click.Context(command, info_name="purple-sector")
    left = [word for word in arguments if not word.startswith("[") or "@" in word]
    while isinstance(one, click.Group) and left:
        name, *left = left
        below = one.get_command(context, name)
        if below is None:
            raise UnknownCommand(f"{context.command_path} has no command {name}")
        one, context = below, click.Context(below, info_name=name, parent=context)
    try:
        one.make_context(context.info_name, left, parent=context.parent)
    except (click.MissingParameter, click.BadOptionUsage) as lacking:
        if isinstance(lacking, click.BadOptionUsage) and "requires an argument" not in str(lacking):
            raise


def check_make(arguments: list[str]) -> None:
    """Refuse unknown targets, variables, and options in a variable that is passed on."""
    for word in arguments:
        name, assigned, value = word.partition("=")
        if name not in (VARIABLES if assigned else TARGETS):
            raise UnknownCommand(f"the Makefile has no {name}")
        if name in PASSED_ON:
            check_options(PASSED_ON[name], shlex.split(value))


def check_python(arguments: list[str]) -> None:
    """Refuse modules that are not there, and options that none of their sources adds."""
    flag, module, *left = arguments
    if flag != "-m" or importlib.util.find_spec(module) is None:
        raise UnknownCommand(f"python {flag} {module}: no such module")
    check_options(module, left)


def check_options(module: str, arguments: list[str]) -> None:
    """Refuse an option that the module does not add by a literal."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    origin = Path(spec.origin)
    sources = origin.parent.glob("*.py") if origin.name == "__init__.py" else [origin]
    trees = [ast.parse(source.read_text(encoding="utf-8")) for source in sources]
    literals = {
        node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)
    }
    for option in arguments:
        if option.startswith("-") and option not in literals:
            raise UnknownCommand(f"{module} has no option {option}")


def check_pip(arguments: list[str]) -> None:
    """Refuse extras that the project does not have."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for named in re.findall(r"\[([\w,]+)\]", " ".join(arguments)):
        if unknown := set(named.split(",")) - extras.keys():
            raise UnknownCommand(f"pyproject.toml has no extra {unknown}")


CHECKS = {
    "purple-sector": check_purple_sector,
    "make": check_make,
    "python": check_python,
    "pip": check_pip,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files that the pages name, as click looks for them."""
    (tmp_path / "session.parquet").touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("snippet", dict.fromkeys(commands()), ids=str)
def test_programs_accept_every_command(snippet: Snippet) -> None:
    check(snippet)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "text",
    [
        "purple-sector tell anna stop",
        "purple-sector up --broker 3",
        "purple-sector up --brokers 2",
        "dead-letters list|burn",
        "make benchmark",
        "make soak SOAK_ARGS='--hours 1'",
        "make demo CARS=2",
        "python -m tests.bench.nothing",
        "python -m tests.fuzz acc --minutes 60",
        "pip install '.[analysts]'",
        "helm install purple-sector",
    ],
)
def test_a_wrong_command_is_refused(text: str) -> None:
    with pytest.raises((UnknownCommand, click.ClickException)):
        check(Snippet("page", 1, "sh", text))


def test_every_block_has_a_language() -> None:
    """Else nobody knows whether it is a command. Indented blocks have none."""
    assert [str(block) for block in blocks() if block.language not in LANGUAGES] == []


def test_every_setting_in_a_block_exists() -> None:
    known = {name for group in settings.groups() for name, _ in settings.variables(group)}
    shown = {line.partition("=")[0] for one in blocks_in("ini") for line in one.text.split()}
    assert shown - known == set()


@pytest.mark.parametrize(("program", "test"), RUN_BY.items())
def test_what_others_run_is_in_their_tests(program: str, test: str) -> None:
    """Each names the program, or reads the page."""
    pages = {Path(one.page).name for one in commands() if one.text.startswith(program)}
    source = (ROOT / test).read_text(encoding="utf-8")
    assert [name for name in (program, *pages) if name in source]


def test_reasons_are_needed() -> None:
    """A program that no page names any longer leaves the lists."""
    texts = [snippet.text for snippet in commands()]
    assert [one for one in {**NOT_RUN, **RUN_BY} if not any(t.startswith(one) for t in texts)] == []
