"""Finds the system that ``purple-sector up`` or ``demo`` started on this machine.

Its services take ports from the kernel, so others look their addresses up in a note. Values in the
environment win. Rule: a note is valid while its writer holds the lock in the same folder. After a
crash or a reboot another process may have the process id of the note.
"""

import json
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Instance:
    """A system on this machine: its first process and its addresses."""

    pid: int
    page: str
    brokers: str
    database_url: str
    replication: int = 1
    tls_certificate: str = ""
    tls_key: str = ""  # the path

    @classmethod
    def find(cls, state_folder: Path) -> Self | None:
        """Return the running instance. None if there is none, or only the note of a killed one."""
        try:
            running = cls(**json.loads(note_in(state_folder).read_text()))
            os.kill(running.pid, 0)
        except (OSError, ValueError, TypeError):
            return None
        return None if _is_free(state_folder) else running

    def export_to(self, environ: MutableMapping[str, str]) -> None:
        """Set the addresses that the environment lacks."""
        if environ.setdefault("KAFKA_BROKERS", self.brokers) == self.brokers:
            environ.setdefault("KAFKA_REPLICATION", str(self.replication))
        environ.setdefault("DATABASE_URL", self.database_url)


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the note and, by default, the data: PURPLE_SECTOR_HOME, else the user's
    state folder.
    """
    if home := environ.get("PURPLE_SECTOR_HOME"):
        return Path(home)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # PostgreSQL refuses to run as root. It runs as another user, which cannot enter root's
        # home.
        return Path("/var/lib/purple-sector")
    base = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "purple-sector"


def note_in(folder: Path) -> Path:
    """Return the path of the note in a state folder."""
    return folder / "running.json"


def lock_in(folder: Path) -> Path:
    """Return the path of the lock in a state folder."""
    return folder / "running.lock"


def try_lock(lock: int, how: int) -> bool:
    """Take a lock on an open file, by descriptor, if it is free; ``how`` is LOCK_EX or LOCK_SH of
    `fcntl`.
    """
    import fcntl

    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(state_folder: Path) -> bool:
    """Return whether a lock exists that no process holds. The check shares the lock, and excludes
    no other check.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where no system of ours runs
        return True
    try:
        with lock_in(state_folder).open() as lock:
            return try_lock(lock.fileno(), fcntl.LOCK_SH)
    except FileNotFoundError:
        return False
