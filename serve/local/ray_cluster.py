"""Ray: a cluster of this machine's own, or the one that it belongs to."""

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from ingest.errors import PurpleSectorError
from serve.bridge.ray_environment import serve_environment
from serve.local.orphans import PREFIX, processes_of, sweep, wait_for_end, write_owner
from serve.local.ray_node import without_unused_processes

_CPUS = 2  # what ingest spreads its partitions over: the rest of a laptop is for its owner
_OBJECT_STORE_BYTES = 80 * 2**20  # near the least that Ray takes: nothing here puts objects there
# Ray gives its own processes 30 s, which no setting makes longer. The second time a busy machine has their files in memory.
_TRIES = 4
# By default 20 of 40 s each. A cluster that starts together with this machine is waited for by each of them.
_TRIES_TO_JOIN = "1"
_TOKEN = (
    "RAY_AUTH_MODE=token takes it from ~/.ray/auth_token or RAY_AUTH_TOKEN, which have to be as on its nodes; "
    "the Ray of `up` lets nobody in, and RAY_ADDRESS names yours"
)
# Ray 2.60 turns `_node_ip_address="127.0.0.1"` into the machine's own address, and then listens on all of them. This, its
# default on Windows and macOS, is the one setting by which GCS, raylet, agents and workers keep to the loopback.
_ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# Otherwise any call of a thread that is left over starts another Ray, with Ray's defaults, when ours has ended.
_NO_OTHER = {"RAY_ENABLE_AUTO_CONNECT": "0"}
# Imported by each worker before anything else.
_WITHOUT_PANDAS = {"RAY_preload_python_modules": "serve.bridge.without_pandas"}
# A driver whose GCS is gone waits 5 s at its end to be rid of events that nobody takes: half of what the end took then.
_ENDS_SOON = {"RAY_task_events_shutdown_flush_timeout_ms": "100"}
# Of the nodes of a Ray that ends with the command that started it.
_OWN = {"purple-sector": "own"}


@contextmanager
def run_ray(tell: Callable[[str], None], *, cpus: int = _CPUS, pandas: bool = True) -> Iterator[None]:
    """A Ray cluster on this machine, to which this process is connected. Raises PurpleSectorError where it does not start.

    Without ``pandas`` its workers cannot import that, and start the sooner.
    """
    started_at = time.monotonic()
    # Ray's sockets lie below this folder, and a socket's path has at most 107 characters.
    if killed := sweep(Path(tempfile.gettempdir())):
        tell(f"{killed} processes were ended that a killed command had left behind")
    temporary = Path(tempfile.mkdtemp(prefix=PREFIX))
    write_owner(temporary)
    settings = _ON_LOOPBACK | _NO_OTHER | _ENDS_SOON | ({} if pandas else _WITHOUT_PANDAS)
    own = serve_environment(temporary) | settings
    outside = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    os.environ.pop("RAY_AUTH_TOKEN", None)  # Ray would take it before the file, and show it to whoever lists processes
    import ray  # it reads its environment once, when it is imported

    _read_token_again()
    try:
        with _own_sigterm_handler():
            _start(temporary, cpus, tell)
        tell(f"Ray {ray.__version__}, started in {time.monotonic() - started_at:.1f} s")
        yield
    finally:
        left = _children(temporary)
        ray.shutdown()
        # Ray leaves HAProxy behind, which would go on to answer on the page's port; a raylet that was killed leaves more.
        _kill([*left, *processes_of(temporary)])
        shutil.rmtree(temporary, ignore_errors=True)
        # The next Ray of this process makes files of its own, and must not look for these.
        for name, value in outside.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _own_sigterm_handler() -> Iterator[None]:
    """Keep this process's handler. Ray's two end it on the spot, and leave some of its children behind.

    That of Python it sets first, and would have it while it starts: on a busy machine for a minute. That of C++ it sets last.
    """
    import ray._private.utils as utils

    ours = signal.getsignal(signal.SIGTERM)
    theirs, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda _: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs
        signal.signal(signal.SIGTERM, ours)


def _read_token_again() -> None:
    """Where Ray was imported before, or had another cluster, its core goes by the mode and the token of then."""
    import ray

    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


def connect_ray(tell: Callable[[str], None]) -> None:
    """Join the Ray cluster that this machine belongs to, or that RAY_ADDRESS names. Raises PurpleSectorError."""
    if "://" not in os.environ.get("RAY_ADDRESS", "") and not _a_node():
        # Ray itself would look for a minute, and for a quarter of an hour where an address is left of one that ended.
        raise PurpleSectorError("no Ray runs on this machine: ray start, or ray up cluster.yaml, starts it")
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", _TRIES_TO_JOIN)
    import ray

    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address="auto", log_to_driver=False, logging_level="error")
    except ray.exceptions.AuthenticationError as error:
        raise PurpleSectorError(f"the Ray cluster was not joined, for want of its token: {_TOKEN}") from error
    except ConnectionError as error:
        raise PurpleSectorError(
            f"the Ray cluster was not joined: {error}; has it ended, or does it want a token? {_TOKEN}"
        ) from error
    except (RuntimeError, ValueError) as error:  # another version, or an address that is none
        raise PurpleSectorError(f"the Ray cluster was not joined: {' '.join(str(error).split())}") from error
    signal.signal(signal.SIGTERM, before)  # as above
    if any(_OWN.items() <= node["Labels"].items() for node in ray.nodes()):
        ray.shutdown()
        raise PurpleSectorError(
            "the Ray that runs here is of `purple-sector up`, or another of its commands, and ends with it; RAY_ADDRESS names yours"
        )
    tell(f"Ray {ray.__version__}, {_size(ray.nodes())}")


def _a_node() -> bool:
    """Whether any Ray runs on this machine: only from one of its nodes a cluster is joined."""
    return any(process.info["name"] == "raylet" for process in psutil.process_iter(["name"]))


def _size(nodes: list[dict[str, Any]]) -> str:
    alive = [node for node in nodes if node["Alive"]]
    cpus = sum(node["Resources"].get("CPU", 0) for node in alive)
    size = f"{len(alive)} {'node' if len(alive) == 1 else 'nodes'} with {cpus:g} {'CPU' if cpus == 1 else 'CPUs'}"
    return size if cpus else f"{size} yet: waiting for one that has some"


def _start(temporary: Path, cpus: int, tell: Callable[[str], None]) -> None:
    import ray

    for tries_left in reversed(range(_TRIES)):
        try:
            with without_unused_processes():
                ray.init(
                    address="local",  # whatever RAY_ADDRESS says
                    include_dashboard=False,
                    num_cpus=cpus,
                    labels=_OWN,
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
    _kill(_children(temporary))


def _children(temporary: Path) -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if _is_of(child, temporary)]


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for_end(processes)


def _is_of(child: psutil.Process, temporary: Path) -> bool:
    try:
        return any(str(temporary) in argument for argument in child.cmdline())
    except psutil.Error:
        return False
