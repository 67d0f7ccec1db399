"""What keeping frames on disk costs a game PC: python -m tests.bench.spool --seconds 60

60 frames a second are appended, synced, taken and acknowledged, with nothing else in the process.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import click

from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.spool.folder import SpoolFolder
from ingest.collectors.spool.memory import SpooledSession
from tests.service.given import frames

RATE_HZ = 60


@click.command()
@click.option("--seconds", default=60, show_default=True, help="For how long.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="On which disk; a temporary folder by default.",
)
def main(seconds: int, folder: Path | None) -> None:
    """Measure the CPU time of the spool, and how long the thread that appends is kept waiting."""
    spool = SpoolFolder(folder or Path(tempfile.mkdtemp()), max_bytes=10**9, keep_s=7200).begin(
        SpooledSession("bench", "anna", "protobuf")
    )
    values = [frame.SerializeToString() for frame in frames(seconds * RATE_HZ)]
    waits_s = []
    began, cpu = time.monotonic(), time.process_time()
    for number, value in enumerate(values, start=1):
        time.sleep(max(0.0, began + number / RATE_HZ - time.monotonic()))
        at = time.perf_counter()
        spool.append(OutgoingRecord(number, time.time_ns() // 1_000_000, value))
        spool.take()
        spool.acknowledge()
        spool.tend(now=time.monotonic())
        waits_s.append(time.perf_counter() - at)
    used_s, lasted_s = time.process_time() - cpu, time.monotonic() - began
    spool.close()
    waits_s.sort()
    sys.stdout.write(
        f"{len(values)} frames in {lasted_s:.0f} s: {100 * used_s / lasted_s:.2f} % of a core, of"
        " which waiting to be due too; append to acknowledged: median"
        f" {waits_s[len(waits_s) // 2] * 1e6:.0f} µs, p99"
        f" {waits_s[len(waits_s) * 99 // 100] * 1e6:.0f} µs, longest {waits_s[-1] * 1e3:.1f} ms;"
        f" {os.cpu_count()} CPUs\n"
    )


if __name__ == "__main__":
    main()
