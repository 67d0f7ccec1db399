"""Starts a Ray cluster on this machine, or joins the cluster that the machine belongs to."""

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from ingest.cancellation import in_daemon_thread
from ingest.errors import PurpleSectorError
from serve.bridge.ray_environment import serve_environment
from serve.local.orphans import (
    PREFIX,
    folder_of_rays,
    processes_of,
    sweep,
    wait_for_end,
    write_owner,
)
from serve.local.ray_node import without_unused_processes

_CPUS = 2  # ingest spreads its partitions over these; the rest of a laptop is for its owner
# Near the minimum that Ray accepts, because nothing here stores objects.
_OBJECT_STORE_BYTES = 80 * 2**20
# Ray waits 30 s for its own processes, and no setting extends that. At a second try, a busy machine
# has their files in memory.
_TRIES = 4
# Ray's default is 20 tries of 40 s each. Each single try already waits for a cluster that starts
# together with this machine.
_TRIES_TO_JOIN = "1"
_TOKEN = (
    "RAY_AUTH_MODE=token takes it from ~/.ray/auth_token or RAY_AUTH_TOKEN, which have to be as on"
    " its nodes; the Ray of `up` lets nobody in, and RAY_ADDRESS names yours"
)
# Ray 2.60 turns `_node_ip_address="127.0.0.1"` into the machine's own address, and then listens on
# all addresses. This setting is Ray's default on Windows and macOS. No other setting keeps GCS,
# raylet, agents and workers on the loopback.
_ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# Otherwise any call in a leftover thread starts another Ray, with Ray's defaults, after ours has
# ended.
_NO_OTHER = {"RAY_ENABLE_AUTO_CONNECT": "0"}
# Each worker imports this module before anything else.
_WITHOUT_PANDAS = {"RAY_preload_python_modules": "serve.bridge.without_pandas"}
# At its end, a driver whose GCS is gone waits 5 s to flush events that no process receives. That
# was half of the time that the end took.
_ENDS_SOON = {"RAY_task_events_shutdown_flush_timeout_ms": "100"}
# A driver whose parent is process 1, as with `up --detach` and systemd, takes itself for a worker
# without parent. It then ends its whole process with its raylet, unless this variable names a
# process that runs. The raylet sets another value for its workers.
_RAYLET_PID = "RAY_RAYLET_PID"
# Label of the nodes of a Ray that ends with the command that started it.
_OWN = {"purple-sector": "own"}


@contextmanager
def run_ray(
    report: Callable[[str], None],
    *,
    cpus: int = _CPUS,
    pandas: bool = True,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[None]:
    """Start a Ray cluster on this machine and connect this process to it. Stop the cluster on
    leaving.

    Without ``pandas`` its workers cannot import pandas, and start sooner. ``meanwhile`` is called
    in a thread of its own as soon as Ray is imported. Raises PurpleSectorError where Ray does not
    start.
    """
    started_at = time.monotonic()
    # Ray's sockets are below this folder, and a socket's path has at most 107 characters.
    if killed := sweep(folder_of_rays()):
        report(f"{killed} processes were ended that a killed command had left behind")
    settings = _ON_LOOPBACK | _NO_OTHER | _ENDS_SOON | {_RAYLET_PID: str(os.getpid())}
    settings |= {} if pandas else _WITHOUT_PANDAS
    with _folder() as temporary, _environment(serve_environment(temporary) | settings):
        import ray  # Ray reads its environment once, at import

        _read_token_again()
        in_daemon_thread(meanwhile, name="while-ray-starts")
        try:
            with _own_sigterm_handler():
                _start(temporary, cpus, report)
            report(f"Ray {ray.__version__}, started in {time.monotonic() - started_at:.1f} s")
            yield
        finally:
            left = _children(temporary)
            _shut_down_ray()
            # Ray leaves HAProxy behind, which would continue to answer on the page's port. A killed
            # raylet leaves more.
            _kill([*left, *processes_of(temporary)])


@contextmanager
def _folder() -> Iterator[Path]:
    """Make the folder of a Ray of this process, and remove it on leaving."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder_of_rays()))
    try:
        write_owner(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(own: Mapping[str, str]) -> Iterator[None]:
    """Set the variables ``own``, and restore them on leaving.

    The next Ray of this process makes its own files, and must not search for these.
    """
    outside = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    # Ray prefers it to the file, and shows it in the list of processes.
    os.environ.pop("RAY_AUTH_TOKEN", None)
    try:
        yield
    finally:
        for name, value in outside.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _own_sigterm_handler() -> Iterator[None]:
    """Keep this process's SIGTERM handler. Ray's two handlers end the process at once, and leave
    some children behind.

    Ray sets its Python handler first. It would be in force while Ray starts: for a minute on a busy
    machine. Ray sets its C++ handler last.
    """
    import ray._private.utils as utils

    ours = signal.getsignal(signal.SIGTERM)
    theirs, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda _: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs
        signal.signal(signal.SIGTERM, ours)


def _shut_down_ray() -> None:
    """Shut Ray down, and keep this process's SIGTERM handler.

    Ray's C++ handler goes first, and leaves the system's default behind. Another SIGTERM, or one
    during a restart, would then end this process in the middle.
    """
    import ray
    import ray._private.worker as worker

    node = worker._global_node
    if node is not None:
        kill = node.kill_all_processes

        def with_own_handler(**options: Any) -> None:
            _install_again(signal.SIGTERM)
            kill(**options)

        node.kill_all_processes = with_own_handler
    ray.shutdown()
    _install_again(signal.SIGTERM)


def _install_again(number: signal.Signals) -> None:
    # Python's record is still the handler that this process has set.
    signal.signal(number, signal.getsignal(number))


def _read_token_again() -> None:
    """Make Ray's core read its authentication mode and token again.

    Its core otherwise keeps those of an earlier import, or of an earlier cluster.
    """
    import ray

    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


def connect_ray(report: Callable[[str], None]) -> None:
    """Join the Ray cluster that this machine belongs to, or that RAY_ADDRESS names. Raises
    PurpleSectorError.
    """
    if "://" not in os.environ.get("RAY_ADDRESS", "") and not _a_node():
        # Ray itself would search for a minute, and for a quarter of an hour if an ended Ray left
        # its address.
        raise PurpleSectorError(
            "no Ray runs on this machine: ray start, or ray up cluster.yaml, starts it"
        )
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", _TRIES_TO_JOIN)
    import ray

    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address="auto", log_to_driver=False, logging_level="error")
    except ray.exceptions.AuthenticationError as error:
        raise PurpleSectorError(
            f"the Ray cluster was not joined, for want of its token: {_TOKEN}"
        ) from error
    except ConnectionError as error:
        raise PurpleSectorError(
            f"the Ray cluster was not joined: {error}; has it ended, or does it want a token?"
            f" {_TOKEN}"
        ) from error
    except (RuntimeError, ValueError) as error:  # another version, or an invalid address
        raise PurpleSectorError(
            f"the Ray cluster was not joined: {' '.join(str(error).split())}"
        ) from error
    signal.signal(signal.SIGTERM, before)  # Ray sets its own, as in `_own_sigterm_handler`
    if any(_OWN.items() <= node["Labels"].items() for node in ray.nodes()):
        ray.shutdown()
        raise PurpleSectorError(
            "the Ray that runs here is of `purple-sector up`, or another of its commands, and ends"
            " with it; RAY_ADDRESS names yours"
        )
    report(f"Ray {ray.__version__}, {_size(ray.nodes())}")


def _a_node() -> bool:
    """Return whether a Ray runs on this machine.

    Only a process on a node of a cluster can join it.
    """
    return any(process.info["name"] == "raylet" for process in psutil.process_iter(["name"]))


def _size(nodes: list[dict[str, Any]]) -> str:
    alive = [node for node in nodes if node["Alive"]]
    cpus = sum(node["Resources"].get("CPU", 0) for node in alive)
    size = (
        f"{len(alive)} {'node' if len(alive) == 1 else 'nodes'} with {cpus:g}"
        f" {'CPU' if cpus == 1 else 'CPUs'}"
    )
    return size if cpus else f"{size} yet: waiting for one that has some"


def _start(temporary: Path, cpus: int, report: Callable[[str], None]) -> None:
    import ray

    for tries_left in reversed(range(_TRIES)):
        try:
            with without_unused_processes():
                ray.init(
                    address="local",  # regardless of RAY_ADDRESS
                    include_dashboard=False,
                    num_cpus=cpus,
                    labels=_OWN,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=str(temporary),
                    log_to_driver=False,
                    logging_level="error",
                )
            return
        except Exception as error:  # Ray's exceptions have no narrower type
            _shut_down_ray()
            _end_children(temporary)
            reason = str(error).partition("\n")[0]
            if not tries_left:
                raise PurpleSectorError(f"Ray did not start, {_TRIES} times: {reason}") from error
            report(f"Ray did not start, and is tried again: {reason}")


def _end_children(temporary: Path) -> None:
    """Kill the processes of a failed start, which Ray forgets."""
    _kill(_children(temporary))


def _children(temporary: Path) -> list[psutil.Process]:
    return [
        child for child in psutil.Process().children(recursive=True) if _is_of(child, temporary)
    ]


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
