"""`purple-sector access` prints a key once, stores its digest, and removes what it is asked to."""

import pytest
from click.testing import CliRunner, Result

from serve.bridge.access.key_file import KeyLogins, read_keys
from serve.cli.access.commands import access


def last_line(done: Result) -> str:
    """What it prints, behind the audit log, which goes elsewhere once logging is set up."""
    return done.stdout.splitlines()[-1]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTH_KEYS_FILE", str(tmp_path / "keys"))
    return tmp_path / "keys"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(access, arguments)


def test_printed_key_logs_in_and_is_stored_nowhere(file) -> None:
    key = last_line(run("add", "ann", "--role", "driver"))

    assert KeyLogins(file).authenticate(key, 0.0).name == "ann"
    assert key not in file.read_text()
    assert key not in run("list").output
    assert [path.name for path in file.parent.iterdir() if key in path.read_text()] == []


def test_list_shows_names_roles_and_ids(file) -> None:
    run("add", "ann", "--role", "driver")
    run("add", "bea", "--role", "operator")
    words = [line.split() for line in run("list").stdout.splitlines()]

    assert [line[:2] for line in words[1:]] == [["ann", "driver"], ["bea", "operator"]]
    assert [line[2] for line in words[1:]] == [entry.key_id for entry in read_keys(file)]


def test_one_key_or_all_keys_of_a_name_are_removed(file) -> None:
    for _ in range(3):
        run("add", "ann", "--role", "driver")
    run("add", "bea", "--role", "driver")
    first = read_keys(file)[0]

    removed = run("remove", "ann", "--key", first.key_id)
    assert last_line(removed) == f"removed: {first.key_id}"
    assert len(read_keys(file)) == 3
    run("remove", "ann")
    assert [entry.name for entry in read_keys(file)] == ["bea"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("remove", "nobody"), "nobody has no key"),
        (("remove", "ann", "--key", "0123"), "ann has no key 0123"),
    ],
)
def test_what_is_not_there_is_not_removed(file, arguments, words) -> None:
    run("add", "ann", "--role", "driver")
    before = file.read_bytes()

    assert words in str(run(*arguments).exception)
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["a b", "", "ann\nroot operator", "ä", "x" * 101])
def test_odd_name_is_refused(file, name: str) -> None:
    assert run("add", name, "--role", "driver").exit_code == 2
    assert not file.exists()


def test_file_has_to_be_named(monkeypatch) -> None:
    monkeypatch.delenv("AUTH_KEYS_FILE", raising=False)
    assert "AUTH_KEYS_FILE" in str(run("list").exception)
