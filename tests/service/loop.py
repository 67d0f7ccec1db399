"""Disks that can be filled or lose their power: a small tmpfs, and a file system in a file. Both
need to be root.
"""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

# The ioctl that stops an ext4 at once, as if the power had gone: what was not synced is not
# written, the journal included.
_SHUTDOWN, _WITHOUT_LOG = 0x8004587D, 2


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Path]:
    """A tmpfs of that size."""
    folder.mkdir()
    _mount(["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)])
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))  # a test that fails leaves files open


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no room on the disk, until the block ends."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    try:
        yield
    finally:
        ballast.unlink()


class PowerSupply:
    """Of the disk at ``folder``; `cut`, end whoever writes there, then `restore`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._image = folder, folder.with_suffix(".image")
        folder.mkdir()
        self._mounted = False

    def __enter__(self) -> Self:
        with self._image.open("wb") as image:
            image.truncate(32 << 20)
        _run("mkfs.ext4", "-q", "-F", str(self._image))
        self.restore()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._mounted:
            _run("umount", "--lazy", str(self.folder))  # a test that fails leaves files open

    def cut(self) -> None:
        """Nothing that is not on the disk now will ever be."""
        disk = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(disk, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
        finally:
            os.close(disk)

    def restore(self) -> None:
        """The PC starts again."""
        if self._mounted:
            _run("umount", str(self.folder))
            self._mounted = False
        _mount(["-o", "loop", str(self._image), str(self.folder)])
        self._mounted = True


def _mount(arguments: list[str]) -> None:
    try:
        _run("mount", *arguments)
    except (OSError, subprocess.CalledProcessError) as refused:
        pytest.skip(f"cannot mount: {getattr(refused, 'stderr', None) or refused}")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
