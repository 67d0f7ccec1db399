"""Reads the result of a query as an Arrow table: one array per column, no Python object per row or
value.

Knows PostgreSQL's binary form of arrays, not the schema of the store. Rule: every element of an
array has the same length. NULL would have none, so a nullable column comes as its value or 0. The
NULL columns of a row come as the bits of one number.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

# Dimensions, a flag for NULLs, type of the elements; then length and lower bound of the only
# dimension.
_HEADER_BYTES = 20
# PostgreSQL counts µs from the year 2000.
_EPOCH_US = 946_684_800_000_000

_Values = np.ndarray[Any, Any]


def read_table(
    conn: psycopg.Connection[Any],
    schema: pa.Schema,
    source: sql.Composable,
    parameters: Mapping[str, object],
) -> pa.Table:
    """Read the columns of ``schema`` from ``source``: the part of a SELECT after its column list
    (FROM, WHERE, ORDER BY).

    Columns may be integers, floats and timestamps in µs. Their types in the database must be those
    that `analytics.model.channels` gives them. At most 63 of them may be nullable. The server holds
    all rows at once: some hundred thousand are a good size.
    """
    nullable = [field.name for field in schema if field.nullable]
    statement = _statement(schema, nullable, source)
    with conn.cursor(binary=True) as cursor:
        # Planned each time: the planner finds the chunks that hold a session by its times.
        result = cursor.execute(statement, parameters, prepare=False).pgresult
    assert result is not None
    masks = _masks(result.get_value(0, len(schema)), nullable)
    stored = [(field, result.get_value(0, place)) for place, field in enumerate(schema)]
    found = [
        _column(data, field, masks.get(field.name)) for field, data in stored if data is not None
    ]
    return pa.table(found, schema=schema) if found else schema.empty_table()


def _statement(schema: pa.Schema, nullable: list[str], source: sql.Composable) -> sql.Composed:
    arrays = [sql.SQL("array_agg({})").format(_selected(field)) for field in schema]
    names = sql.SQL(", ").join(map(sql.Identifier, schema.names))
    return sql.SQL("SELECT {}, {} FROM (SELECT {} {}) AS found").format(
        sql.SQL(", ").join(arrays), _nulls(nullable), names, source
    )


def _selected(field: pa.Field) -> sql.Composable:
    # A quoted 0 has no type of its own and takes the column's.
    name = sql.Identifier(field.name)
    return sql.SQL("coalesce({}, '0')").format(name) if field.nullable else name


def _nulls(names: list[str]) -> sql.Composable:
    if not names:
        return sql.SQL("NULL")
    bits = [
        sql.SQL("(({} IS NULL)::integer::bigint << {})").format(
            sql.Identifier(name), sql.Literal(bit)
        )
        for bit, name in enumerate(names)
    ]
    return sql.SQL("array_agg({})").format(sql.SQL(" | ").join(bits))


def _masks(nulls: bytes | None, names: list[str]) -> dict[str, _Values]:
    if nulls is None:
        return {}
    bits = _elements(nulls, ">i8")
    return {name: (bits >> bit & 1).astype(bool) for bit, name in enumerate(names)}


def _elements(data: bytes, value_type: str) -> _Values:
    """Decode the elements of an array: big-endian, each value with its length in front."""
    return np.frombuffer(
        data, np.dtype([("length", ">i4"), ("value", value_type)]), offset=_HEADER_BYTES
    )["value"]


def _column(data: bytes, field: pa.Field, mask: _Values | None) -> pa.Array:
    is_time = pa.types.is_timestamp(field.type)
    stored = np.dtype(np.int64 if is_time else field.type.to_pandas_dtype())
    values = _elements(data, stored.newbyteorder(">").str).astype(stored)
    if is_time:
        return pa.array(values + _EPOCH_US).cast(field.type)
    return pa.array(values, field.type, mask=mask)
