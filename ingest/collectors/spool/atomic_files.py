"""Writes files that outlive a power cut, whole or not at all, and locks files until the process
ends.
"""

import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


#: The errors of a lock that another holder has; Windows and network disks use errors of their own.
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file: after a crash or a power cut it is the old one or the new one. Raises
    OSError.
    """
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk. Windows has no such call; its file system keeps the
    names.
    """
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(path: Path) -> BinaryIO | None:
    """Lock the file for as long as it is open; return None where another process or open file has
    the lock.

    Raises OSError, also where a disk knows no locks: there the lock's state is not known.
    """
    file = path.open("ab")
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as refused:
        file.close()
        if refused.errno in _HELD:
            return None
        raise
    return file
