"""Arrow tables in, Arrow tables out: what laps are, and how to read them back.

`connect` and `open` are where a notebook begins: both give a `analytics.catalog.Catalog`. Importing this package imports nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from analytics.catalog import Catalog

__all__ = ["connect", "open"]


def connect(url: str | None = None) -> "Catalog":
    """The sessions and laps of a running store: of ``url``, else of the one that DATABASE_URL names.

    Raises analytics.errors.NoDatabase if neither is given, and psycopg.OperationalError if the database does not answer.
    """
    from analytics.catalog import Catalog
    from analytics.store.source import PostgresSource

    return Catalog(PostgresSource(url))


def open(path: "str | os.PathLike[str]") -> "Catalog":
    """The same of a recording, ``.parquet``, ``.arrow`` or ``.csv``, or of all those in a folder; no server is needed.

    Raises analytics.errors.RecordingError, which says what is wrong with the file.
    """
    from pathlib import Path

    from analytics.catalog import Catalog
    from analytics.files.source import FileSource

    return Catalog(FileSource(Path(path)))
