"""The pages that a fuzzed game writes, and what was written lately: a frame must stand in that."""

from collections import deque
from pathlib import Path
from random import Random

from ingest.collectors.games.shared_memory import Pages
from tests.fuzz.spoil import spoil

_REMEMBERED = 20


class WrittenPages:
    """In ``folder``; now and then one is missing, made anew, or spoilt in its size too."""

    def __init__(self, folder: Path, draw: Random) -> None:
        self._folder, self._draw = folder, draw
        self._written: dict[str, deque[bytes]] = {
            name: deque(maxlen=_REMEMBERED) for name in Pages._fields
        }

    def put(self, name: str, page: bytes) -> None:
        path = self._folder / f"acpmf_{name}"
        match self._draw.randrange(200):
            case 0:
                path.unlink(missing_ok=True)
                return
            case 1:
                path.unlink(missing_ok=True)
            case 2:
                page = spoil(self._draw, page)
        path.write_bytes(page)
        self._written[name].append(page)

    def lately(self, name: str) -> deque[bytes]:
        """The last that were written under that name, oldest first."""
        return self._written[name]
