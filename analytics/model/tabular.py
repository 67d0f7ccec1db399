"""Makes objects with an Arrow table usable by pandas and Polars.

Polars, and any library that reads Arrow's C stream, takes such an object directly:
``polars.DataFrame(catalog.laps.flying())``. This module needs neither pandas nor Polars. A caller
that converts to one of them has it installed.
"""

from typing import Any

import pyarrow as pa


class Tabular:
    """Base class of objects with ``to_arrow``; the other methods derive from it."""

    __slots__ = ()

    def to_arrow(self) -> pa.Table:
        """Return the rows as a table."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame. It has NaN for unknown values, and then no integers.

        ``to_arrow()`` keeps both unknown values and integers.
        """
        return self.to_arrow().to_pandas()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return Arrow's PyCapsule stream of the columns themselves, without copies."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)
