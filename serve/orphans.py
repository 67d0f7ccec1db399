"""End what a Ray of ours left behind when the command that started it was killed.

Ray's processes end with their raylet, but not all: HAProxy goes on to answer on the page's port, and two agents stay. Each Ray of
ours has a folder that names its owner; processes belong to it that have its token's path in their environment, or a file in it open.
"""

import contextlib
import shutil
from pathlib import Path

import psutil

#: How the folders of our Rays begin, in the system's folder for temporary files.
PREFIX = "ps-"
_OWNER = "owner"
_TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"


def write_owner(folder: Path) -> None:
    """Note that this process owns ``folder``; a process id alone may be another's after a reboot."""
    me = psutil.Process()
    (folder / _OWNER).write_text(f"{me.pid} {me.create_time()}")


def sweep(temporary: Path) -> int:
    """Kill the processes of Rays below ``temporary`` whose owner is gone, remove their folders, and return how many were killed."""
    abandoned = [folder for folder in temporary.glob(f"{PREFIX}*") if _is_abandoned(folder)]
    left = [process for process in psutil.process_iter() if any(_is_of(process, folder) for folder in abandoned)]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=10)
    for folder in abandoned:
        shutil.rmtree(folder, ignore_errors=True)
    return len(left)


def _is_abandoned(folder: Path) -> bool:
    try:
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
        # Ray writes titles over the environment of its agents; they hold their logs open.
        named = process.environ().get(_TOKEN_PATH, "").startswith(inside)
        return named or any(file.path.startswith(inside) for file in process.open_files())
    except psutil.Error:
        return False
