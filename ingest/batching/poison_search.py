"""Finds the record that the database refuses, by halves. Pure: the worker says what was refused and what was stored.

Validation is meant to leave nothing for the database to refuse; this is for what it forgot, so that one value costs one
record and not the partition.
"""


class PoisonSearch:
    """``limit`` is how many records may be stored at once; ``culprit`` the offset of a record that was refused alone."""

    def __init__(self, max_records: int) -> None:
        self.limit = max_records
        self.culprit: int | None = None
        self._max_records = max_records

    @property
    def searching(self) -> bool:
        """Whether something was refused and is not behind us yet."""
        return self.limit < self._max_records

    def refused(self, start: int, records: int) -> None:
        """The database refused the batch of ``records`` records from offset ``start`` for its data."""
        if records == 1:
            self.culprit = start
        self.limit = max(1, records // 2)

    def stored(self) -> None:
        """A batch was stored: twice as much may be tried."""
        self.culprit = None
        self.limit = min(self._max_records, self.limit * 2)
