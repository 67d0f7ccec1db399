"""Writes the archive of Kafka's classes, with which a start takes half of the work.

A Java writes such an archive when it ends, for 4 s of CPU. So a run of its own writes it, and no
stop of a broker waits for it.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from ingest.cancellation import Cancelled, Stopped, in_daemon_thread, never
from ingest.embedded.kafka.jars import NAME, kafka_jars
from ingest.embedded.kafka.server import Kafka, archive_of, find_java
from ingest.embedded.process import Progress, quiet
from ingest.errors import PurpleSectorError

_LOOK_EVERY_S = 0.1


class ArchivedRun(Kafka):
    """Runs Kafka, and writes the archive to its folder when it is stopped."""

    service = f"{NAME}, for its archive of classes"
    stopped_within_s = 300.0
    niceness: ClassVar[int] = 0

    @property
    def written(self) -> Path:
        """Return where the archive is after a stop."""
        return self.folder / "classes.jsa"

    def _command(self) -> list[str]:
        java, *options = super()._command()
        writing = f"-XX:ArchiveClassesAtExit={self.written}"
        return ["nice", "-n", str(self.niceness), java, writing, *options]


class PatientRun(ArchivedRun):
    """Runs with the least priority: a system that starts or runs goes first."""

    niceness = 19


def write_archive(
    *,
    jars: Path | None = None,
    run_type: type[ArchivedRun] = ArchivedRun,
    progress: Progress = quiet,
    cancelled: Cancelled = never,
) -> Path:
    """Write the archive beside ``jars`` if there is none, whole or not at all; return its path.

    Raises ServiceUnavailable, OSError where the folder cannot be written to, and Stopped where it
    is ``cancelled``.
    """
    java, jars = find_java(), jars or kafka_jars(progress=progress, cancelled=cancelled)
    archive = archive_of(jars, java)
    if archive.exists():
        return archive
    with TemporaryDirectory(prefix="purple-sector-") as folder:
        run = run_type.start(Path(folder), jars=jars, java=java, cancelled=cancelled)
        _stop(run, cancelled)
        arriving = archive.with_name(f"{archive.name}.{os.getpid()}")
        shutil.copyfile(run.written, arriving)
        arriving.replace(archive)
    return archive


def _stop(run: ArchivedRun, cancelled: Cancelled) -> None:
    ended = in_daemon_thread(run.stop, name="class-archive-stop")
    while not wait([ended], _LOOK_EVERY_S).done:
        if cancelled():
            run.kill()
            raise Stopped
    ended.result()


@contextmanager
def archive_written_meanwhile() -> Iterator[None]:
    """Write the archive while the block lasts, if there is none, with the least priority.

    Give it up at the block's end.
    """
    over = threading.Event()
    writing = in_daemon_thread(
        lambda: write_archive(run_type=PatientRun, cancelled=over.is_set), name="class-archive"
    )
    try:
        yield
    finally:
        over.set()
        with suppress(PurpleSectorError, OSError):
            writing.result()
