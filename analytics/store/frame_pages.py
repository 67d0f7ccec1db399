"""Reads frames from the store, in order of time, one page at a time.

Rule: a page ends between two times, never between two frames of the same time. So the next page can
begin after it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
from psycopg import sql

from analytics.model.channels import FRAMES
from analytics.store.arrow_fetch import read_table

#: A quarter of an hour at 60 Hz. With every channel, it takes 10 MB in the server and in this
#: process.
PAGE_ROWS = 50_000

_PAGE = """
  FROM telemetry
 WHERE session_id = %(session_id)s AND time > coalesce(%(after)s::timestamptz, '-infinity') AND {}
 ORDER BY time FETCH FIRST %(rows)s ROWS WITH TIES
"""

Connection = psycopg.Connection[Any]
Where = Mapping[str, object]


def page(
    conn: Connection,
    schema: pa.Schema,
    session_id: int,
    *,
    after: datetime | None = None,
    rows: int | None = None,
    condition: LiteralString = "true",
    where: Where | None = None,
) -> pa.Table:
    """Return the first frames of a session after a time: ``rows`` of them, or a page.

    The frames are those for which ``condition`` of the parameters ``where`` holds.
    """
    parameters = {
        "session_id": session_id,
        "after": after,
        "rows": rows or PAGE_ROWS,
        **(where or {}),
    }
    return read_table(conn, schema, sql.SQL(_PAGE).format(sql.SQL(condition)), parameters)


def pages(
    conn: Connection,
    schema: pa.Schema,
    session_id: int,
    *,
    condition: LiteralString = "true",
    where: Where | None = None,
) -> Iterator[pa.Table]:
    """Yield all frames of a session for which ``condition`` holds, as tables with rows."""
    timed = schema if "time" in schema.names else schema.append(FRAMES.field("time"))
    after: datetime | None = None
    while True:
        found = page(conn, timed, session_id, after=after, condition=condition, where=where)
        if found.num_rows:
            yield found.select(schema.names)
            after = found["time"][-1].as_py()
        if found.num_rows < PAGE_ROWS:
            return


def frames(
    conn: Connection,
    schema: pa.Schema,
    session_id: int,
    *,
    condition: LiteralString = "true",
    where: Where | None = None,
) -> pa.Table:
    """Return all frames of a session for which ``condition`` holds, in one table."""
    found = list(pages(conn, schema, session_id, condition=condition, where=where))
    return pa.concat_tables([schema.empty_table(), *found])
