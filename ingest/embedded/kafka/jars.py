"""Fetches Apache Kafka's jars once, checks them and keeps them in a cache folder.

``kafka_jars.txt`` lists the jars and their hashes. So no version is chosen while a user waits, and
an altered file is refused. ``jgo`` fetches them in pure Python, else Maven where the machine has
it. Both find their registry on their own.
"""

import contextlib
import hashlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ingest.cancellation import Cancelled, never, run_to_end, unless_cancelled
from ingest.embedded.cache import entry, filled
from ingest.embedded.process import Progress, ServiceUnavailable, Step, quiet

VERSION = "4.4.0"
NAME = f"Apache Kafka {VERSION}"
_ATTEMPTS = 2
_ELSEWHERE = "fetch it later, or set KAFKA_BROKERS to a broker that runs"

_POM = """<project><modelVersion>4.0.0</modelVersion>
<groupId>purple-sector</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{}</dependencies></project>"""
_POM_DEPENDENCY = (
    "<dependency><groupId>{0.group}</groupId><artifactId>{0.artifact}</artifactId><version>{0.version}</version>"
    "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>"
)


@dataclass(frozen=True, slots=True)
class Jar:
    """One file of the class path, as its registry names it."""

    group: str
    artifact: str
    version: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Return the name of the jar's file."""
        return f"{self.artifact}-{self.version}.jar"

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def wanted() -> list[Jar]:
    """Return all the jars that Kafka runs on."""
    lines = files("ingest.embedded.kafka").joinpath("kafka_jars.txt").read_text().splitlines()
    return [_jar(line) for line in lines if not line.startswith("#")]


def _jar(line: str) -> Jar:
    coordinates, size_bytes, sha256 = line.split()
    group, artifact, version = coordinates.split(":")
    return Jar(group, artifact, version, int(size_bytes), sha256)


def kafka_jars(
    cache: Path | None = None,
    *,
    offline: bool = False,
    registries: Mapping[str, str] | None = None,
    progress: Progress = quiet,
    cancelled: Cancelled = never,
) -> Path:
    """Return the folder with Kafka's jars, fetched at first (45 MB).

    ``registries`` replaces the fetcher's own, name to URL. Raises ServiceUnavailable if the jars
    are absent and not available, or have wrong contents. Raises Stopped where it is ``cancelled``.
    """
    folder = entry(f"kafka-{VERSION}", cache)
    if offline and not folder.is_dir():
        raise ServiceUnavailable(
            NAME, f"its jars are not in {folder.parent}, and fetching was ruled out"
        )
    return filled(
        folder, lambda jars: _fill(jars, registries, progress, cancelled), cancelled=cancelled
    )


def _fill(
    jars: Path, registries: Mapping[str, str] | None, progress: Progress, cancelled: Cancelled
) -> None:
    workshop = jars / "workshop"  # the fetchers leave more than jars behind
    workshop.mkdir()
    _fetch(jars, workshop, registries, progress, cancelled)
    shutil.rmtree(workshop)
    for jar in wanted():
        _check(jar, jars / jar.file_name)


def _fetch(
    jars: Path,
    workshop: Path,
    registries: Mapping[str, str] | None,
    progress: Progress,
    cancelled: Cancelled,
) -> None:
    # The machine's Maven has its own registry, so it cannot replace a chosen one.
    maven = shutil.which("mvn") if registries is None else None
    if importlib.util.find_spec("jgo") is None and maven is None:
        reason = "its jars need jgo or Maven to fetch them; pip install 'purple-sector[embedded]'"
        raise ServiceUnavailable(NAME, reason)
    try:
        # A registry may be slow to answer, and its client waits for it.
        unless_cancelled(lambda: _by_jgo(jars, workshop, registries, progress), cancelled)
    except ServiceUnavailable:
        if maven is None:
            raise
        _by_maven(maven, jars, workshop, progress, cancelled)


def _by_jgo(
    jars: Path, workshop: Path, registries: Mapping[str, str] | None, progress: Progress
) -> None:
    try:
        from jgo.maven import MavenContext, PythonResolver  # an extra
    except ImportError:
        raise ServiceUnavailable(NAME, "jgo is not installed") from None
    received = _Received(progress, sum(jar.size_bytes for jar in wanted()))
    resolver = PythonResolver(progress_callback=received.file)
    remotes = dict(registries) if registries else None
    context = MavenContext(
        resolver=resolver, repo_cache=workshop / "repository", remote_repos=remotes
    )
    for jar in wanted():
        _download(context, jar).rename(jars / jar.file_name)


def _download(context: Any, jar: Jar) -> Path:
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return Path(artifact.resolve())
        # Errors of requests are OSErrors; jgo itself raises RuntimeError when no registry has the
        # file.
        except (OSError, RuntimeError) as failed:
            artifact.cached_path.unlink(missing_ok=True)
            if attempt == _ATTEMPTS:
                reason = f"{jar} could not be fetched: {failed}; {_ELSEWHERE}"
                raise ServiceUnavailable(NAME, reason) from failed
    raise AssertionError("the last attempt returns or raises")


class _Received:
    """Adds up the received bytes, to show progress."""

    def __init__(self, progress: Progress, total_bytes: int) -> None:
        self._progress = progress
        self._total_bytes = total_bytes
        self._done_bytes = 0

    @contextlib.contextmanager
    def file(self, _name: str, _size_bytes: int) -> Iterator[Callable[[int], None]]:
        yield self._add
        self._progress(
            Step(NAME, "fetching", min(self._done_bytes, self._total_bytes), self._total_bytes)
        )

    def _add(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes


def _by_maven(
    maven: str, jars: Path, workshop: Path, progress: Progress, cancelled: Cancelled
) -> None:
    progress(Step(NAME, "fetching with Maven"))
    pom = workshop / "pom.xml"
    pom.write_text(_POM.format("".join(_POM_DEPENDENCY.format(jar) for jar in wanted())))
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
    command = [maven, "-q", "-B", "-f", str(pom), *goal]
    done = run_to_end(command, cancelled=cancelled)
    if done.returncode != 0:
        reason = (done.stdout + done.stderr).strip().splitlines()[:1]
        raise ServiceUnavailable(NAME, f"Maven could not fetch its jars: {' '.join(reason)}")


def _check(jar: Jar, file: Path) -> None:
    if not file.exists():
        raise ServiceUnavailable(NAME, f"{jar} did not arrive")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise ServiceUnavailable(
            NAME, f"{jar} is not the file it should be: SHA-256 {found}, not {jar.sha256}"
        )
