"""COPY BINARY as an Arrow table: numeric columns by the thousand rows without a Python object for each value.

Knows the format, not the schema of the store. Rule: every row that is asked for has the same length. NULL would shorten it, so a
nullable column comes as two: its value or 0, and whether it was NULL.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

# Signature, flags and extension area; a row count of -1 ends the data.
_HEADER_BYTES, _TRAILER_BYTES = 19, 2
# PostgreSQL counts µs from the year 2000.
_EPOCH_US = 946_684_800_000_000


def copy_table(
    conn: psycopg.Connection[Any], schema: pa.Schema, source: sql.Composed, parameters: Mapping[str, object]
) -> pa.Table:
    """The columns of ``schema`` from ``source``, which is what stands behind a SELECT's column list: FROM, WHERE, ORDER BY.

    Columns may be integers, floats and timestamps in µs, and have the types in the database that `analytics.channels` gives them.
    """
    statement = sql.SQL("COPY (SELECT {} {}) TO STDOUT (FORMAT BINARY)").format(_selected(schema), source)
    with conn.cursor() as cursor, cursor.copy(statement, parameters) as copy:
        data = b"".join(copy)
    rows = np.frombuffer(data[_HEADER_BYTES : len(data) - _TRAILER_BYTES], _row_type(schema))
    return pa.table([_column(rows, field) for field in schema], schema=schema)


def _selected(schema: pa.Schema) -> sql.Composed:
    columns: list[sql.Composable] = []
    # A quoted 0 has no type of its own and takes the column's.
    for field in schema:
        name = sql.Identifier(field.name)
        columns.append(sql.SQL("coalesce({}, '0'), {} IS NULL").format(name, name) if field.nullable else name)
    return sql.SQL(", ").join(columns)


def _row_type(schema: pa.Schema) -> np.dtype[Any]:
    """Big-endian; each value has its length in front, each row its number of values."""
    parts: list[tuple[str, str]] = [("values", ">i2")]
    for field in schema:
        parts += [(f"{field.name} length", ">i4"), (field.name, _value_type(field.type))]
        parts += [(f"{field.name} null length", ">i4"), (f"{field.name} null", "?")] if field.nullable else []
    return np.dtype(parts)


def _value_type(arrow: pa.DataType) -> str:
    if pa.types.is_timestamp(arrow):
        return ">i8"
    return str(np.dtype(arrow.to_pandas_dtype()).newbyteorder(">").str)


def _column(rows: np.ndarray[Any, Any], field: pa.Field) -> pa.Array:
    values = rows[field.name].astype(rows.dtype[field.name].newbyteorder("="))
    if pa.types.is_timestamp(field.type):
        return pa.array(values + _EPOCH_US).cast(field.type)
    return pa.array(values, field.type, mask=rows[f"{field.name} null"] if field.nullable else None)
