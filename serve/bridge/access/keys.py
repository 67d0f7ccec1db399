"""Reads and writes lists of keys: a line has the name, the role and the SHA-256 of a 256-bit key.

Pure. The list holds no key: whoever reads it cannot log in with it. A name may have several keys,
so that a new one is in use before the old one is removed.
The rule: a list with one wrong line is wrong as a whole, and no line of it is valid.
"""

import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from serve.bridge.access.callers import (
    LOGIN_ROLES,
    Caller,
    NotAuthenticated,
    Refusal,
    Role,
)

#: Marks keys of this project, so that scanners for secrets find one that was published.
PREFIX = "purple_"
_KEY_BYTES = 32
_LONGEST_KEY = 200
#: The names that users of collectors may have (USER_ID).
NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ID_LETTERS = 12


class InvalidKeyList(ValueError):
    """A line of a list of keys is wrong. ``line`` counts from 1; its text is not shown."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A line of the list. ``digest`` is the SHA-256 of the key, in hexadecimal."""

    name: str
    role: Role
    digest: str

    @property
    def key_id(self) -> str:
        """Return what names this key in lists and commands."""
        return self.digest[:_ID_LETTERS]

    def __str__(self) -> str:
        return f"{self.name} {self.role.value} {self.digest}"


def new_key() -> str:
    """Return a new key of 256 random bits, as text."""
    return PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def entry_of(name: str, role: Role, key: str) -> KeyEntry:
    """Return the line for a key."""
    return KeyEntry(name, role, sha256(key.encode()).hexdigest())


def parse_keys(text: str) -> tuple[KeyEntry, ...]:
    """Return the entries of a list; empty lines and those that begin with # are comments.

    Raises InvalidKeyList.
    """
    lines = enumerate(text.splitlines(), start=1)
    entries = tuple(
        _entry(number, line.split()) for number, line in lines if line.strip() and line[0] != "#"
    )
    if len({entry.digest for entry in entries}) != len(entries):
        raise InvalidKeyList(len(text.splitlines()), "two lines have the same key")
    return entries


def _entry(line: int, words: list[str]) -> KeyEntry:
    if len(words) != 3:
        raise InvalidKeyList(line, "want a name, a role and a SHA-256")
    name, role, digest = words
    if not NAME.fullmatch(name):
        raise InvalidKeyList(line, "want 1 to 100 letters, digits, dots, dashes or _ as the name")
    if role not in {one.value for one in LOGIN_ROLES}:
        raise InvalidKeyList(line, f"want one of {', '.join(LOGIN_ROLES)} as the role")
    if not _DIGEST.fullmatch(digest):
        raise InvalidKeyList(line, "want 64 hexadecimal digits as the SHA-256")
    return KeyEntry(name, Role(role), digest)


def caller_with(key: str, entries: Sequence[KeyEntry]) -> Caller:
    """Return the caller who has this key. Raises NotAuthenticated.

    Compares with every entry in the same time, so that no time shows how much of a key was right.
    """
    if not key:
        raise NotAuthenticated(Refusal.MISSING)
    if len(key) > _LONGEST_KEY:
        raise NotAuthenticated(Refusal.TOO_LONG)
    if not key.isascii():
        raise NotAuthenticated(Refusal.MALFORMED)
    digest = sha256(key.encode()).hexdigest()
    found = [entry for entry in entries if hmac.compare_digest(entry.digest, digest)]
    if not found:
        raise NotAuthenticated(Refusal.UNKNOWN_KEY)
    return Caller(found[0].name, found[0].role, key_id=found[0].key_id)
