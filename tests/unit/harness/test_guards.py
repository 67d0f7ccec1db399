"""The list of guards fits the code that it takes them from."""

import ast
from functools import cache

import pytest

from tests.guards import GUARDS, Guard
from tests.paths import ROOT
from tests.reference.security import PROMISES, of_line


@cache
def text_of(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


@cache
def functions_of(file: str) -> set[str]:
    nodes = ast.walk(ast.parse(text_of(file)))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.line)
def test_guard_is_where_the_list_has_it_and_its_test_exists(guard: Guard) -> None:
    """``make guards`` takes an hour; what has moved is found here."""
    assert text_of(guard.file).count(guard.text) == 1
    file, _, test = guard.test.partition("[")[0].partition("::")
    assert not test or test in functions_of(file)
    assert (ROOT / file).is_file()


def test_guards_have_names_of_their_own() -> None:
    names = [guard.line for guard in GUARDS]
    assert sorted(set(names)) == sorted(names)


def test_every_promise_has_a_check() -> None:
    assert [line for line in PROMISES if not list(of_line(line))] == []
    assert {guard.line.partition(" ")[0] for guard in GUARDS} <= PROMISES.keys()
