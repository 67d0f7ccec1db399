"""A game as a whole: its course, and what it shows of itself in pages and datagrams. `play` runs
one in real time.
"""

import os
import queue
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tests.game_emulators.playing import Playing

#: What one may tell a game while it plays.
COMMANDS = {
    "live": "drive on, after pause, replay, menu, silence or spoil",
    "pause": "the driver pauses",
    "replay": "a replay of the last seconds runs",
    "menu": "back to the menu, status OFF",
    "session": "the next session of the event",
    "again": "the same session from its start",
    "restart [S]": "the game is closed, and started again S seconds later (1)",
    "kill": "the game dies in mid-write; its pages stay",
    "silence": "nothing is sent over UDP any more, without a word",
    "drop": "broadcasting forgets its clients and says so",
    "spoil nan|infinite|teleport": "impossible values, until live",
}
_SPOILT = ("nan", "infinite", "teleport")
_LONGEST_WAIT_S = 0.05


class Outlet(Protocol):
    """One way in which a game shows itself."""

    @property
    def sockets(self) -> Sequence[Any]: ...

    def appear(self, now_s: float) -> None: ...

    def vanish(self) -> None: ...

    def die(self) -> None: ...

    def step(self, now_s: float) -> float: ...


class Game:
    """To be stepped by whoever has a clock. ``kill`` leaves a corpse that does nothing."""

    def __init__(self, playing: Playing, outlets: Sequence[Outlet]) -> None:
        self.playing, self.outlets = playing, outlets
        self.dead = False
        self._back_at_s: float | None = None

    @property
    def sockets(self) -> list[Any]:
        return [one for outlet in self.outlets for one in outlet.sockets]

    def start(self, now_s: float) -> None:
        self.playing.start(now_s)
        for outlet in self.outlets:
            outlet.appear(now_s)

    def step(self, now_s: float) -> float:
        """Show what is due; when to step again."""
        if self.dead:
            return now_s + _LONGEST_WAIT_S
        if self._back_at_s is not None:
            if now_s < self._back_at_s:
                return self._back_at_s
            self._back_at_s = None
            self.playing.restart(now_s)
            for outlet in self.outlets:
                outlet.appear(now_s)
        self.playing.advance(now_s)
        return min(outlet.step(now_s) for outlet in self.outlets)

    def apply_command(self, command: str, now_s: float) -> None:
        """One of `COMMANDS`. Raises ValueError for any other."""
        match command.split():
            case ["live"]:
                self._silence(False)
                self.playing.live()
            case ["pause"]:
                self.playing.pause()
            case ["replay"]:
                self.playing.replay()
            case ["menu"]:
                self.playing.menu()
            case ["session"]:
                self.playing.next_session(now_s)
            case ["again"]:
                self.playing.again(now_s)
            case ["restart", *rest] if len(rest) < 2:
                self._close(now_s + float(rest[0] if rest else 1))
            case ["kill"]:
                self.kill()
            case ["silence"]:
                self._silence(True)
            case ["drop"]:
                self._drop()
            case ["spoil", how] if how in _SPOILT:
                self.playing.spoil(how)
            case _:
                raise ValueError(f"{command!r} is none of: {', '.join(COMMANDS)}")

    def kill(self) -> None:
        """Die in mid-write."""
        self.dead = True
        for outlet in self.outlets:
            outlet.die()

    def close(self) -> None:
        """Leave properly: the pages go."""
        if not self.dead and self._back_at_s is None:
            for outlet in self.outlets:
                outlet.vanish()

    def _close(self, back_at_s: float) -> None:
        self.close()
        self._back_at_s = back_at_s

    def _silence(self, silent: bool) -> None:
        for outlet in self.outlets:
            if hasattr(outlet, "silent"):
                outlet.silent = silent

    def _drop(self) -> None:
        for outlet in self.outlets:
            if hasattr(outlet, "drop"):
                outlet.drop()


Done = Callable[[str], None]


def play(
    game: Game,
    commands: "queue.Queue[str]",
    stop: threading.Event,
    *,
    done: Done = lambda _: None,
    dies: bool = False,
) -> None:
    """Until ``stop`` or the last session's end. ``done`` hears of each command what became of it.

    ``dies``: where the game is killed, this process is too, by SIGKILL.
    """
    game.start(time.monotonic())
    try:
        while not stop.is_set() and not game.playing.over:
            while not commands.empty():
                done(_told(game, commands.get_nowait()))
                commands.task_done()
                if game.dead and dies:
                    os.kill(os.getpid(), signal.SIGKILL)
            due_s = game.step(time.monotonic())
            select.select(
                game.sockets, [], [], min(max(0.0, due_s - time.monotonic()), _LONGEST_WAIT_S)
            )
    finally:
        game.close()


def _told(game: Game, command: str) -> str:
    try:
        game.apply_command(command, time.monotonic())
    except ValueError as wrong:
        return str(wrong)
    return f"done: {command}"
