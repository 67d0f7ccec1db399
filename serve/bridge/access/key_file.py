"""Keeps the file AUTH_KEYS_FILE: the page reads it, and `purple-sector access` changes it.

The rule: a file that others can read, or that is wrong, lets nobody in (fail closed).
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from ingest.errors import PurpleSectorError
from serve.bridge.access.callers import Caller, NotAuthenticated, Refusal
from serve.bridge.access.keys import InvalidKeyList, KeyEntry, caller_with, parse_keys

log = structlog.get_logger()

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MOST_BYTES = 1_000_000


class KeyFileError(PurpleSectorError):
    """The file of keys cannot be used."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"AUTH_KEYS_FILE={path}: {problem}")
        self.path = path


def read_keys(path: Path) -> tuple[KeyEntry, ...]:
    """Return the entries of the file. Raises KeyFileError."""
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                raise KeyFileError(path, "other users may read or change it: chmod 600 ends that")
            return parse_keys(file.read(_MOST_BYTES))
    except FileNotFoundError:
        raise KeyFileError(path, "there is none; purple-sector access add makes it") from None
    except (OSError, UnicodeDecodeError) as failure:
        raise KeyFileError(path, f"cannot be read: {type(failure).__name__}") from None
    except InvalidKeyList as wrong:
        raise KeyFileError(path, str(wrong)) from None


def change_keys(path: Path, change: Callable[[Sequence[KeyEntry]], Sequence[KeyEntry]]) -> None:
    """Replace the entries by those that ``change`` returns, or leave all as it was.

    Comments are dropped. A reader sees the old file or the new one. Raises KeyFileError.
    """
    with _locked(path):
        entries = read_keys(path) if path.exists() else ()
        lines = [f"{entry}\n" for entry in change(entries)]
        draft = path.with_name(f".{path.name}.draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock beside the file, so that two commands lose no change of each other."""
    import fcntl

    try:
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as failure:
        raise KeyFileError(path, f"cannot be written: {failure.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class KeyLogins:
    """Implements AUTH_MODE=keys. The file is read again after every change of it."""

    required = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._entries: tuple[KeyEntry, ...] | None = None
        self._known: frozenset[tuple[str, str, str]] = frozenset()

    def authenticate(self, credential: str, now_s: float) -> Caller:
        """Return the caller who has this key. Raises NotAuthenticated."""
        self._refresh()
        if self._entries is None:
            raise NotAuthenticated(Refusal.KEYS_UNAVAILABLE)
        return caller_with(credential, self._entries)

    def still_valid(self, caller: Caller, now_s: float) -> bool:
        """Return whether the caller's key is in the file, with the same name and role."""
        self._refresh()
        return (caller.name, caller.role, caller.key_id) in self._known

    def start(self) -> None:
        """Do nothing: the file is read when it is needed."""

    def stop(self) -> None:
        """Do nothing."""

    def _refresh(self) -> None:
        if (stamp := _stamp_of(self._path)) == self._stamp and stamp is not None:
            return
        self._stamp = stamp
        try:
            self._entries = read_keys(self._path)
        except KeyFileError as wrong:
            if self._entries is not None or stamp is not None:
                log.error("keys_unavailable", problem=str(wrong))
            self._entries = None
        self._known = frozenset((e.name, e.role, e.key_id) for e in self._entries or ())


def _stamp_of(path: Path) -> tuple[int, ...] | None:
    """Return what changes with the file's content or rights; None without a file."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino, seen.st_mode)
