"""Finds and reads the segment files of one session; each is named for the first sequence that it
may hold.

Reading needs no lock and no knowledge of the writer. A record is whole or not there yet, and a file
freed meanwhile holds nothing any more. The functions ignore other names in the folder: programs
that copy files add names of their own.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.spool.record import scan

#: First and last sequence, both included.
Range = tuple[int, int]

SUFFIX = ".segment"
_NAME = re.compile(rf"[0-9]{{19}}{re.escape(SUFFIX)}")


def segment_path(folder: Path, first: int) -> Path:
    """Return the path of the segment that begins with sequence ``first``."""
    return folder / f"{first:019d}{SUFFIX}"


def first_of(path: Path) -> int:
    """Return the sequence for which a segment is named."""
    return int(path.name.removesuffix(SUFFIX))


def segments(folder: Path) -> list[Path]:
    """Return the segments of a session, oldest first; none for a missing folder.

    Raises OSError where the disk fails.
    """
    try:
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_ranges(folder: Path, ranges: Sequence[Range]) -> Iterator[OutgoingRecord]:
    """Yield the frames on disk in ``ranges``, reading each file once, when it is reached.

    The ranges must ascend and not overlap.
    """
    starts = [first for first, _ in ranges]
    paths = segments(folder)
    for path, after in zip(paths, [*paths[1:], None], strict=True):
        end = first_of(after) if after is not None else None
        if not any(
            last >= first_of(path) and (end is None or first < end) for first, last in ranges
        ):
            continue
        try:
            data = path.read_bytes()
        except OSError:  # freed meanwhile, or not readable now; the requester repeats its request
            continue
        for found in scan(data):
            place = bisect_right(starts, found.record.sequence) - 1
            if found.record.sequence and place >= 0 and found.record.sequence <= ranges[place][1]:
                yield found.record
