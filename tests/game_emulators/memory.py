"""A game's shared memory, as the bridges from Wine show it on Linux: three files of 2048 bytes in a
folder.
"""

import mmap
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.game_emulators.drive import Moment
from tests.game_emulators.layout import Layout
from tests.game_emulators.ledger import Kind, Ledger
from tests.game_emulators.pages import NAMES, PAGE_BYTES
from tests.game_emulators.playing import Playing, Status

_STALE = "what stood here before "


class Pages(Protocol):
    """What a game writes into its pages: the layouts, and the values by the game's own names,
    without packetId.
    """

    physics: Layout
    graphics: Layout
    static: Layout

    def constants(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Of physics and graphics: what never changes."""
        ...

    def physics_values(
        self, moment: Moment, before: Moment, passed_s: float
    ) -> Mapping[str, Any]: ...

    def graphics_values(self, playing: Playing) -> Mapping[str, Any]: ...

    def static_values(self, playing: Playing) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Tearing:
    """``share`` of the writes are made in three pieces, ``pause_s`` apart: packetId before the
    rest, or after it.

    Where the rest is cut is drawn for each write, so that no field is always whole with its
    neighbours.
    """

    share: float = 0.0
    pause_s: float = 0.0005
    id_first: bool = True


class Page:
    """One mapped file, made anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.unlink(missing_ok=True)  # a reader of the old one keeps the old one, as with a bridge
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(file, PAGE_BYTES)
            self._map = mmap.mmap(file, PAGE_BYTES)
        finally:
            os.close(file)

    def write(self, image: bytearray) -> None:
        self._map[: len(image)] = bytes(image)

    def write_torn(self, image: bytearray, tearing: Tearing, *, cut: int) -> float:
        """As a slow game would, in pieces up to 4, ``cut`` and the end: a reader in between finds
        those of two writes.

        The longest time between two pieces, as it was.
        """
        longest_s, written_s = 0.0, time.monotonic()
        pieces = [slice(0, 4), slice(4, cut), slice(cut, len(image))]
        for number, piece in enumerate(pieces if tearing.id_first else pieces[1:] + pieces[:1]):
            if number:
                time.sleep(tearing.pause_s)
            self._map[piece] = bytes(image[piece])
            longest_s, written_s = max(longest_s, time.monotonic() - written_s), time.monotonic()
        return longest_s

    def write_half(self, image: bytearray) -> None:
        """The game dies here: the new packetId, and the new values up to the middle."""
        half = len(image) // 8 * 4
        self._map[:half] = bytes(image[:half])

    def close(self) -> None:
        self._map.close()

    def remove(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)


@dataclass(slots=True)
class _Beat:
    """When the next write of a page is due, and how many there have been."""

    period_s: float
    due_s: float = 0.0
    count: int = 0

    def is_due(self, now_s: float, *, counts: bool = True) -> bool:
        """Steps that were missed count as made: a game computes them all and shows the last."""
        if now_s < self.due_s:
            return False
        steps = 1 + int((now_s - self.due_s) / self.period_s)
        self.due_s += steps * self.period_s
        self.count += steps if counts else 0
        return True


class SharedMemory:
    """The pages of one game while it runs."""

    sockets = ()

    def __init__(
        self,
        folder: Path,
        pages: Pages,
        playing: Playing,
        ledger: Ledger,
        *,
        physics_hz: float = 400.0,
        graphics_hz: float = 60.0,
        tearing: Tearing | None = None,
        seed: int = 1,
    ) -> None:
        self._folder, self._pages, self._playing, self._ledger = folder, pages, playing, ledger
        self._hz = (physics_hz, graphics_hz)
        self._tearing = tearing or Tearing()
        self._draw = Random(f"tearing {seed}")
        self._files: list[Page] = []

    def appear(self, now_s: float) -> None:
        """Make the pages, all zero: nothing is loaded."""
        self._files = [Page(self._folder / name) for name in NAMES]
        self._physics_beat, self._graphics_beat = (_Beat(1 / hz, now_s) for hz in self._hz)
        self._static_of: tuple[int, bool] | None = None
        self._before = (self._playing.moment, now_s)
        layouts = (self._pages.physics, self._pages.graphics)
        self._physics, self._graphics = (bytearray(layout.size) for layout in layouts)
        for layout, page, values in zip(
            layouts, (self._physics, self._graphics), self._pages.constants(), strict=True
        ):
            layout.fill_texts(page, _STALE)
            layout.put(page, values)

    def vanish(self) -> None:
        """The bridge takes the files away."""
        for file in self._files:
            file.remove()
        self._files = []

    def die(self) -> None:
        """In the middle of writing physics; the files stay, with what was in them."""
        self._physics_beat.count += 1
        self._put_physics(time.monotonic())
        self._files[0].write_half(self._physics)
        for file in self._files:
            file.close()
        self._files = []

    def step(self, now_s: float) -> float:
        """Write what is due; when the next write is."""
        playing = self._playing
        if not self._files:
            return now_s + 1.0
        if playing.loaded:
            self._step_static()
            moves = playing.status in (Status.LIVE, Status.REPLAY)
            if self._physics_beat.is_due(now_s, counts=moves) and moves:
                self._put_physics(now_s)
                self._write(0, self._physics, Kind.PHYSICS, self._physics_beat.count, now_s)
            if self._graphics_beat.is_due(now_s):
                values = {
                    "packetId": self._graphics_beat.count,
                    **self._pages.graphics_values(playing),
                }
                self._pages.graphics.put(self._graphics, values)
                self._write(1, self._graphics, Kind.GRAPHICS, self._graphics_beat.count, now_s)
            return min(self._physics_beat.due_s, self._graphics_beat.due_s)
        self._physics_beat.due_s = self._graphics_beat.due_s = now_s
        return now_s + self._physics_beat.period_s

    def _step_static(self) -> None:
        """Written when a session is loaded, once."""
        current = (self._playing.session, self._playing.status is Status.OFF)
        if self._static_of == current or (self._static_of and current[1]):
            return
        self._static_of = current
        page = bytearray(self._pages.static.size)
        self._pages.static.fill_texts(page, _STALE)
        self._pages.static.put(page, self._pages.static_values(self._playing))
        self._files[2].write(page)

    def _put_physics(self, now_s: float) -> None:
        moment, (before, before_s) = self._playing.moment, self._before
        values = self._pages.physics_values(moment, before, now_s - before_s)
        self._pages.physics.put(self._physics, {"packetId": self._physics_beat.count, **values})
        self._before = (moment, now_s)

    def _write(
        self, index: int, image: bytearray, kind: Kind, packet_id: int, now_s: float
    ) -> None:
        torn = self._tearing.share > 0 and self._draw.random() < self._tearing.share
        pause_s = 0.0
        if torn:
            pause_s = self._files[index].write_torn(
                image, self._tearing, cut=self._draw.randrange(8, len(image), 4)
            )
        else:
            self._files[index].write(image)
        playing = self._playing
        self._ledger.add(
            kind,
            packet_id,
            playing.moment,
            at_s=now_s,
            status=playing.status,
            session=playing.session,
            torn=torn,
            pause_s=pause_s,
        )
