"""Finds the system that `up` or `demo` started on this machine.

Its services take ports from the kernel, so other commands look their addresses up here. Values in the environment win.
Rule: a note is valid while its writer holds the lock in the same folder. After a crash or a reboot another process may
have the process id of the note, and must not be stopped.
"""

import json
import os
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from ingest.errors import PurpleSectorError


@dataclass(frozen=True, slots=True)
class Instance:
    """A system on this machine: its first process and its addresses."""

    pid: int
    page: str
    brokers: str
    database_url: str
    replication: int = 1

    @classmethod
    def find(cls, state_folder: Path) -> Self | None:
        """Return the running instance. None if there is none, or only the note of a killed one."""
        try:
            running = cls(**json.loads(_note(state_folder).read_text()))
            os.kill(running.pid, 0)
        except (OSError, ValueError, TypeError):
            return None
        return None if _is_free(state_folder) else running

    def write(self, state_folder: Path) -> None:
        """Write the note for later commands, readable by this user only."""
        state_folder.mkdir(parents=True, exist_ok=True)
        draft = _note(state_folder).with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self)))
        draft.chmod(0o600)
        draft.replace(_note(state_folder))

    def offer_to(self, environ: MutableMapping[str, str]) -> None:
        """Set the addresses that the environment lacks."""
        if environ.setdefault("KAFKA_BROKERS", self.brokers) == self.brokers:
            environ.setdefault("KAFKA_REPLICATION", str(self.replication))
        environ.setdefault("DATABASE_URL", self.database_url)


@contextmanager
def the_only_one(state_folder: Path, *, looks_last_s: float = 1.0) -> Iterator[None]:
    """Hold the lock, so that only this process runs the system here. Remove its note on leaving, when all has stopped.

    Raises PurpleSectorError if another instance holds the lock; it may still be starting. Another command's check also
    holds the lock, but for far less than ``looks_last_s``.
    """
    import fcntl

    state_folder.mkdir(parents=True, exist_ok=True)
    with _lock(state_folder).open("a") as lock:
        deadline = time.monotonic() + looks_last_s
        while not _taken(lock.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise _runs_already(state_folder)
            time.sleep(0.05)
        try:
            yield
        finally:
            forget(state_folder)


def forget(state_folder: Path) -> None:
    """Remove the note."""
    _note(state_folder).unlink(missing_ok=True)


def _runs_already(state_folder: Path) -> PurpleSectorError:
    if running := Instance.find(state_folder):
        return PurpleSectorError(
            f"already running as process {running.pid}, on {running.page}; purple-sector down stops it"
        )
    return PurpleSectorError("already starting or stopping; try again when that is done")


def _is_free(state_folder: Path) -> bool:
    """Return whether a lock exists that no process holds. The check shares the lock, and excludes no other check."""
    import fcntl

    try:
        with _lock(state_folder).open() as lock:
            return _taken(lock.fileno(), fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _taken(lock: int, how: int) -> bool:
    import fcntl

    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def state_folder(environ: MutableMapping[str, str]) -> Path:
    """Return the folder of the note and, by default, the data: PURPLE_SECTOR_HOME, else the user's state folder."""
    if home := environ.get("PURPLE_SECTOR_HOME"):
        return Path(home)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # PostgreSQL refuses to run as root. It runs as another user, which cannot enter root's home.
        return Path("/var/lib/purple-sector")
    base = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "purple-sector"


def _note(folder: Path) -> Path:
    return folder / "running.json"


def _lock(folder: Path) -> Path:
    return folder / "running.lock"
