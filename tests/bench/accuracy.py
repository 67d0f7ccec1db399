"""``python -m tests.bench.accuracy [FOLDER]``: how near our lap times come to the games' own, and
what the lap engine costs.

FOLDER holds recordings with sidecars that tell ``true_laps``. Only times that the game itself told
are an independent truth; where time stamps were spread over a known lap time, a match proves
nothing, and such recordings are named and left out. Beside ours stand the two naive methods: from
the first sample of a lap to the first of the next, and the lap clock of a lap's last sample.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def errors_of(
    name: str, rate_hz: float, frames: pa.Table, truth: dict[int, int]
) -> Iterator[Errors]:
    """How far each method is off, over the laps that all of them time."""
    methods = dict(
        zip(METHODS, (_ours(frames), _ours(_clockless(frames)), *_naive(frames)), strict=True)
    )
    numbers = sorted(set(truth).intersection(*methods.values()))
    for method, times in methods.items():
        yield Errors(
            name, rate_hz, method, np.array([times[n] - truth[n] for n in numbers], np.float64)
        )


def _ours(frames: pa.Table) -> dict[int, int]:
    """Our lap times by the game's counter in the middle of the lap: the engine's own numbers may be
    others.
    """
    laps, _ = advance(frames, None)
    time_us, counter = frames["time"].cast(pa.int64()).to_numpy(), frames["lap_number"].to_numpy()
    middle = np.searchsorted(time_us, [(lap.started_at_us + lap.ended_at_us) // 2 for lap in laps])
    counted = zip(counter[np.minimum(middle, len(counter) - 1)].tolist(), laps, strict=True)
    return {
        number: lap.lap_time_ms
        for number, lap in counted
        if lap.lap_time_ms and "partial" not in lap.flags
    }


def _clockless(frames: pa.Table) -> pa.Table:
    """As from a game that has no lap clock: lines are found by counter, position and speed."""
    index = frames.schema.get_field_index("lap_clock_ms")
    zeros = pa.array(np.zeros(frames.num_rows, np.int32))
    return frames.set_column(index, frames.schema.field(index), zeros)


def _naive(frames: pa.Table) -> tuple[dict[int, int], dict[int, int]]:
    number, clock = frames["lap_number"].to_numpy(), frames["lap_clock_ms"].to_numpy()
    at_ms = frames["time"].cast(pa.int64()).to_numpy() // 1000
    lines = np.flatnonzero(np.diff(number)) + 1
    starts = np.append(0, lines)
    first = {
        int(number[a]): int(at_ms[b] - at_ms[a]) for a, b in zip(starts, lines, strict=False) if a
    }
    last = {int(number[b - 1]): int(clock[b - 1]) for b in lines}
    return first, last


def recorded(folder: Path) -> Iterator[Errors]:
    """Of the recordings whose truth is independent of their frames; says which are not."""
    for path in sorted(folder.glob("*.parquet")):
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        recording = open_recording(path)
        truth = true_times_ms(facts)
        if not truth or _made(facts.get("derived", {}).get("timestamp_ms", "")):
            console.print(
                f"[dim]{path.stem}: left out, its times are not independent of its frames[/]"
            )
            continue
        yield from errors_of(path.stem, recording.sample_rate_hz or 0.0, recording.frames(), truth)


def true_times_ms(facts: dict[str, Any]) -> dict[int, int]:
    """The lap times that the game told, by its counter; a lap without one is left out."""
    laps = (lap for lap in facts.get("true_laps", []) if _told(lap.get("source", "")))
    return {lap["lap_number"]: lap["lap_time_ms"] for lap in laps if lap.get("lap_time_ms")}


def simulated() -> Iterator[Errors]:
    """Frames stamped by the game's clock at 60 Hz, whose lap times are known from the line that was
    driven.
    """
    frames = of_store(decoded(HOUR_FRAMES), 1)
    told = frames["last_lap_time_ms"].fill_null(0).to_numpy()
    number = frames["lap_number"].to_numpy()
    changes = np.flatnonzero(np.diff(told) != 0) + 1
    truth = {int(number[i]) - 1: int(told[i]) for i in changes}
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
