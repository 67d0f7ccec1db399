"""Finds the poison record, which the database refuses, by halves.

Pure: the worker reports refused and stored batches. Validation is meant to leave nothing for the
database to refuse. This search covers the cases that validation misses, so that one value costs one
record and not the partition.
"""


class PoisonSearch:
    """A search for a poison record among the records of a partition.

    ``limit`` is how many records may be stored at once. ``poison`` is the offset of a record that
    was refused alone.
    """

    def __init__(self, max_records: int) -> None:
        self.limit = max_records
        self.poison: int | None = None
        self._max_records = max_records

    @property
    def searching(self) -> bool:
        """Return whether a batch was refused and the search is not finished."""
        return self.limit < self._max_records

    def refused(self, start: int, records: int) -> None:
        """Note that the database refused the data of a batch: ``records`` records from offset
        ``start`` on.
        """
        if records == 1:
            self.poison = start
        self.limit = max(1, records // 2)

    def stored(self) -> None:
        """Note that a batch was stored: twice as many records may be tried."""
        self.poison = None
        self.limit = min(self._max_records, self.limit * 2)
