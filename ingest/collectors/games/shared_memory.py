"""The three pages in which Assetto Corsa and ACC show what they do: opened only where the game made them, copied whole.

Both games have the same page names and layouts of their own; what the bytes mean is for each game's collector to know. Shared
are the version that opens the static page and the packet id that opens the two others. The rule to remember: nothing is
created here. Who makes a page before the game does decides its size, and a game has died of that.
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

#: Where Wine's bridges mirror the pages.
LINUX_FOLDER = Path("/dev/shm")
#: Nobody says how long a game takes to write a page. What has not changed for so long, it is not writing; at some 500 writes a
#: second every other copy is one.
SETTLE_S = 0.001
TRIES = 20
#: Physics that stand still for so long: a pause, or a game that is gone and whose pages live on in our hands alone.
STILL_S = 2.0


class Pages(NamedTuple):
    """The game at one moment."""

    physics: bytes
    graphics: bytes
    static: bytes

    @property
    def version(self) -> str:
        """Of the layout, which tells the games apart: AC has "1.7", ACC "1.9"; empty while no game has written."""
        return wide_text(self.static, 0, 15)


class PageSizes(NamedTuple):
    """How many bytes of each page a game's layout has."""

    physics: int
    graphics: int
    static: int


class Page(Protocol):
    """One page, open for reading."""

    def copy(self) -> bytes:
        """What is in it; fewer bytes than asked for when somebody made it shorter."""
        ...

    def replaced(self) -> bool:
        """Whether its name is now another page's, or nobody's."""
        ...

    def close(self) -> None: ...


class SharedMemory:
    """The pages of whichever game is there; absent, they are looked for at each snapshot.

    ``folder``: where they are files; None for what the system has. What is wrong with them is counted in ``complaints``.
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
        """The pages were there at the last snapshot: without a snapshot, the game wrote all the while."""
        return bool(self._open)

    def snapshot(self, now_s: float) -> Pages | None:
        """The pages as they are at one moment; None when they are not there, were made anew since the last call, or are
        being written whenever one looks. Takes a millisecond or a few. Never raises for what is there or not.
        """
        if not self._open and not self._opened():
            return None
        pages = self._unchanging()
        if pages is None or self._moved(pages, now_s):
            return pages
        # Only a page that nobody writes can be one that was replaced. To ask for all names at each look takes as long as to read.
        if any(page.replaced() for page in self._open):
            self.close()
            return None  # the game's end is seen before its next start
        return pages if now_s - self._moved_s <= STILL_S or self._opened_again(now_s) else None

    def close(self) -> None:
        """Let go of the pages. The next snapshot opens them again."""
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
        """Two copies, a moment apart, that are alike to the byte, packet ids included.

        The pages have no lock. The packet id alone would not tell a half written page: nobody says whether a game writes it
        first or last.
        """
        physics, graphics, static = self._open
        before = Pages(physics.copy(), graphics.copy(), self._static)  # which was whole, and hardly ever changes
        for _ in range(TRIES):
            self._sleep(SETTLE_S)
            after = Pages(physics.copy(), graphics.copy(), static.copy())
            if tuple(map(len, after)) != self._sizes:
                self.close()  # cut short: reading on would be inventing
                return None
            if before == after:
                self._static = after.static
                return after
            before = after
        self._complaints.add("pages changed while they were copied")
        return None


def wide_text(page: bytes, offset: int, units: int) -> str:
    """The string of at most ``units`` UTF-16 code units at ``offset``; behind its NUL there may be stale text."""
    return page[offset : offset + 2 * units].decode("utf-16-le", "replace").partition("\0")[0]


def _open_page(name: str, size: int, folder: Path | None) -> Page:
    """Raises FileNotFoundError where no game made it."""
    if sys.platform == "win32" and folder is None:
        return MappedPage(f"Local\\acpmf_{name}", size)
    return FilePage((folder or LINUX_FOLDER) / f"acpmf_{name}", size)


class FilePage:
    """A page that is a file in memory. It is read, not mapped: the reader of a mapping dies when the file is cut short."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size
        self._file = FileIO(path, "rb")
        self._identity = _identity(os.fstat(self._file.fileno()))
        if sys.platform != "win32":
            # Some 400 times a second: straight into the system.
            self.copy = partial(os.pread, self._file.fileno(), size, 0)

    if sys.platform == "win32":  # which has no pread

        def copy(self) -> bytes:
            self._file.seek(0)
            return self._file.read(self._size)

    def replaced(self) -> bool:
        try:
            return _identity(os.stat(self._path)) != self._identity  # noqa: PTH116 - half the cost of Path's
        except OSError:
            return True

    def close(self) -> None:
        self._file.close()


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


if sys.platform == "win32":
    _FILE_MAP_READ = 4

    def _kernel32() -> ctypes.WinDLL:
        """With the types of what is called: a handle or an address cut to 32 bits would be somebody else's."""
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.OpenFileMappingW.argtypes = (ctypes.c_uint32, ctypes.c_int, ctypes.c_wchar_p)
        kernel32.OpenFileMappingW.restype = ctypes.c_void_p
        kernel32.MapViewOfFile.argtypes = (
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_uint32,
            ctypes.c_uint32,
            ctypes.c_size_t,
        )
        kernel32.MapViewOfFile.restype = ctypes.c_void_p
        kernel32.UnmapViewOfFile.argtypes = (ctypes.c_void_p,)
        kernel32.CloseHandle.argtypes = (ctypes.c_void_p,)
        return kernel32

    class MappedPage:
        """A page that Windows knows by name. The standard library's mmap would make one where there is none."""

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
            return ctypes.string_at(self._view, self._size)

        def replaced(self) -> bool:
            return False  # while we hold it, the name is its own

        def close(self) -> None:
            self._kernel32.UnmapViewOfFile(self._view)
            self._kernel32.CloseHandle(self._handle)
