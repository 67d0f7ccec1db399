"""End what a Ray of ours left behind when the command that started it was killed.

Ray's processes end with their raylet, but not all: HAProxy goes on to answer on the page's port, and two agents stay. Each Ray of
ours has a folder that names its owner; processes belong to it that name that folder in their arguments, or have a file in it open. Their
environment says nothing: brokers and databases inherit it too.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

#: How the folders of our Rays begin, in the system's folder for temporary files.
PREFIX = "ps-"
_OWNER = "owner"
# Whoever reads a log of Ray's has it open as well, and is not ended.
_RAYS = ("ray::", "python", "raylet", "gcs_server", "haproxy")


def write_owner(folder: Path) -> None:
    """Note that this process owns ``folder``; a process id alone may be another's after a reboot."""
    me = psutil.Process()
    (folder / _OWNER).write_text(f"{me.pid} {me.create_time()}")


def sweep(temporary: Path) -> int:
    """Kill the processes of Rays below ``temporary`` whose owner is gone, remove their folders, and return how many were killed."""
    abandoned = [folder for folder in temporary.glob(f"{PREFIX}*") if _is_abandoned(folder)]
    left = [process for folder in abandoned for process in processes_of(folder)]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    wait_for_end(left)
    for folder in abandoned:
        shutil.rmtree(folder, ignore_errors=True)
    return len(left)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the processes of the Ray whose files are in ``folder``, but for this one, which may be its driver."""
    others = (process for process in psutil.process_iter() if process.pid != os.getpid())
    return [process for process in others if _is_of(process, folder)]


def wait_for_end(processes: Iterable[psutil.Process], timeout_s: float = 10.0) -> None:
    """Wait until these have ended, and not much longer than ``timeout_s`` in all."""
    deadline = time.monotonic() + timeout_s
    for process in processes:
        # psutil 7.2 raises OSError (from pidfd_open: ENOENT, before Linux 6.16 EINVAL) where the id of a process that has
        # ended is a thread of another one by now. Of 32,768 ids that is not rare: seen after 40 restarts.
        with contextlib.suppress(psutil.Error, OSError):
            process.wait(max(deadline - time.monotonic(), 0.0))


def _is_abandoned(folder: Path) -> bool:
    try:
        # In a folder that everybody may write to, others could name an owner and have processes of ours ended.
        if folder.lstat().st_uid != os.geteuid() or folder.is_symlink():
            return False
        pid, created = (folder / _OWNER).read_text().split()
        owner = psutil.Process(int(pid))
        return abs(owner.create_time() - float(created)) > 1 or owner.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (OSError, ValueError, psutil.Error):
        return False  # not ours to judge


def _is_of(process: psutil.Process, folder: Path) -> bool:
    inside = f"{folder}/"
    try:
        if not process.name().startswith(_RAYS):
            return False
        # Ray's agents have neither arguments nor an environment left, for their titles are written over both.
        named = any(inside in argument for argument in process.cmdline())
        return named or any(file.path.startswith(inside) for file in process.open_files())
    except psutil.Error:
        return False
