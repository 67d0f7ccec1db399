"""Fetches the files of the embedded services (``python -m ingest.embedded``), so that the first
start need not. It also writes the archive of Kafka's classes.
"""

import sys

from ingest.embedded.kafka.class_archive import write_archive
from ingest.embedded.kafka.jars import kafka_jars
from ingest.embedded.process import ServiceUnavailable, Step
from ingest.embedded.timescale import fetch_packages


def main() -> None:
    """Prepare each. A missing one is printed and is no failure: tests that need it are skipped."""
    for prepare in (kafka_jars, write_archive, fetch_packages):
        try:
            _print(str(prepare(progress=_print_step)))
        except (ServiceUnavailable, OSError) as missing:
            _print(str(missing))


def _print_step(step: Step) -> None:
    _print(str(step))


def _print(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
