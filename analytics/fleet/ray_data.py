"""Times the sessions of a fleet on Ray Data: `analytics.fleet.batch.time_all` with ``team=on_ray``.

This is the only module of the package that uses Ray. Jobs travel to the workers, and reports travel
back. They take a few hundred bytes a session. Frames are read where they are timed, and timesheets
are written there. Every node must therefore see the recordings or have DATABASE_URL, and must see
the folder of the results. Rule: this process is already connected to a cluster. The caller chooses
the cluster and its size.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.data

from analytics.fleet.batch import JobReport, time_with_care
from analytics.fleet.jobs import TimingJob

#: The sessions that one task times. They are few, so that little work is repeated when a process
#: dies.
_AT_ONCE = 4
# Reports are small. By default, Ray would reserve 128 MB for the result of a task. A laptop's
# object store does not have that much.
_BLOCK_BYTES = 2**20


def on_ray(entries: Sequence[TimingJob], sheets: Path) -> Iterator[JobReport]:
    """Time jobs in as many processes as the cluster has CPUs.

    The reason of a job that failed on another node includes that node's address.
    """
    if not entries:
        return
    _quiet()
    here = ray.get_runtime_context().get_node_id()
    tasks = -(-len(entries) // _AT_ONCE)
    sessions = ray.data.from_items([asdict(entry) for entry in entries], override_num_blocks=tasks)
    reports = sessions.map_batches(
        partial(_time, sheets=sheets), batch_size=_AT_ONCE, batch_format="numpy"
    )
    for row in reports.iter_rows():
        yield _report(row, here)


def _report(row: dict[str, Any], here: str) -> JobReport:
    node = row.pop("node")
    report = JobReport(**row)
    if report.reason and node != here:
        return replace(report, reason=f"{report.reason} (on {_address(node)})")
    return report


def _time(batch: dict[str, Any], *, sheets: Path) -> dict[str, list[Any]]:
    """Time a batch: take columns of jobs, and return columns of reports and of the node's id."""
    rows = zip(*(batch[name] for name in ("key", "path", "mark")), strict=True)
    node = ray.get_runtime_context().get_node_id()
    reports = [
        {**asdict(time_with_care(TimingJob(*map(str, row)), sheets)), "node": node} for row in rows
    ]
    return {name: [report[name] for report in reports] for name in reports[0]}


def _address(node: str) -> str:
    """Return the address of a node by its id. Ray also remembers nodes that have died."""
    return next(
        (str(known["NodeManagerAddress"]) for known in ray.nodes() if known["NodeID"] == node), node
    )


def _quiet() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = _BLOCK_BYTES
    # A task that still fails loses its own sessions, but does not stop the run.
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.ERROR)
