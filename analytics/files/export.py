"""Writes telemetry for other programs: Parquet, CSV and Arrow files that `analytics.open` reads,
and MoTeC files.

The suffix selects the format. Rule: a Parquet, CSV or Arrow file loses nothing that the lap engine
uses. Facts without a column (game, track, car, driver, track length) go to a JSON file of the same
name beside it. Recordings have the same JSON file.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from analytics.errors import ExportError, RecordingError, TooLong
from analytics.files.recording import as_recorded, facts_in
from analytics.model.lap import Lap
from analytics.model.session import SessionInfo


def export(path: Path, frames: pa.Table, session: SessionInfo, laps: Sequence[Lap] = ()) -> Path:
    """Write frames in the format of ``path``'s suffix.

    ``frames`` has all columns of `analytics.model.channels.FRAMES`, and is in order of time. Of the
    frames within one ms the first is written. A recording of that name in another format keeps its
    JSON file. ``laps`` become the beacons of a MoTeC file; the other formats do not use them.
    Raises ExportError, and OSError.
    """
    if not frames.num_rows:
        raise ExportError(f"{path}: there are no frames to write; has the session begun?")
    frames = _each_ms_once(frames)
    suffix = path.suffix.lower()
    if suffix == ".ld":
        from analytics.files.motec import write_motec

        try:
            write_motec(path, frames, session, laps)
        except TooLong as error:
            raise ExportError(f"{path}: {error}") from error
        return path
    if suffix not in _WRITERS:
        raise ExportError(
            f"{path}: {path.suffix or 'no suffix'} is no format; choose .ld, {', '.join(_WRITERS)}"
        )
    facts, beside = _facts(session), _recording_beside(path)
    if beside:
        _check_same(path, beside, facts)
    _WRITERS[suffix](as_recorded(frames), path)
    if not beside:
        path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return path


def _recording_beside(path: Path) -> Path | None:
    """Return another recording of this name, whose facts are in the same JSON file."""
    names = (path.with_suffix(suffix) for suffix in _WRITERS if suffix != path.suffix.lower())
    return next((name for name in names if name.is_file()), None)


def _check_same(path: Path, beside: Path, facts: dict[str, object]) -> None:
    """Refuse to write beside a recording of another session. Raises ExportError.

    A recording's JSON file may hold more facts than are known here. It stays as it is, and must not
    describe another session.
    """
    try:
        exported = facts_in(path.with_suffix(".json"))
    except RecordingError as error:
        raise ExportError(str(error)) from error
    other = [name for name, value in facts.items() if exported.get(name) != value]
    if other:
        raise ExportError(
            f"{path}: {beside.name} lies there, of another {' and '.join(other)}; choose another"
            " name"
        )


def _each_ms_once(frames: pa.Table) -> pa.Table:
    """Keep the first frame of each ms: two collectors of one session may send a time twice,
    recordings have it once.
    """
    time_ms = frames.column("time").cast(pa.int64()).to_numpy() // 1000
    again = time_ms[1:] == time_ms[:-1]
    return frames.filter(pa.array(np.append(True, ~again))) if again.any() else frames


def _write_arrow(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table)


_WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    ".parquet": pyarrow.parquet.write_table,
    ".csv": pyarrow.csv.write_csv,
    ".arrow": _write_arrow,
}


def _facts(session: SessionInfo) -> dict[str, object]:
    known = {
        "game": session.game,
        "track": session.track,
        "car": session.car,
        "driver": session.driver,
        "track_length_m": session.track_length_m,
    }
    return {name: value for name, value in known.items() if value}
