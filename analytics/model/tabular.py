"""What is an Arrow table is one for pandas and Polars too.

Polars, and whatever else knows Arrow's C stream, takes such an object as it is: ``polars.DataFrame(catalog.laps.flying())``. Neither
pandas nor Polars is needed here: who calls for one has it.
"""

from typing import Any

import pyarrow as pa


class Tabular:
    """Has ``to_arrow``; the rest follows."""

    __slots__ = ()

    def to_arrow(self) -> pa.Table:
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """As a pandas.DataFrame, which has NaN for what is not known and then no whole numbers: to_arrow() keeps both."""
        return self.to_arrow().to_pandas()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Arrow's PyCapsule protocol: the columns themselves, not copies."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)
