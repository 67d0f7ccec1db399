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
            _say(str(fetch(progress=_tell)))
        except ServiceUnavailable as missing:
            _say(str(missing))


def _tell(step: Step) -> None:
    _say(str(step))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
