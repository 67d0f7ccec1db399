"""Files that outlive a power cut: written whole or not at all, and known to their folder; and a lock that ends with its process."""

import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


#: What a lock says that somebody else has; Windows and network disks have words of their own.
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file: after a crash or a power cut it is the old one or the new one. Raises OSError."""
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make sure of the names in a folder. On Windows, which has no such call, its file system sees to them."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(path: Path) -> BinaryIO | None:
    """The file, locked for as long as it is open; None where another process, or another file of this one, has it.

    Raises OSError, also where a disk knows no locks: that nobody has it cannot be told there.
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
