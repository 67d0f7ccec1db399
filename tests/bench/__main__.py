"""``python -m tests.bench``: prints a table, and writes build/bench.json."""

import json
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import psycopg

from ingest.schema import edition
from serve.local import run_broker, run_database, run_ray
from tests.bench.ingest import measure_ingest
from tests.bench.latency import measure_latency

FRAMES = 2_000_000
REPORT = Path("build/bench.json")


def main() -> None:
    print("not yet")


if __name__ == "__main__":
    main()
