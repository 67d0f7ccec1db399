"""Ray Data times the sessions of a fleet: `analytics.fleet.batch.time_all` with ``team=on_ray``.

The only file here that knows Ray. What travels is entries there and reports back, a few hundred bytes a session: frames are read where
they are timed, and timesheets are written from there, so every node must see the recordings or have DATABASE_URL, and see the folder
of the results. Rule: this process is connected to a cluster already; whose it is, and how large, is its caller's affair.
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

#: Sessions that one task times: few, so that little is done twice when a process dies.
_AT_ONCE = 4
# Reports are small; Ray would set aside 128 MB for what a task gives back, which a laptop's object store does not have.
_BLOCK_BYTES = 2**20


def on_ray(entries: Sequence[TimingJob], sheets: Path) -> Iterator[JobReport]:
    """A team of as many processes as the cluster has CPUs. What another node could not time says which node that was."""
    if not entries:
        return
    _quiet()
    here = ray.get_runtime_context().get_node_id()
    tasks = -(-len(entries) // _AT_ONCE)
    sessions = ray.data.from_items([asdict(entry) for entry in entries], override_num_blocks=tasks)
    reports = sessions.map_batches(partial(_time, sheets=sheets), batch_size=_AT_ONCE, batch_format="numpy")
    for row in reports.iter_rows():
        node = row.pop("node")
        report = JobReport(**row)
        if report.reason and node != here:
            report = replace(report, reason=f"{report.reason} (on {_address(node)})")
        yield report


def _time(batch: dict[str, Any], *, sheets: Path) -> dict[str, list[Any]]:
    """Columns of entries in, columns of reports and of the node's id out."""
    rows = zip(*(batch[name] for name in ("key", "path", "mark")), strict=True)
    node = ray.get_runtime_context().get_node_id()
    reports = [{**asdict(time_with_care(TimingJob(*map(str, row)), sheets)), "node": node} for row in rows]
    return {name: [report[name] for report in reports] for name in reports[0]}


def _address(node: str) -> str:
    """Of a node by its id, which Ray remembers also of those that have died."""
    return next((str(known["NodeManagerAddress"]) for known in ray.nodes() if known["NodeID"] == node), node)


def _quiet() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = _BLOCK_BYTES
    # A task that fails all the same takes its sessions with it, and not the run.
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.ERROR)
