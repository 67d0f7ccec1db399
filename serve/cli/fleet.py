"""Implements ``purple-sector laps fleet``: times all sessions on Ray for bests and bands."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ingest.errors import PurpleSectorError
from ingest.settings import DatabaseSettings
from serve.cli.tables import print_table, table_of

if TYPE_CHECKING:
    from analytics.fleet.batch import Fleet, JobReport
    from analytics.fleet.jobs import TimingJob


@click.command()
@click.argument("results", type=click.Path(file_okay=False, path_type=Path))
@click.argument("recordings", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--cpus", type=click.IntRange(1), help="Processes on this machine.  [all its CPUs]")
@click.option(
    "--on-cluster", is_flag=True, help="Use the Ray cluster that this machine belongs to."
)
def fleet(results: Path, recordings: tuple[Path, ...], cpus: int | None, on_cluster: bool) -> None:
    """Time all sessions; show the fastest driver and the spread of the field on each track in each
    car.

    RECORDINGS are .parquet, .arrow and .csv files, and folders of them. Without any, the command
    times the sessions stored at DATABASE_URL.

    RESULTS is a folder. It gets a timesheet of every session in timesheets/, and five tables as
    Parquet files: bests (lap, sectors, theoretical), lap_bands, mini_bands, speed_bands and failed.
    The bands are the 5th, 25th, 50th, 75th and 95th percentiles of flying laps: of lap times, of
    mini-sectors, and of speed at 200 steps around the lap. The table failed has the reason of each
    session that could not be timed. Such a session does not stop the others.

    Run it again at any time with the same RESULTS: it times only new and changed sessions, and
    resumes an interrupted run. A new version of the lap engine times everything again.

    With --on-cluster every node has to see RESULTS and RECORDINGS under the same names. For stored
    sessions each node's `ray start` must have had DATABASE_URL in its environment. Where several
    Rays run on this machine, RAY_ADDRESS selects one.
    """
    from analytics.errors import RecordingError, ResultsBusy
    from analytics.fleet.batch import time_all
    from analytics.fleet.jobs import recorded

    try:
        entries = recorded(recordings) if recordings else _stored()
        team = partial(_team, cpus=cpus or os.cpu_count() or 1, on_cluster=on_cluster)
        with _progress() as on_progress:
            done = time_all(entries, results.resolve(), team=team, on_progress=on_progress)
    except (RecordingError, ResultsBusy, OSError) as error:
        raise PurpleSectorError(str(error)) from error
    _show(done, len(entries), results)


def _stored() -> "list[TimingJob]":
    """List the stored sessions. Set DATABASE_URL in the environment for the processes that time
    them.
    """
    from analytics.fleet.jobs import stored
    from analytics.store.source import PostgresSource
    from serve.store_errors import translate_database_errors

    settings = DatabaseSettings.read()
    os.environ["DATABASE_URL"] = settings.url.get_secret_value()
    with translate_database_errors(settings.address), closing(PostgresSource(None)) as store:
        return stored(store)


def _team(
    entries: "Sequence[TimingJob]", sheets: Path, *, cpus: int, on_cluster: bool
) -> "Iterator[JobReport]":
    """Time the entries on Ray. Without an entry left to time, Ray is not started."""
    if entries:
        with _ray(cpus, on_cluster=on_cluster):
            from analytics.fleet.ray_data import on_ray

            yield from on_ray(entries, sheets)


@contextmanager
def _ray(cpus: int, *, on_cluster: bool) -> Iterator[None]:
    from serve.local.ray_cluster import connect_ray, run_ray

    report = partial(click.echo, err=True)
    if on_cluster:
        connect_ray(report)
        yield
    else:
        with run_ray(report, cpus=cpus):
            yield


@contextmanager
def _progress() -> Iterator[Callable[[int, int, "JobReport"], None]]:
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    columns = (TextColumn("timing"), BarColumn(), MofNCompleteColumn(), *times)
    with Progress(*columns, console=Console(stderr=True, highlight=False, emoji=False)) as progress:
        task = progress.add_task("timing", total=0)

        def show(done: int, of: int, report: "JobReport") -> None:
            progress.update(task, completed=done, total=of)
            if report.reason:
                line = f"{report.name}: {report.reason}"
                progress.console.print(line, style="red", markup=False, soft_wrap=True)

        yield show


def _show(done: "Fleet", sessions: int, results: Path) -> None:
    from analytics.catalog import lap_time

    numbers = ("flying laps", "best", "theoretical", "of mini-sectors")
    table = table_of(
        "track", "car", "flying laps", "best", "by", "theoretical", "of mini-sectors", right=numbers
    )
    for row in done.bests.to_pylist():
        times = (
            lap_time(row[name]) for name in ("best_ms", "theoretical_ms", "mini_theoretical_ms")
        )
        best, theoretical, minis = times
        by = row["driver"] or row["session"] or ""
        table.add_row(row["track"], row["car"], f"{row['flying']:,}", best, by, theoretical, minis)
    print_table(table)
    failed = (
        f"; {done.failed.num_rows} could not be timed, see failed.parquet"
        if done.failed.num_rows
        else ""
    )
    click.echo(
        f"{sessions:,} sessions, {done.timed:,} of them timed now{failed}; the tables are in"
        f" {results}"
    )
