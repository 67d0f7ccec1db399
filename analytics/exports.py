"""Telemetry for other programs: Parquet, CSV and Arrow files that `analytics.open` reads again, and MoTeC's.

The suffix says which. Rule: a file of ours loses nothing, and what no column holds (game, track, car, driver, track length) lies
in a JSON file of the same name beside it, as recordings have it.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from analytics.database import Session
from analytics.lap import Lap
from analytics.recording import as_recorded


class ExportError(ValueError):
    """A file of this kind cannot be written, or not with these frames."""


def export(path: Path, frames: pa.Table, session: Session, laps: Sequence[Lap] = ()) -> Path:
    """Write frames, which have all columns of `analytics.channels.FRAMES`, in the format of ``path``'s suffix.

    ``laps`` become the beacons of a MoTeC file; the other formats do without. Raises ExportError, and OSError.
    """
    if not frames.num_rows:
        raise ExportError(f"{path}: there are no frames to write; has the session begun?")
    if path.suffix == ".ld":
        from analytics.motec import write_motec

        write_motec(path, frames, session, laps)
        return path
    if path.suffix not in _WRITERS:
        raise ExportError(f"{path}: {path.suffix or 'no suffix'} is no format; choose .ld, {', '.join(_WRITERS)}")
    _WRITERS[path.suffix](as_recorded(frames), path)
    path.with_suffix(".json").write_text(json.dumps(_facts(session), indent=1) + "\n", encoding="utf-8")
    return path


def _write_arrow(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table)


_WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    ".parquet": pyarrow.parquet.write_table,
    ".csv": pyarrow.csv.write_csv,
    ".arrow": _write_arrow,
}


def _facts(session: Session) -> dict[str, object]:
    known = {
        "game": session.game,
        "track": session.track,
        "car": session.car,
        "driver": session.driver,
        "track_length_m": session.track_length_m,
    }
    return {name: value for name, value in known.items() if value}
