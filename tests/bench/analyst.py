"""``python -m tests.bench.analyst``: what an analyst waits for. Prints a table, writes
build/bench-analyst.json.

Sessions of the simulator at 60 Hz, stored as ingest stores them, are asked for by `analytics` over
a connection of its own; the medians and the 90th percentiles are of laps chosen all over the store,
each read once before, as the second look at a lap is.
"""

import itertools
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table

import analytics
from analytics.catalog import Catalog, TimedLap
from analytics.comparison.trace import DRIVING, delta_s, traces
from analytics.laps.engine import advance
from analytics.model.track_layout import UNKNOWN
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.frames import drive, facts
from ingest.telemetry_pb2 import TelemetryMessage
from serve.local.system import run_database
from tests.service.owner import Owner

REPORT = Path("build/bench-analyst.json")
LAPS_A_SESSION = 50
HOUR_FRAMES = 216_000
LOOKS = 40
_BATCH = 20_000

console = Console(highlight=False)

Asked = TypeVar("Asked")


@dataclass(frozen=True, slots=True)
class Wait:
    """How long something took, in milliseconds, and how long it may take."""

    what: str
    p50_ms: float
    p90_ms: float
    budget_ms: float


@click.command()
@click.option("--laps", default=1_000, show_default=True, help="Laps to store, and to stream.")
def main(laps: int) -> None:
    """Measure reading a lap, comparing two, timing an hour anew, and the memory that a thousand
    laps take.

    EMBEDDED_DATABASE chooses what it is measured on.
    """
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="purple-sector-", ignore_cleanup_errors=True)
            )
        )
        folder.chmod(0o755)
        url = stack.enter_context(
            run_database(folder, durable=True, report=_tell)
        ).url.get_secret_value()
        _store(url, sessions=-(-laps // LAPS_A_SESSION))
        catalog = stack.enter_context(analytics.connect(url))
        waits = list(_waits(catalog))
        streamed, seconds, memory_mb = _in_a_process_of_its_own(url)
    REPORT.parent.mkdir(exist_ok=True)
    stream = {"laps": streamed, "seconds": seconds, "memory_mb": memory_mb}
    REPORT.write_text(
        json.dumps({"waits": [asdict(wait) for wait in waits], "stream": stream}, indent=2)
    )
    console.print(_table(waits, streamed, seconds, memory_mb))
    console.print(f"written to {REPORT}")


def _store(url: str, *, sessions: int) -> None:
    """Each session is the same drive under another key: what is measured is reading."""
    circuit = val_sarine()
    started_at_ms = 1_767_268_800_000
    driven = itertools.takewhile(
        lambda frame: frame.lap_number <= LAPS_A_SESSION,
        drive(circuit, seed=1, started_at_ms=started_at_ms),
    )
    values = []
    for sequence, frame in enumerate(driven, start=1):
        frame.sequence = sequence
        values.append(frame.SerializeToString())
    _tell(f"storing {sessions} sessions of {len(values):,} frames")
    with Owner(url) as owner:
        for number in range(sessions):
            key = f"session-{number}"
            said = facts(
                circuit, session_id=key, user_id=key, driver=key, started_at_ms=started_at_ms
            )
            owner.write(
                (key.encode(), TelemetryMessage(session=said, session_id=key).SerializeToString())
            )
            for start in range(0, len(values), _BATCH):
                owner.write(*((key.encode(), value) for value in values[start : start + _BATCH]))


def _waits(catalog: Catalog) -> Iterable[Wait]:
    laps = list(catalog.laps.flying())
    chosen = laps[:: max(1, len(laps) // LOOKS)][:LOOKS]
    pairs = list(itertools.pairwise(chosen))
    drive_ = catalog.sessions.newest()
    hour = drive_.telemetry().slice(0, HOUR_FRAMES)
    yield _timed(
        "the fastest lap of all, found", lambda _: catalog.laps.flying().fastest(), chosen, 50
    )
    yield _timed("a lap, every column", lambda lap: lap.telemetry(), chosen, 20)
    yield _timed("a lap, five columns", lambda lap: lap.telemetry(DRIVING), chosen, 20)
    yield _timed("two laps compared, with the database", _compare, pairs, 50)
    yield _timed(
        f"{len(hour):,} frames timed anew", lambda _: advance(hour, None, UNKNOWN), range(5), 1000
    )


def _compare(pair: tuple[TimedLap, TimedLap]) -> None:
    lap, reference = traces(pair, channels=DRIVING)
    delta_s(lap, reference)


def _timed(
    what: str, ask: Callable[[Asked], object], of: Iterable[Asked], budget_ms: float
) -> Wait:
    waited_ms = []
    for one in of:
        ask(one)
        started_at = time.perf_counter()
        ask(one)
        waited_ms.append((time.perf_counter() - started_at) * 1000)
    return Wait(
        what, statistics.median(waited_ms), sorted(waited_ms)[int(0.9 * len(waited_ms))], budget_ms
    )


def _in_a_process_of_its_own(url: str) -> tuple[int, float, float]:
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(_stream, [url])


def _stream(url: str) -> tuple[int, float, float]:
    """How many laps were streamed with every column, in how many seconds, and the memory that the
    process had at most.
    """
    started_at = time.perf_counter()
    with analytics.connect(url) as catalog:
        laps = sum(1 for _ in catalog.laps.telemetry())
    return (
        laps,
        time.perf_counter() - started_at,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _table(waits: Iterable[Wait], streamed: int, seconds: float, memory_mb: float) -> Table:
    table = Table(title="what an analyst waits for", title_justify="left")
    for column in ("what", "p50", "p90", "budget"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for wait in waits:
        table.add_row(
            wait.what,
            f"{wait.p50_ms:.1f} ms",
            f"{wait.p90_ms:.1f} ms",
            f"≤ {wait.budget_ms:.0f} ms",
        )
    table.add_row(
        f"{streamed:,} laps streamed, every column",
        f"{seconds:.1f} s",
        f"{memory_mb:,.0f} MB",
        "< 1,000 MB",
    )
    return table


def _tell(line: str) -> None:
    console.print(f"[dim]{line}[/]", soft_wrap=True)


if __name__ == "__main__":
    main()
