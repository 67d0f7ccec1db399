"""Keeps fetched files in the cache folder, so that they are fetched only once.

Rule: an entry gets its name only once it is complete.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ingest.cancellation import Cancelled, Stopped, never

_LOOK_EVERY_S = 0.1


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of downloads: PURPLE_SECTOR_CACHE, else the user's cache folder."""
    if chosen := environ.get("PURPLE_SECTOR_CACHE"):
        return Path(chosen)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "purple-sector"


def entry(name: str, cache: Path | None = None) -> Path:
    """Return the folder of that name in ``cache``; None means the user's cache."""
    return (cache or cache_folder(os.environ)) / name


def filled(folder: Path, fill: Callable[[Path], None], *, cancelled: Cancelled = never) -> Path:
    """Return ``folder``, and let ``fill`` fill it first if it is absent. One process fills; others
    wait.

    ``fill`` gets an empty folder beside it, which is removed if it raises. Raises Stopped where the
    wait for another process is ``cancelled``.
    """
    if folder.is_dir():
        return folder
    with _one_at_a_time(folder, cancelled):
        if not folder.is_dir():
            _fill(folder, fill)
    return folder


def _fill(folder: Path, fill: Callable[[Path], None]) -> None:
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was killed
    unfinished.mkdir(parents=True)
    try:
        fill(unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def _one_at_a_time(folder: Path, cancelled: Cancelled) -> Iterator[None]:
    """Hold the lock of this entry; the kernel releases it if we are killed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        while not _locked(lock.fileno()):
            if cancelled():
                raise Stopped
            time.sleep(_LOOK_EVERY_S)
        yield


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
