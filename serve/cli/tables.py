"""Tables in a terminal or a pipe: every cell is whole, and is what it says.

Rule: cells hold names that people and games gave. They are not read as markup, for drivers are called [TEAM] Ann, nor cut: a
key that is cut short is of no use, so what is too wide for a window runs on in its next line.
"""

from collections.abc import Collection

from rich.console import Console
from rich.table import Table

_WIDEST = 1000


def table_of(*columns: str, right: Collection[str] = ()) -> Table:
    """A table without rows; the columns in ``right`` are numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def say_whole(table: Table) -> None:
    """Print it."""
    Console(highlight=False, markup=False, emoji=False, width=_WIDEST).print(table, soft_wrap=True)
