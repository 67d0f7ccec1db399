"""How far the broker has a session's records, and the session's facts, each in a small file beside its segments.

The cursor is replaced as a whole, so that it is never torn; it may be behind by what was acknowledged since, which is then
sent again and dropped by the store. It is never ahead.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from ingest.collectors.spool.atomic_files import write_whole
from ingest.collectors.spool.memory import SpooledSession


class SpoolPosition(NamedTuple):
    """A place between two records: ``offset`` bytes into the segment that is named for ``segment``."""

    segment: int
    offset: int


START = SpoolPosition(1, 0)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything before ``acknowledged`` has been, on ``partition``; ``drained``: there is nothing after it."""

    acknowledged: SpoolPosition = START
    partition: int | None = None
    drained: bool = False

    def write(self, folder: Path) -> None:
        """Make it last. Raises OSError."""
        write_whole(folder / "cursor.json", json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, folder: Path) -> "Cursor":
        """What was written last; where there is nothing that can be read, everything is to be sent."""
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
    """The file of the session's facts."""
    return folder / "session.json"


def write_session(folder: Path, session: SpooledSession) -> None:
    """Put the facts beside the segments; they last once the file is synced."""
    session_path(folder).write_text(json.dumps(asdict(session)))


def read_session(folder: Path) -> SpooledSession | None:
    """Whose records the folder holds; None where that cannot be read."""
    try:
        given = json.loads(session_path(folder).read_bytes())
        session = SpooledSession(given["key"], given["user_id"], given["encoding"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    sound = isinstance(session.key, str) and isinstance(session.user_id, str) and session.key
    return session if sound and session.encoding in {"protobuf", "json"} else None
