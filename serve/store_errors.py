"""Converts psycopg's errors of a database that does not answer, has another version, or refuses, to
our own errors.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from ingest.errors import LicenceLost, NotAllowed, SchemaOutdated, StoreUnavailable

_LACKING = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)


@contextmanager
def translate_database_errors(address: str) -> Iterator[None]:
    """Convert the errors of queries to the database at ``address``.

    Raises StoreUnavailable, SchemaOutdated, NotAllowed, LicenceLost.
    """
    try:
        yield
    except _LACKING as lacking:
        raise SchemaOutdated(address, _first_line(lacking)) from lacking
    except psycopg.errors.InsufficientPrivilege as refused:
        raise NotAllowed(address, _first_line(refused)) from refused
    except psycopg.errors.FeatureNotSupported as refused:
        # Under the Apache licence, TimescaleDB 2.29.2 does not read compressed chunks either.
        if "license" not in str(refused):
            raise
        raise LicenceLost(["compressed chunks or jobs"]) from refused
    except psycopg.OperationalError as failure:
        raise StoreUnavailable(address, _first_line(failure)) from failure


def _first_line(error: psycopg.Error) -> str:
    return str(error).partition("\n")[0]
