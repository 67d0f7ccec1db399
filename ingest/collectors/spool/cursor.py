"""Reads and writes a session's acknowledged position and its facts, each in a small file beside the
segments.

Each write replaces the cursor as a whole, so that it is never torn. It may lag behind the
acknowledgements. The collector then sends those records again, and the store drops them. The cursor
is never ahead.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from ingest.collectors.spool.atomic_files import write_whole
from ingest.collectors.spool.memory import SpooledSession


class SpoolPosition(NamedTuple):
    """A position between two records: ``offset`` bytes into the segment that is named for
    ``segment``.
    """

    segment: int
    offset: int


START = SpoolPosition(1, 0)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Position up to which the broker has acknowledged the session, on ``partition``; ``drained``:
    nothing follows.
    """

    acknowledged: SpoolPosition = START
    partition: int | None = None
    drained: bool = False

    def write(self, folder: Path) -> None:
        """Write the cursor so that it outlives a power cut. Raises OSError."""
        write_whole(folder / "cursor.json", json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, folder: Path) -> "Cursor":
        """Return the cursor that was written last; where none can be read, the start, so that
        everything is sent.
        """
        try:
            given = json.loads((folder / "cursor.json").read_bytes())
            segment, offset = given["acknowledged"]
            partition = given["partition"]
            return cls(
                SpoolPosition(int(segment), int(offset)),
                None if partition is None else int(partition),
                given["drained"] is True,
            )
        except (OSError, ValueError, TypeError, KeyError):
            return cls()


def session_path(folder: Path) -> Path:
    """Return the path of the file with the session's facts."""
    return folder / "session.json"


def write_session(folder: Path, session: SpooledSession) -> None:
    """Write the facts beside the segments; they outlive a power cut once the file is synced."""
    session_path(folder).write_text(json.dumps(asdict(session)))


def read_session(folder: Path) -> SpooledSession | None:
    """Return the session whose records the folder holds; None where it cannot be read."""
    try:
        given = json.loads(session_path(folder).read_bytes())
        session = SpooledSession(given["key"], given["user_id"], given["encoding"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    sound = isinstance(session.key, str) and isinstance(session.user_id, str) and session.key
    return session if sound and session.encoding in {"protobuf", "json"} else None
