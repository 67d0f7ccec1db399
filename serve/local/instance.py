"""Lets one system run on this machine, and leaves a note for other commands:
`analytics.store.instance` reads it.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from analytics.store.instance import Instance, lock_in, note_in, try_lock
from ingest.errors import PurpleSectorError


def write_note(instance: Instance, state_folder: Path) -> None:
    """Write the note for later commands, readable by this user only."""
    state_folder.mkdir(parents=True, exist_ok=True)
    draft = note_in(state_folder).with_suffix(".draft")
    draft.write_text(json.dumps(asdict(instance)))
    draft.chmod(0o600)
    draft.replace(note_in(state_folder))


def remove_note(state_folder: Path) -> None:
    """Remove the note."""
    note_in(state_folder).unlink(missing_ok=True)


@contextmanager
def single_instance(state_folder: Path, *, looks_last_s: float = 1.0) -> Iterator[None]:
    """Hold the lock, so that only this process runs the system here. Remove its note on leaving,
    when all has stopped.

    Raises PurpleSectorError if another instance holds the lock; it may still be starting. Another
    command's check also holds the lock, but for far less than ``looks_last_s``.
    """
    state_folder.mkdir(parents=True, exist_ok=True)
    with lock_in(state_folder).open("a") as lock:
        _take_lock(lock.fileno(), state_folder, looks_last_s)
        try:
            yield
        finally:
            remove_note(state_folder)


def _take_lock(file: int, state_folder: Path, within_s: float) -> None:
    import fcntl

    deadline = time.monotonic() + within_s
    while not try_lock(file, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            raise _runs_already(state_folder)
        time.sleep(0.05)


def _runs_already(state_folder: Path) -> PurpleSectorError:
    if running := Instance.find(state_folder):
        return PurpleSectorError(
            f"already running as process {running.pid}, on {running.page}; purple-sector down"
            " stops it"
        )
    return PurpleSectorError("already starting or stopping; try again when that is done")
