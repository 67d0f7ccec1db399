"""``python -m tests.bench``: prints a table, and writes build/bench.json.

Starts its own broker and database, unless KAFKA_BROKERS and DATABASE_URL name others; whose tables
it empties.
"""

import json
import os
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import psycopg
from rich.console import Console
from rich.table import Table

from ingest.kafka.topics import create_topics
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings, LogSettings
from ingest.store.schema.edition import read_edition
from ingest.workers.supervisor import ClusterSettings, start_ingest, stop_ingest
from serve.local.ray_cluster import run_ray
from serve.local.system import run_broker, run_database
from tests.bench.ingest import empty, measure_ingest
from tests.bench.live import PARTITIONS, add_rows, await_owners, measure_cases
from tests.bench.steady import SteadyFigures, measure_steady

REPORT = Path("build/bench.json")
# What the design promises; shown beside what was measured, never asserted.
BUDGETS = {"frames_per_s": 250_000, "ratio": 0.8, "visible_s": 0.5}

console = Console(highlight=False)


@click.command()
@click.option("--frames", default=4_000_000, show_default=True, help="Frames to ingest.")
@click.option(
    "--seconds", default=20.0, show_default=True, help="How long to measure each case of latency."
)
@click.option(
    "--steady", default=300.0, show_default=True, help="How many seconds a thousand cars drive."
)
def main(frames: int, seconds: float, steady: float) -> None:
    """Measure ingest beside a bare COPY, latency from a game's step to a viewer, and how soon
    frames are visible to SQL.

    EMBEDDED_DATABASE and EMBEDDED_BROKERS choose what it is measured on; TimescaleDB is the default
    here.
    """
    os.environ.setdefault("EMBEDDED_DATABASE", "timescaledb")
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="purple-sector-", ignore_cleanup_errors=True)
            )
        )
        folder.chmod(0o755)
        database = stack.enter_context(run_database(folder, durable=True, report=_tell))
        kafka = stack.enter_context(run_broker(folder / "kafka", report=_tell))
        create_topics(kafka)
        stack.enter_context(run_ray(_tell))
        live = measure_cases(kafka, database, seconds=seconds, report=_tell)
        # A topic of its own, or ingest would find the frames of the viewers in it.
        throughput = kafka.model_copy(update={"topic_telemetry": "throughput"})
        create_topics(throughput)
        ingest = measure_ingest(throughput, database, frames=frames, report=_tell)
        visible = _steady(kafka.model_copy(update={"topic_telemetry": "steady"}), database, steady)
        report = {
            "machine": {"cpus": os.cpu_count()},
            "ingest": asdict(ingest) | {"broker": kafka.brokers, "database": _edition(database)},
            "live": live,
            "steady": asdict(visible),
        }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2))
    console.print(_table(report))
    console.print(f"written to {REPORT}")


def _steady(kafka: KafkaSettings, database: DatabaseSettings, seconds: float) -> SteadyFigures:
    create_topics(kafka)
    empty(database)
    start_ingest(ClusterSettings(kafka, database, IngestSettings(), LogSettings(level="ERROR")))
    try:
        await_owners(database, PARTITIONS)
        return measure_steady(kafka, database, duration_s=seconds, report=_tell)
    finally:
        stop_ingest()


def _edition(database: DatabaseSettings) -> str:
    with psycopg.connect(database.url.get_secret_value()) as conn:
        return str(read_edition(conn))


def _table(report: dict[str, Any]) -> Table:
    ingest, steady = report["ingest"], report["steady"]
    table = Table(
        title=f"{ingest['frames']:,} frames, {ingest['laps']} laps; {ingest['database']}",
        title_justify="left",
    )
    for column in ("what", "measured", "budget"):
        table.add_column(column, justify="left" if column == "what" else "right")
    table.add_row(
        "ingest, frames/s", f"{ingest['frames_per_s']:,.0f}", f"≥ {BUDGETS['frames_per_s']:,}"
    )
    table.add_row("bare COPY, rows/s", f"{ingest['copy_rows_per_s']:,.0f}", "")
    table.add_row("ingest / COPY", f"{ingest['ratio']:.2f}", f"≥ {BUDGETS['ratio']}")
    table.add_row(
        "bare COPY over two connections, rows/s", f"{ingest['parallel_copy_rows_per_s']:,.0f}", ""
    )
    table.add_row("ingest / COPY over two connections", f"{ingest['parallel_ratio']:.2f}", "")
    add_rows(table, report["live"])
    for name, figure in (("p50", "p50_s"), ("p99", "p99_s"), ("max", "max_s")):
        what = (
            f"{steady['cars']:,} cars, {steady['frames_per_s']:,.0f} frames/s: frame → visible,"
            f" {name}"
        )
        table.add_row(what, f"{steady[figure]:.2f} s", f"≤ {BUDGETS['visible_s']} s")
    for name, (first_mb, last_mb) in steady["memory_mb"].items():
        cpus = steady["cpus"].get(name, 0.0)
        table.add_row(
            f"the same: {name}", f"{cpus:.2f} CPUs, {first_mb:,.0f} → {last_mb:,.0f} MB", ""
        )
    return table


def _tell(line: str) -> None:
    console.print(f"[dim]{line}[/]", soft_wrap=True)


if __name__ == "__main__":
    main()
