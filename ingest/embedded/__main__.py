"""Fetches the files of the embedded services (``python -m ingest.embedded``), so that the first
start need not.
"""

import sys

from ingest.embedded.kafka.jars import kafka_jars
from ingest.embedded.process import ServiceUnavailable, Step
from ingest.embedded.timescale import fetch_packages


def main() -> None:
    """Fetch each. A missing one is printed and is no failure: tests that need it are skipped."""
    for fetch in (kafka_jars, fetch_packages):
        try:
            _print(str(fetch(progress=_print_step)))
        except ServiceUnavailable as missing:
            _print(str(missing))


def _print_step(step: Step) -> None:
    _print(str(step))


def _print(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
