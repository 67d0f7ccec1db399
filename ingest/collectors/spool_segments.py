"""The segment files of one session, as they lie in its folder; each is named for the first sequence that it may hold.

Reading needs no lock and no knowledge of who writes: records are whole or they are not there yet, and a file that has been
freed meanwhile holds nothing any more. Other names in the folder are left alone: programs that copy files make up their own.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ingest.collectors.outbox import Record
from ingest.collectors.spool_record import scan

SUFFIX = ".segment"
_NAME = re.compile(rf"[0-9]{{19}}{re.escape(SUFFIX)}")


def segment_path(folder: Path, first: int) -> Path:
    """The file of the segment that begins with sequence ``first``."""
    return folder / f"{first:019d}{SUFFIX}"


def first_of(path: Path) -> int:
    """The sequence for which a segment is named."""
    return int(path.name.removesuffix(SUFFIX))


def segments(folder: Path) -> list[Path]:
    """The segments of a session, oldest first; none of a folder that is not there. Raises OSError where the disk fails."""
    try:
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_range(folder: Path, first: int, last: int) -> Iterator[Record]:
    """The frames of sequences ``first`` to ``last``, both included, that are on disk; a file is read when it is reached."""
    paths = segments(folder)
    for path, after in zip(paths, [*paths[1:], None], strict=True):
        if first_of(path) > last or (after is not None and first_of(after) <= first):
            continue
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        for found in scan(data):
            if found.record.sequence and first <= found.record.sequence <= last:
                yield found.record
