"""The storm's ledger: a file of JSON lines, one when a process is killed and one when the system
has recovered.

A line is on disk before the storm goes on. The storm may be killed too: a last line that is cut
short is ignored.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.soak.kinds import Kind


@dataclass(frozen=True, slots=True)
class Kill:
    """A process that was killed ``t_s`` seconds into the storm.

    ``recovered_s`` is None where the system did not recover in time, or where the storm ended first
    (not ``concluded``). ``left`` are processes of the system from before that still ran, outside of
    it.
    """

    number: int
    t_s: float
    seed: int
    kind: Kind
    pid: int
    concluded: bool = False
    recovered_s: float | None = None
    left: tuple[str, ...] = ()


def parse(lines: Iterable[str]) -> list[Kill]:
    """Return the kills of a ledger in their order."""
    kills: dict[int, Kill] = {}
    for line in lines:
        if not line.endswith("\n"):
            break
        event: dict[str, Any] = json.loads(line)
        number = event["number"]
        if event.pop("event") == "killed":
            kills[number] = Kill(**event | {"kind": Kind(event["kind"])})
        else:
            kills[number] = replace(
                kills[number],
                concluded=True,
                recovered_s=event["recovered_s"],
                left=tuple(event["left"]),
            )
    return list(kills.values())


class Ledger:
    """The ledger at ``path``; what it has from before is in ``kills``."""

    def __init__(self, path: Path) -> None:
        self.kills = parse(path.read_text().splitlines(keepends=True)) if path.exists() else []
        _drop_half_line(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @property
    def elapsed_s(self) -> float:
        """How far into the storm the last kill was."""
        return self.kills[-1].t_s if self.kills else 0.0

    @property
    def next_number(self) -> int:
        """The number of the next kill."""
        return self.kills[-1].number + 1 if self.kills else 0

    def killed(self, kill: Kill) -> None:
        """Note a kill."""
        self.kills.append(kill)
        names = ("number", "t_s", "seed", "kind", "pid")
        self._write(
            {"event": "killed"}
            | {name: value for name, value in asdict(kill).items() if name in names}
        )

    def recovered(self, recovered_s: float | None, left: Iterable[str]) -> None:
        """Note how the last kill ended; None: the system did not recover in time."""
        self.kills[-1] = done = replace(
            self.kills[-1], concluded=True, recovered_s=recovered_s, left=tuple(left)
        )
        self._write(
            {
                "event": "recovered",
                "number": done.number,
                "recovered_s": recovered_s,
                "left": done.left,
            }
        )

    def close(self) -> None:
        """Nothing is noted after it."""
        os.close(self._file)

    def _write(self, event: dict[str, Any]) -> None:
        os.write(self._file, (json.dumps(event) + "\n").encode())
        os.fsync(self._file)


def _drop_half_line(path: Path) -> None:
    """Remove a last line that is cut short, so that the next one begins a line."""
    if path.exists():
        whole, newline, _ = path.read_text().rpartition("\n")
        path.write_text(whole + newline)
