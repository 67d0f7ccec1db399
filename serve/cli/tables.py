"""Prints tables to a terminal or a pipe, with every cell whole and literal.

Rule: cells hold names that people and games gave. They are not parsed as markup, because drivers
have names such as [TEAM] Ann. Cells are never cut, because a truncated key is useless. A row wider
than the window continues on its next line.
"""

from collections.abc import Collection

from rich.console import Console
from rich.table import Table

_WIDEST = 1000


def table_of(*columns: str, right: Collection[str] = ()) -> Table:
    """Return a table without rows. The columns in ``right`` are numbers, aligned right."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def print_table(table: Table) -> None:
    """Print the table without cutting a cell."""
    Console(highlight=False, markup=False, emoji=False, width=_WIDEST).print(table, soft_wrap=True)
