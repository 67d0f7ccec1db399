"""Ends the processes that a Ray of ours left behind when its command was killed.

Most of Ray's processes end with their raylet. But HAProxy continues to answer on the page's port,
and two agents stay. Each Ray of ours has a folder that names its owner. A process belongs to that
Ray if its arguments name the folder, or if it has a file in the folder open. The environment is no
evidence, because brokers and databases inherit it too.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

#: Prefix of the folders of our Rays, which lie in `folder_of_rays`.
PREFIX = "ps-"
# A socket's path has at most 104 characters on macOS and 108 on Linux. HAProxy's, while it makes
# them, have up to 96 more than this folder: Ray names each node by 56 of them.
_LONGEST_FOLDER = 7
_SHORT_FOLDER = "/tmp"  # mkdtemp makes a folder of its own there, with 0700
_OWNER = "owner"
# Name prefixes of Ray's processes. A program that reads a Ray log also has it open, and must not be
# ended.
_RAYS = ("ray::", "python", "raylet", "gcs_server", "haproxy")


def folder_of_rays() -> Path:
    """Return the folder that has the folders of our Rays: TMPDIR's, or /tmp where that is too long.

    macOS's own has some 50 characters.
    """
    folder = tempfile.gettempdir()
    return Path(folder if len(folder) <= _LONGEST_FOLDER else _SHORT_FOLDER)


def write_owner(folder: Path) -> None:
    """Note that this process owns ``folder``, by id and start time. After a reboot another process
    may have the id.
    """
    me = psutil.Process()
    (folder / _OWNER).write_text(f"{me.pid} {me.create_time()}")


def sweep(temporary: Path) -> int:
    """Kill the processes of Rays below ``temporary`` whose owner is gone, and remove their folders.

    Return the number of killed processes.
    """
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
    """Return the processes of the Ray with its files in ``folder``, except this one, which may be
    its driver.
    """
    others = (process for process in psutil.process_iter() if process.pid != os.getpid())
    return [process for process in others if _is_of(process, folder)]


def wait_for_end(processes: Iterable[psutil.Process], timeout_s: float = 10.0) -> None:
    """Wait until all processes have ended, and not much longer than ``timeout_s`` in total."""
    deadline = time.monotonic() + timeout_s
    for process in processes:
        # psutil 7.2 raises OSError (from pidfd_open: ENOENT, before Linux 6.16 EINVAL) for a
        # process that has ended, if its id is by then a thread of another process. With 32,768 ids
        # that is not rare: seen after 40 restarts.
        with contextlib.suppress(psutil.Error, OSError):
            process.wait(max(deadline - time.monotonic(), 0.0))


def _is_ours(folder: Path) -> bool:
    # In a folder that every user may write to, another user could name an owner, and so have our
    # processes ended.
    return folder.lstat().st_uid == os.geteuid() and not folder.is_symlink()


def _is_abandoned(folder: Path) -> bool:
    try:
        if not _is_ours(folder):
            return False
        pid, created = (folder / _OWNER).read_text().split()
        owner = psutil.Process(int(pid))
        is_another = abs(owner.create_time() - float(created)) > 1
        return is_another or owner.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (OSError, ValueError, psutil.Error):
        return False  # not readable, so not known to be abandoned


def _is_of(process: psutil.Process, folder: Path) -> bool:
    inside = f"{folder}/"
    try:
        if not process.name().startswith(_RAYS):
            return False
        # Ray's agents have neither arguments nor an environment left, because their process titles
        # overwrite both.
        named = any(inside in argument for argument in process.cmdline())
        return named or any(file.path.startswith(inside) for file in process.open_files())
    except psutil.Error:
        return False
