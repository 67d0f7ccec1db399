"""Where the system that `up` or `demo` started on this machine can be found.

Its services take ports from the kernel, so other commands look their addresses up here. What the environment says wins.
"""

import json
import os
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Running:
    """A system on this machine: its first process and its addresses."""

    pid: int
    page: str
    brokers: str
    database_url: str

    @classmethod
    def find(cls, state_folder: Path) -> Self | None:
        """The one that runs now; None if there is none, or only the note of one that was killed."""
        try:
            running = cls(**json.loads(_note(state_folder).read_text()))
            os.kill(running.pid, 0)
        except (FileNotFoundError, ProcessLookupError, ValueError, TypeError):
            return None
        return running

    def write(self, state_folder: Path) -> None:
        """Leave a note, for this user only, for the commands to come."""
        state_folder.mkdir(parents=True, exist_ok=True)
        draft = _note(state_folder).with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self)))
        draft.chmod(0o600)
        draft.replace(_note(state_folder))

    def offer_to(self, environ: MutableMapping[str, str]) -> None:
        """Set the addresses that the environment does not have."""
        environ.setdefault("KAFKA_BROKERS", self.brokers)
        environ.setdefault("DATABASE_URL", self.database_url)


def forget(state_folder: Path) -> None:
    """Remove the note."""
    _note(state_folder).unlink(missing_ok=True)


def state_folder(environ: MutableMapping[str, str]) -> Path:
    """Where the note lies, and by default the data: PURPLE_SECTOR_HOME, else the user's state folder."""
    if home := environ.get("PURPLE_SECTOR_HOME"):
        return Path(home)
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root and runs as another user, who can't enter root's home.
        return Path("/var/lib/purple-sector")
    base = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "purple-sector"


def _note(folder: Path) -> Path:
    return folder / "running.json"
