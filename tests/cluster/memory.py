"""Looks for a text in the memory of a running process. Linux only, and of this user's processes."""

from collections.abc import Iterator
from pathlib import Path

_READ_BYTES = 1 << 24


def holds(pid: int, text: bytes) -> bool:
    """Whether any writable memory of the process has the text. Raises OSError where it may not be
    read.
    """
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for first, end in _writable(pid):
            before = b""
            for begin in range(first, end, _READ_BYTES):
                try:
                    memory.seek(begin)
                    read = memory.read(min(_READ_BYTES, end - begin))
                except (OSError, OverflowError):
                    break  # not there any more, or a device's
                if text in before + read:
                    return True
                before = read[-len(text) :]
    return False


def _writable(pid: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, rights, *_ = line.split()
        if rights.startswith("rw"):
            first, end = place.split("-")
            yield int(first, 16), int(end, 16)
