"""Opens and copies the three shared-memory pages of Assetto Corsa and ACC: only pages that the game
made, always whole.

Both games use the same page names, each with its own layouts. Each game's collector interprets the
bytes. Two fields are common: the static page begins with the version, and the two others begin with
the packet id. The rule to remember: nothing is created here. A process that makes a page before the
game decides its size. A game has crashed because of that.
"""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from io import FileIO
from pathlib import Path
from typing import NamedTuple, Protocol

from ingest.collectors.games.anomalies import AnomalyCounts

#: Folder in which Wine's bridges mirror the pages.
LINUX_FOLDER = Path("/dev/shm")
#: No document states how long a game takes to write a page. A page unchanged for so long is not
#: being written. At some 500 writes a second, every other copy is of such a page.
SETTLE_S = 0.001
TRIES = 20
#: Physics unchanged for so long mean a pause, or a game that has ended. In the latter case only we
#: keep its pages open.
STILL_S = 2.0


class Pages(NamedTuple):
    """The three pages of the game at one moment."""

    physics: bytes
    graphics: bytes
    static: bytes

    @property
    def version(self) -> str:
        """Return the version of the layout, which distinguishes the games: AC has "1.7", ACC "1.9".

        It is empty while no game has written.
        """
        return wide_text(self.static, 0, 15)


class PageSizes(NamedTuple):
    """Sizes in bytes of each page in a game's layout."""

    physics: int
    graphics: int
    static: int


class Page(Protocol):
    """One page, open for reading."""

    def copy(self) -> bytes:
        """Return the bytes of the page; fewer where another process made it shorter."""
        ...

    def replaced(self) -> bool:
        """Return whether the page's name now belongs to another page, or to none."""
        ...

    def close(self) -> None:
        """Close the page."""


class SharedMemory:
    """Copies the pages of whichever game is there; looks for missing pages at each snapshot.

    ``folder`` holds the pages as files; None selects the system's own place.
    ``complaints`` counts the faults of the pages.
    """

    def __init__(
        self,
        sizes: PageSizes,
        complaints: AnomalyCounts,
        *,
        folder: Path | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sizes, self._complaints, self._folder, self._sleep = sizes, complaints, folder, sleep
        self._open: list[Page] = []
        self._physics_id = self._static = b""
        self._moved_s = 0.0

    @property
    def present(self) -> bool:
        """Return whether the pages were there at the last snapshot.

        Pages that are present without a snapshot were being written the whole time.
        """
        return bool(self._open)

    def snapshot(self, now_s: float) -> Pages | None:
        """Return the pages at one moment, in a millisecond or a few.

        Return None when they are missing, were made again since the last call, or change during
        every copy. Never raises for present or missing pages.
        """
        if not self._open and not self._opened():
            return None
        pages = self._unchanging()
        if pages is None or self._moved(pages, now_s):
            return pages
        # Only a page that no process writes can be a replaced one.
        # Checking all names at each look takes as long as reading the pages.
        if any(page.replaced() for page in self._open):
            self.close()
            return None  # the game's end is seen before its next start
        return pages if now_s - self._moved_s <= STILL_S or self._opened_again(now_s) else None

    def close(self) -> None:
        """Close the pages. The next snapshot opens them again."""
        for page in self._open:
            page.close()
        self._open = []

    def _moved(self, pages: Pages, now_s: float) -> bool:
        if pages.physics[:4] == self._physics_id:
            return False
        self._physics_id, self._moved_s = pages.physics[:4], now_s
        return True

    def _opened_again(self, now_s: float) -> bool:
        self._moved_s = now_s
        self.close()
        return self._opened()

    def _opened(self) -> bool:
        for name, size in self._sizes._asdict().items():
            page = self._page(name, size)
            if page is None:
                self.close()
                return False
            self._open.append(page)
        return True

    def _page(self, name: str, size: int) -> Page | None:
        try:
            page = _open_page(name, size, self._folder)
        except FileNotFoundError:
            return None
        except OSError as refused:
            self._complaints.add(f"{name} page cannot be opened", refused.strerror or str(refused))
            return None
        if len(page.copy()) < size:
            page.close()
            self._complaints.add(f"{name} page too small", f"want {size} bytes")
            return None
        return page

    def _unchanging(self) -> Pages | None:
        """Return a copy that equals the copy a moment before, byte for byte, packet ids included.

        The pages have no lock. The packet id alone would not reveal a half-written page.
        No document states whether a game writes it first or last.
        """
        physics, graphics, static = self._open
        # The last static page was whole, and hardly ever changes.
        before = Pages(physics.copy(), graphics.copy(), self._static)
        for _ in range(TRIES):
            self._sleep(SETTLE_S)
            after = Pages(physics.copy(), graphics.copy(), static.copy())
            if tuple(map(len, after)) != self._sizes:
                self.close()  # a page was truncated: further values would be invented
                return None
            if before == after:
                self._static = after.static
                return after
            before = after
        self._complaints.add("pages changed while they were copied")
        return None


def wide_text(page: bytes, offset: int, units: int) -> str:
    """Return the string of at most ``units`` UTF-16 code units at ``offset``; stale text may follow
    its NUL.
    """
    return page[offset : offset + 2 * units].decode("utf-16-le", "replace").partition("\0")[0]


def _open_page(name: str, size: int, folder: Path | None) -> Page:
    """Open the page ``name``. Raises FileNotFoundError where no game made it."""
    if sys.platform == "win32" and folder is None:
        return MappedPage(f"Local\\acpmf_{name}", size)
    return FilePage((folder or LINUX_FOLDER) / f"acpmf_{name}", size)


class FilePage:
    """A page that is a file in memory. It is read, not mapped: a truncated file crashes the reader
    of a mapping.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size
        self._file = FileIO(path, "rb")
        self._identity = _identity(os.fstat(self._file.fileno()))
        if sys.platform != "win32":
            # Called some 400 times a second, so it goes straight to the system call.
            self.copy = partial(os.pread, self._file.fileno(), size, 0)

    if sys.platform == "win32":  # Windows has no pread

        def copy(self) -> bytes:
            """Return the bytes of the page."""
            self._file.seek(0)
            return self._file.read(self._size)

    def replaced(self) -> bool:
        """Return whether the name belongs to another page now."""
        try:
            return _identity(os.stat(self._path)) != self._identity  # noqa: PTH116 - half the cost of Path's
        except OSError:
            return True

    def close(self) -> None:
        """Close the page."""
        self._file.close()


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


if sys.platform == "win32":
    _FILE_MAP_READ = 4

    def _kernel32() -> ctypes.WinDLL:
        """Return kernel32 with the types of the functions that are called.

        Without them, a handle or an address would be cut to 32 bits and refer to something else.
        """
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        word, pointer = ctypes.c_uint32, ctypes.c_void_p
        kernel32.OpenFileMappingW.argtypes = (word, ctypes.c_int, ctypes.c_wchar_p)
        kernel32.OpenFileMappingW.restype = pointer
        kernel32.MapViewOfFile.argtypes = (pointer, word, word, word, ctypes.c_size_t)
        kernel32.MapViewOfFile.restype = pointer
        kernel32.UnmapViewOfFile.argtypes = (pointer,)
        kernel32.CloseHandle.argtypes = (pointer,)
        return kernel32

    class MappedPage:
        """A page that Windows finds by name. The standard library's mmap would create a missing
        page.
        """

        def __init__(self, name: str, size: int) -> None:
            self._kernel32, self._size = _kernel32(), size
            self._handle = self._kernel32.OpenFileMappingW(_FILE_MAP_READ, False, name)
            if not self._handle:
                raise ctypes.WinError(ctypes.get_last_error())
            self._view = self._kernel32.MapViewOfFile(self._handle, _FILE_MAP_READ, 0, 0, size)
            if not self._view:
                error = ctypes.WinError(ctypes.get_last_error())
                self._kernel32.CloseHandle(self._handle)
                raise error

        def copy(self) -> bytes:
            """Return the bytes of the page."""
            return ctypes.string_at(self._view, self._size)

        def replaced(self) -> bool:
            """Return whether the name belongs to another page now."""
            return False  # while we keep the page open, no other page can take its name

        def close(self) -> None:
            """Close the page."""
            self._kernel32.UnmapViewOfFile(self._view)
            self._kernel32.CloseHandle(self._handle)
