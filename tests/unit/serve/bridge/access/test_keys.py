"""Keys let in whoever is in the file, at once, and nobody where the file is wrong."""

import pytest

from serve.bridge.access.callers import Caller, NotAuthenticated, Role
from serve.bridge.access.key_file import KeyFileError, KeyLogins, change_keys, read_keys
from serve.bridge.access.keys import (
    PREFIX,
    InvalidKeyList,
    caller_with,
    entry_of,
    new_key,
    parse_keys,
)

# The same in every process that collects these tests.
KEY = PREFIX + "a key of nobody".replace(" ", "-") * 3
ANN = entry_of("ann", Role.DRIVER, KEY)


def refusal(call) -> str:
    with pytest.raises(NotAuthenticated) as refused:
        call()
    assert KEY not in repr(refused.value)
    return refused.value.reason.value


def test_key_has_256_bits_and_none_is_like_another() -> None:
    assert len({new_key() for _ in range(100)}) == 100
    assert all(len(new_key()) == len("purple_") + 43 for _ in range(100))


def test_list_holds_no_key() -> None:
    assert KEY not in str(ANN)
    assert parse_keys(f"# drivers\n\n{ANN}\n") == (ANN,)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "missing"),
        ("x" * 201, "too_long"),
        ("schlüssel", "malformed"),
        ("\ud800", "malformed"),
        (KEY + "-", "unknown_key"),
        (KEY[:-1], "unknown_key"),
        (KEY + "=", "unknown_key"),
        (KEY.upper(), "unknown_key"),
        (ANN.digest, "unknown_key"),
        (f"ann {KEY}", "unknown_key"),
    ],
)
def test_other_keys_are_refused_with_their_code(key: str, reason: str) -> None:
    assert refusal(lambda: caller_with(key, [ANN])) == reason


def test_key_has_name_and_role_of_its_line() -> None:
    other = entry_of("bea", Role.OPERATOR, new_key())
    assert caller_with(KEY, [other, ANN]) == Caller("ann", Role.DRIVER, key_id=ANN.key_id)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ann driver", "want a name"),
        (f"ann driver {ANN.digest} x", "want a name"),
        (f"a/n driver {ANN.digest}", "as the name"),
        (f"{'a' * 101} driver {ANN.digest}", "as the name"),
        (f"ann root {ANN.digest}", "as the role"),
        (f"ann guest {ANN.digest}", "as the role"),
        (f"ann driver {ANN.digest[:-1]}", "64 hexadecimal"),
        (f"ann driver {ANN.digest.upper()}", "64 hexadecimal"),
    ],
)
def test_wrong_line_makes_the_list_wrong(line: str, problem: str) -> None:
    with pytest.raises(InvalidKeyList, match=f"line 2: .*{problem}") as wrong:
        parse_keys(f"{ANN}\n{line}\n")
    assert ANN.digest not in str(wrong.value)


def test_two_names_cannot_share_a_key() -> None:
    with pytest.raises(InvalidKeyList, match="the same key"):
        parse_keys(f"{ANN}\n{entry_of('bea', Role.OPERATOR, KEY)}\n")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "keys"
    change_keys(path, lambda _: [ANN])
    return path


def test_file_is_for_its_user_only(file) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.stat().st_mode & 0o077 for path in file.parent.iterdir()] == [0, 0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_file_that_others_may_open_lets_nobody_in(file, mode: int) -> None:
    logins = KeyLogins(file)
    caller = logins.authenticate(KEY, 0.0)
    file.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_keys(file)
    assert refusal(lambda: logins.authenticate(KEY, 0.0)) == "keys_unavailable"
    assert not logins.still_valid(caller, 0.0)
    file.chmod(0o600)
    assert logins.authenticate(KEY, 0.0) == caller


@pytest.mark.parametrize("spoil", [b"ann root x\n", b"\xff\n"])
def test_file_that_is_wrong_or_gone_lets_nobody_in(file, spoil: bytes) -> None:
    logins = KeyLogins(file)
    logins.authenticate(KEY, 0.0)
    file.write_bytes(spoil)
    assert refusal(lambda: logins.authenticate(KEY, 0.0)) == "keys_unavailable"
    file.unlink()
    assert refusal(lambda: logins.authenticate(KEY, 0.0)) == "keys_unavailable"


def test_removed_key_is_valid_no_longer_and_the_other_key_of_its_name_is(file) -> None:
    logins, second = KeyLogins(file), new_key()
    change_keys(file, lambda entries: [*entries, entry_of("ann", Role.DRIVER, second)])
    callers = [logins.authenticate(key, 0.0) for key in (KEY, second)]
    change_keys(file, lambda entries: entries[1:])
    assert [logins.still_valid(caller, 0.0) for caller in callers] == [False, True]
    assert refusal(lambda: logins.authenticate(KEY, 0.0)) == "unknown_key"


def test_other_role_ends_what_the_old_one_began(file) -> None:
    logins = KeyLogins(file)
    caller = logins.authenticate(KEY, 0.0)
    change_keys(file, lambda _: [entry_of("ann", Role.VIEWER, KEY)])
    assert not logins.still_valid(caller, 0.0)


def test_change_that_fails_changes_nothing(file) -> None:
    before = file.read_bytes(), file.stat().st_ino
    with pytest.raises(ZeroDivisionError):
        change_keys(file, lambda _: [ANN][1 // 0 :])
    assert (file.read_bytes(), file.stat().st_ino) == before
    assert {path.name for path in file.parent.iterdir()} == {"keys", ".keys.lock"}
