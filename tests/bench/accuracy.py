"""``python -m tests.bench.accuracy [FOLDER]``: how near our lap times come to the games' own, and
what the lap engine costs.

FOLDER holds recordings with sidecars that tell ``true_laps``. Only times that the game itself told
are an independent truth; where time stamps were spread over a known lap time, a match proves
nothing, and such recordings are named and left out. A told time belongs to the lap that was driven
then: numbers of sidecar, game and engine may differ. Beside ours stand the two naive methods: from
the first sample of a lap to the first of the next, and the lap clock of a lap's last sample.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from analytics.files.recording import open_recording
from analytics.laps.engine import advance
from ingest.batching.write_batch import of_store
from ingest.codec.decode import decode
from tests.bench.records import serialized_session

#: Sources of lap times, as sidecars word them, that are the game's own and not made of the frames.
TOLD = ("last-lap time", "the game reports it")
#: Time stamps that were made of lap times or of the lap clock: what comes out was put in.
MADE = ("lap clock unwrapped", "spread", "laptime")
HOUR_FRAMES = 216_000
BATCH_ROWS = 20_000
#: A lap that is farther off is another lap. A pause that a method takes for driving is shorter.
SAME_LAP_MS = 10_000

METHODS = ("ours", "ours, without a clock", "first sample", "last clock")

console = Console(highlight=False, width=120)


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one recording and method, in ms; one for each crossing that ends a lap which the game
    timed.
    """

    recording: str
    rate_hz: float
    method: str
    ms: np.ndarray

    @property
    def figures(self) -> tuple[float, float, float]:
        """Root mean square, 95 % and the worst."""
        far = np.abs(self.ms)
        return float(np.sqrt(np.mean(far**2))), float(np.percentile(far, 95)), float(far.max())


class Timed(NamedTuple):
    """A lap as a method times it: when its middle was, in ms since the Unix epoch, and how long it
    took.
    """

    middle_ms: float
    time_ms: int


class Told(NamedTuple):
    """A lap as the game told it: its time, and between which frames it was driven."""

    time_ms: int
    from_ms: float
    to_ms: float


def errors_of(
    name: str, rate_hz: float, frames: pa.Table, truth: Sequence[Told]
) -> Iterator[Errors]:
    """How far each method is off, over the laps that all of them time."""
    methods = (_ours(frames), _ours(_clockless(frames)), *_naive(frames))
    off = np.array(_common(truth, methods), np.float64).reshape(-1, len(METHODS))
    for method, ms in zip(METHODS, off.T, strict=True):
        yield Errors(name, rate_hz, method, ms)


def _common(truth: Sequence[Told], methods: Sequence[Sequence[Timed]]) -> list[tuple[int, ...]]:
    """How far the methods are off, for each told lap that all of them time."""
    off = [tuple(_off_ms(told, laps) for laps in methods) for told in truth]
    known = [tuple(ms for ms in each if ms is not None) for each in off]
    return [each for each in known if len(each) == len(methods)]


def _off_ms(told: Told, laps: Sequence[Timed]) -> int | None:
    """The difference of the lap that was driven when ``told`` was; of two laps, the nearer one.

    A counter does not rise behind an out lap that it does not count.
    """
    then = (
        lap.time_ms - told.time_ms for lap in laps if told.from_ms <= lap.middle_ms < told.to_ms
    )
    same = (off for off in then if abs(off) <= SAME_LAP_MS)
    return min(same, key=abs, default=None)


def _ours(frames: pa.Table) -> list[Timed]:
    laps = {lap.lap_number: lap for lap in advance(frames, None)[0]}.values()
    return [
        Timed((lap.started_at_us + lap.ended_at_us) / 2000, lap.lap_time_ms)
        for lap in laps
        if lap.lap_time_ms and "partial" not in lap.flags
    ]


def _clockless(frames: pa.Table) -> pa.Table:
    """As from a game that has no lap clock: lines are found by counter, position and speed."""
    index = frames.schema.get_field_index("lap_clock_ms")
    zeros = pa.array(np.zeros(frames.num_rows, np.int32))
    return frames.set_column(index, frames.schema.field(index), zeros)


def _naive(frames: pa.Table) -> tuple[list[Timed], list[Timed]]:
    at_ms, starts = _by_counter(frames)
    clock = frames["lap_clock_ms"].to_numpy()
    spans = [(a, b, (at_ms[a] + at_ms[b]) / 2) for a, b in pairwise(starts[:-1].tolist())]
    first = [Timed(middle, int(at_ms[b] - at_ms[a])) for a, b, middle in spans if a]
    return first, [Timed(middle, int(clock[b - 1])) for _, b, middle in spans]


def _by_counter(frames: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """The times of all frames in ms, and the first frame of each stretch with one number; last,
    the number of frames.
    """
    number = frames["lap_number"].to_numpy()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(number)) + 1, [len(number)]])
    return frames["time"].cast(pa.int64()).to_numpy() // 1000, starts


def recorded(folder: Path) -> Iterator[Errors]:
    """Of the recordings whose truth is independent of their frames; says which are not."""
    for path in sorted(folder.glob("*.parquet")):
        recording, facts = open_recording(path), _sidecar(path)
        frames = recording.frames()
        truth = told_laps(facts, frames)
        if not truth or _made((facts.get("derived") or {}).get("timestamp_ms") or ""):
            console.print(
                f"[dim]{path.stem}: left out, its times are not independent of its frames[/]"
            )
            continue
        errors = list(errors_of(path.stem, recording.sample_rate_hz or 0.0, frames, truth))
        if not len(errors[0].ms):
            console.print(f"[dim]{path.stem}: left out, no lap is timed by every method[/]")
            continue
        yield from errors


def _sidecar(path: Path) -> dict[str, Any]:
    sidecar = path.with_suffix(".json")
    facts: dict[str, Any] = json.loads(sidecar.read_text("utf-8")) if sidecar.exists() else {}
    return facts


def told_laps(facts: dict[str, Any], frames: pa.Table) -> list[Told]:
    """The laps whose times the game told, and when they were driven; a lap without either is left
    out.
    """
    spans = _spans(facts, frames)
    laps = (lap for lap in facts.get("true_laps") or [] if _told(lap.get("source") or ""))
    return [
        Told(lap["lap_time_ms"], *spans[lap["lap_number"]])
        for lap in laps
        if lap.get("lap_time_ms") and lap.get("lap_number") in spans
    ]


def _spans(facts: dict[str, Any], frames: pa.Table) -> dict[int, tuple[float, float]]:
    """When the laps of a sidecar were driven, in ms, by its own numbers: as it says, else by the
    counter of the frames.
    """
    stated = {
        lap.get("lap_number"): (lap["first_timestamp_ms"], lap["last_timestamp_ms"])
        for lap in facts.get("laps") or []
        if lap.get("first_timestamp_ms") and lap.get("last_timestamp_ms")
    }
    return stated or _counted(frames)


def _counted(frames: pa.Table) -> dict[int, tuple[float, float]]:
    at_ms, starts = _by_counter(frames)
    numbers = frames["lap_number"].to_numpy()[starts[:-1]].tolist()
    edges_ms = np.append(at_ms, at_ms[-1] + 1)[starts].tolist()
    return dict(zip(numbers, pairwise(edges_ms), strict=True))


def simulated() -> Iterator[Errors]:
    """Frames stamped by the game's clock at 60 Hz, whose lap times are known from the line that was
    driven.
    """
    frames = of_store(decoded(HOUR_FRAMES), 1)
    told = frames["last_lap_time_ms"].fill_null(0).to_numpy()
    number, spans = frames["lap_number"].to_numpy(), _counted(frames)
    changes = np.flatnonzero(np.diff(told) != 0) + 1
    truth = [Told(int(told[i]), *spans[int(number[i]) - 1]) for i in changes]
    yield from errors_of("simulated, game clock", 60.0, frames, truth)


def decoded(count: int) -> pa.Table:
    values = serialized_session(count)
    return decode(values, [b"accuracy"] * count).frames


def cost() -> dict[str, float]:
    """Seconds for an hour of 60 Hz at once, and the engine's share of what decoding and encoding a
    batch for COPY take.
    """
    from tests.bench.ingest import encoded

    values = serialized_session(HOUR_FRAMES)
    frames = of_store(decode(values, [b"accuracy"] * len(values)).frames, 1)
    hour_s = min(_timed(lambda: advance(frames, None)) for _ in range(3))
    batch, some = frames.slice(BATCH_ROWS, BATCH_ROWS), values[BATCH_ROWS : 2 * BATCH_ROWS]
    _, engine_state = advance(frames.slice(0, BATCH_ROWS), None)
    engine_s = min(_timed(lambda: advance(batch, engine_state)) for _ in range(9))
    rest_s = min(
        _timed(lambda: encoded(of_store(decode(some, [b"a"] * len(some)).frames, 1)))
        for _ in range(9)
    )
    return {
        "hour_s": hour_s,
        "frames_per_s": BATCH_ROWS / engine_s,
        "engine_s": engine_s,
        "rest_s": rest_s,
    }


def _timed(work: Any) -> float:
    started_at = time.perf_counter()
    work()
    return time.perf_counter() - started_at


def _told(source: str) -> bool:
    return any(words in source for words in TOLD)


def _made(derived: str) -> bool:
    return any(words in derived.lower() for words in MADE)


@click.command()
@click.argument(
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default="../shared/data",
)
def main(folder: Path) -> None:
    """Print both tables."""
    table = Table(title="lap times, ms off the game's", title_justify="left")
    for column in ("recording", "Hz", "method", "crossings", "RMS", "95 %", "worst"):
        table.add_column(column, justify="left" if column in ("recording", "method") else "right")
    for errors in (*recorded(folder), *simulated()):
        rms, most, worst = (f"{figure:.1f}" for figure in errors.figures)
        count, rate = str(len(errors.ms)), f"{errors.rate_hz:.0f}"
        table.add_row(errors.recording, rate, errors.method, count, rms, most, worst)
    console.print(table)
    console.print(
        "budgets: RMS ≤ 15 ms at 30 Hz over a network, 95 % ≤ 2 ms at 60 Hz by the game's clock"
    )
    took = cost()
    console.print(f"an hour of 60 Hz: {took['hour_s']:.2f} s (≤ 1 s)")
    share = took["engine_s"] / BATCH_ROWS * 250_000
    console.print(
        f"the lap engine: {took['frames_per_s']:,.0f} frames/s, {100 * share:.1f} % of a core at"
        f" 250,000 frames/s; decoding and encoding take {took['rest_s'] / took['engine_s']:.0f}"
        " times as long"
    )


if __name__ == "__main__":
    main()
