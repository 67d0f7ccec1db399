"""Ray: a cluster of this machine's own, or the one that it belongs to."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from ingest.errors import PurpleSectorError
from serve.environment import serve_environment

_CPUS = 2  # what ingest spreads its partitions over: the rest of a laptop is for its owner
_OBJECT_STORE_BYTES = 80 * 2**20  # near the least that Ray takes: nothing here puts objects there
# Ray gives its own processes 30 s, which no setting makes longer. The second time a busy machine has their files in memory.
_TRIES = 4


@contextmanager
def run_ray(tell: Callable[[str], None], *, cpus: int = _CPUS) -> Iterator[None]:
    """A Ray cluster on this machine, to which this process is connected. Raises PurpleSectorError where it does not start."""
    started_at = time.monotonic()
    # Ray's sockets lie below this folder, and a socket's path has at most 107 characters.
    temporary = Path(tempfile.mkdtemp(prefix="ps-"))
    os.environ.update(serve_environment(temporary))
    import ray  # it reads its environment once, when it is imported

    before = signal.getsignal(signal.SIGTERM)
    try:
        _start(temporary, cpus, tell)
        # Ray's own handler ends this process on the spot, and leaves some of its children behind.
        signal.signal(signal.SIGTERM, before)
        tell(f"Ray {ray.__version__}, started in {time.monotonic() - started_at:.1f} s")
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(temporary, ignore_errors=True)


def connect_ray() -> None:
    """Join the Ray cluster that this machine belongs to. Raises PurpleSectorError where it belongs to none."""
    import ray

    try:
        ray.init(address="auto", log_to_driver=False, logging_level="error")
    except ConnectionError as error:
        raise PurpleSectorError("no Ray runs on this machine: ray start, or ray up cluster.yaml, starts it") from error


def _start(temporary: Path, cpus: int, tell: Callable[[str], None]) -> None:
    import ray

    for tries_left in reversed(range(_TRIES)):
        try:
            ray.init(
                include_dashboard=False,
                num_cpus=cpus,
                object_store_memory=_OBJECT_STORE_BYTES,
                _temp_dir=str(temporary),
                log_to_driver=False,
                logging_level="error",
            )
            return
        except Exception as error:  # what Ray raises has no narrower type
            ray.shutdown()
            _end_children(temporary)
            said = str(error).partition("\n")[0]
            if not tries_left:
                raise PurpleSectorError(f"Ray did not start, {_TRIES} times: {said}") from error
            tell(f"Ray did not start, and is tried again: {said}")


def _end_children(temporary: Path) -> None:
    """Of a start that failed Ray forgets its processes."""
    left = [child for child in psutil.Process().children(recursive=True) if _is_of(child, temporary)]
    for child in left:
        child.kill()
    psutil.wait_procs(left)


def _is_of(child: psutil.Process, temporary: Path) -> bool:
    try:
        return any(str(temporary) in argument for argument in child.cmdline())
    except psutil.Error:
        return False
