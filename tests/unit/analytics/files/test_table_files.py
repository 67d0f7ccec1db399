"""Recordings as people have them: written by pandas, by a spreadsheet of another country, by an
editor with a mark.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from analytics.errors import RecordingError
from analytics.files.recording import Recording, open_recording
from tests.unit.analytics.files.test_recording import a_drive, write


def _plain(folder: Path) -> Recording:
    return open_recording(write(folder / "plain.parquet", a_drive()))


def _as_text(delimiter: str, decimal_mark: str) -> str:
    columns = a_drive()
    rows = [columns, *zip(*columns.values(), strict=True)]
    return "".join(
        delimiter.join(str(cell).replace(".", decimal_mark) for cell in row) + "\r\n"
        for row in rows
    )


@pytest.mark.parametrize(
    ("delimiter", "decimal_mark"), [(",", "."), (";", ","), (";", "."), ("\t", ","), (", ", ".")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_of_any_country_is_read(
    tmp_path: Path, delimiter: str, decimal_mark: str, encoding: str
) -> None:
    path = tmp_path / "stint.csv"
    path.write_bytes(_as_text(delimiter, decimal_mark).encode(encoding))

    assert open_recording(path).frames().equals(_plain(tmp_path).frames())


def test_csv_with_both_marks_is_refused_by_row(tmp_path: Path) -> None:
    """1.234,5 is two numbers to two people."""
    path = tmp_path / "stint.csv"
    path.write_text(_as_text(";", ",").replace("100,5", "1.100,5"))

    with pytest.raises(
        RecordingError,
        match=r"column \w+, row 1: '[\d,]+' is no number, expected float; write plain numbers",
    ):
        open_recording(path)


def test_csv_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stint.csv"
    path.write_bytes("timestamp_ms".encode("utf-16")[:-1])

    with pytest.raises(RecordingError, match=r"stint\.csv: cannot be read"):
        open_recording(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_facts_may_have_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "stint.parquet", a_drive())
    path.with_suffix(".json").write_bytes(
        json.dumps({"track": "Nürburgring"}, ensure_ascii=False).encode(encoding)
    )

    assert open_recording(path).track == "Nürburgring"


def _by_pandas(folder: Path, index: object, columns: dict[str, object]) -> Path:
    """As `DataFrame.to_parquet` writes it: what the index is lies in the schema's metadata."""
    table = pa.table(columns).replace_schema_metadata(
        {"pandas": json.dumps({"index_columns": [index], "columns": []})}
    )
    pyarrow.parquet.write_table(table, folder / "stint.parquet")
    return folder / "stint.parquet"


def test_an_index_that_pandas_keeps_as_a_range_is_a_column(tmp_path: Path) -> None:
    """pandas writes no column for times of an even step that it has as index, but their start, stop
    and step.
    """
    drive = a_drive() | {"timestamp_ms": [1_000, 1_016, 1_032]}
    even = open_recording(write(tmp_path / "plain.parquet", drive)).frames()
    times = {"kind": "range", "name": "timestamp_ms", "start": 1_000, "stop": 1_048, "step": 16}

    path = _by_pandas(
        tmp_path, times, {name: values for name, values in drive.items() if name != "timestamp_ms"}
    )

    assert open_recording(path).frames().equals(even)


def test_an_index_without_a_name_is_named(tmp_path: Path) -> None:
    drive = a_drive()
    drive["__index_level_0__"] = drive.pop("timestamp_ms")

    with pytest.raises(
        RecordingError,
        match=(
            "column timestamp_ms: is missing; the index, stored as __index_level_0__, has no name:"
            " name it timestamp_ms"
        ),
    ):
        open_recording(_by_pandas(tmp_path, "__index_level_0__", drive))


def test_instants_of_a_zone_are_times(tmp_path: Path) -> None:
    times = pa.array(a_drive()["timestamp_ms"], pa.timestamp("ms", tz="Europe/Berlin"))
    path = tmp_path / "stint.parquet"
    pyarrow.parquet.write_table(pa.table(a_drive() | {"timestamp_ms": times}), path)

    assert open_recording(path).frames().equals(_plain(tmp_path).frames())
