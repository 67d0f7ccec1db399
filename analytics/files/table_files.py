"""Reads tables as common programs write them: Parquet by pandas, CSV by spreadsheets of any
country, Arrow.

Rule: the module reads unambiguous content, and leaves the rest for the caller to refuse. It guesses
nothing from values alone but the decimal mark. The mark is a comma only where no number of the
file's start has a point.
"""

import codecs
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

_HEAD_BYTES = 64 * 1024
_DELIMITERS = (",", ";", "\t")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_parquet(path: Path) -> pa.Table:
    """Read the columns of a file, with the index that pandas wrote as a start and a step.

    Raises pa.ArrowInvalid, OSError.
    """
    table = pyarrow.parquet.read_table(path)
    for index in _indexes(table):
        if (
            isinstance(index, dict)
            and index.get("name")
            and index["name"] not in table.column_names
        ):
            steps = range(index["start"], index["stop"], index["step"])
            if len(steps) == table.num_rows:
                table = table.append_column(index["name"], pa.array(steps, pa.int64()))
    return table


def unnamed_index(table: pa.Table) -> str | None:
    """Return pandas' name for an index that was kept beside the columns without a name; None where
    there is none.
    """
    return next(
        (str(index) for index in _indexes(table) if str(index).startswith("__index_level_")), None
    )


def read_arrow(path: Path) -> pa.Table:
    """Read the table of an Arrow file. Raises pa.ArrowInvalid, OSError."""
    return pyarrow.ipc.open_file(path).read_all()


def read_csv(path: Path) -> pa.Table:
    """Read a table whose delimiter is a comma, a semicolon or a tab.

    The encoding is UTF-8, or UTF-16 with a byte order mark. Raises pa.ArrowInvalid, OSError, and
    UnicodeDecodeError.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    encoding = "utf-16" if head.startswith(_UTF_16) else "utf-8"
    header, _, rows = head.decode(encoding, "replace").partition("\n")
    delimiter = max(_DELIMITERS, key=header.count)
    table = pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(encoding=encoding),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        convert_options=pyarrow.csv.ConvertOptions(decimal_point=_decimal_mark(rows, delimiter)),
    )
    return table.rename_columns([name.strip() for name in table.column_names])


def _decimal_mark(rows: str, delimiter: str) -> str:
    comma = delimiter != "," and re.search(r"\d,\d", rows) and not re.search(r"\d\.\d", rows)
    return "," if comma else "."


def _indexes(table: pa.Table) -> list[str | dict[str, Any]]:
    """Return the index as pandas noted it: names of columns, and ranges, which have no column."""
    noted = table.schema.pandas_metadata or {}
    return list(noted.get("index_columns", []))
