"""Writes everything that is stored of a user into a ZIP file, for the user.

Frames and seconds are Parquet files, the rest is JSON: each row with its columns' names. Rule: what
`ingest.store.removal.users` deletes is in it, but for the hash of a link.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pyarrow.parquet as pq
from psycopg import sql

from analytics.model.channels import FRAMES
from analytics.store.frame_pages import pages
from analytics.store.summaries import seconds
from ingest.store.removal.deletions import Connection
from ingest.store.removal.users import letters_of

#: The tables with rows of a session besides its frames, and their order.
OF_A_SESSION = {
    "laps": "lap_number",
    "lap_sums": "lap_number",
    "lap_colours": "lap_number",
    "bests": "set_at",
    "gaps": "id",
    "clock_corrections": "from_sequence",
    "telemetry_pending": "time",
}
_SESSIONS = "SELECT to_jsonb(s) FROM sessions s WHERE user_id = %s ORDER BY id"
_SHARES = """
SELECT to_jsonb(h) - 'token_sha256' FROM shares h LEFT JOIN sessions s ON s.id = h.session_id
 WHERE s.user_id = %(user)s OR made_by = %(user)s OR %(user)s = ANY (users) ORDER BY h.id
"""
_LETTER = """
SELECT to_jsonb(d) FROM dead_letters d WHERE topic = %s AND partition = %s AND "offset" = %s
"""
_ROWS = "SELECT to_jsonb(t) FROM {} t WHERE session_id = %s ORDER BY {}"


def export_user(conn: Connection, user: str, file: Path, topic: str | None = None) -> int:
    """Write the file, and return the number of sessions in it.

    ``topic`` is the one that only this user writes to. A file of that name must not exist: raises
    FileExistsError.
    """
    with _new(file) as archive:
        sessions = [row for (row,) in conn.execute(_SESSIONS, [user])]
        for number, session in enumerate(sessions, start=1):
            _add_session(conn, archive, f"sessions/{number:04}", session)
        shares = [row for (row,) in conn.execute(_SHARES, {"user": user})]
        _add(archive, "shares.json", shares)
        _add(archive, "dead_letters.json", list(_letters(conn, user, topic)))
        _add(archive, "user.json", {"user": user, "sessions": [one["key"] for one in sessions]})
    return len(sessions)


@contextmanager
def _new(file: Path) -> Iterator[ZipFile]:
    """Make a file that only its user may read. It is removed if the block fails."""
    with file.open("xb") as opened:
        file.chmod(0o600)
        try:
            with ZipFile(opened, "w", ZIP_DEFLATED) as archive:
                yield archive
        except BaseException:
            file.unlink()
            raise


def _letters(conn: Connection, user: str, topic: str | None) -> Iterator[dict[str, Any]]:
    for place in letters_of(conn, user, topic):
        values = [place.topic, place.partition, place.offset]
        yield from (row for (row,) in conn.execute(_LETTER, values))


def _add_session(conn: Connection, archive: ZipFile, folder: str, session: dict[str, Any]) -> None:
    _add(archive, f"{folder}/session.json", session)
    for table, order in OF_A_SESSION.items():
        query = sql.SQL(_ROWS).format(sql.Identifier(table), sql.Identifier(order))
        rows = [row for (row,) in conn.execute(query, [session["id"]])]
        if rows:
            _add(archive, f"{folder}/{table}.json", rows)
    _add_frames(conn, archive, folder, session)


def _add_frames(conn: Connection, archive: ZipFile, folder: str, session: dict[str, Any]) -> None:
    """Add the frames page by page: a session of a day does not fit into memory."""
    with tempfile.TemporaryDirectory() as beside:
        frames, of_seconds = Path(beside) / "frames.parquet", Path(beside) / "seconds.parquet"
        with pq.ParquetWriter(frames, FRAMES) as writer:
            for page in pages(conn, FRAMES, session["id"]):
                writer.write_table(page)
        pq.write_table(seconds(conn, session["key"]), of_seconds)
        for one in (frames, of_seconds):
            archive.write(one, f"{folder}/{one.name}")


def _add(archive: ZipFile, name: str, content: Any) -> None:
    archive.writestr(name, json.dumps(content, indent=1) + "\n")
