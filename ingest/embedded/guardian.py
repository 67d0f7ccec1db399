"""Guards one service process: its parent on the process tree, which ensures that it never outlives
us.

`ingest.embedded.process` runs it as a script, with the standard library alone so that it starts
fast: ``guardian.py UID GID COMMAND...`` (``-`` for "as we are"). It writes the service's process id
to standard output, then obeys standard input. Each line is a signal to pass on. Its end means that
our owner is gone, also after kill -9. The service dies with the guardian too: on Linux the kernel
ensures that, whatever kills it.

Rule: when this script ends, no process that the service started is left.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run the command to its end; the exit status is the command's, 128 + n for signal n."""
    uid, gid, *command = sys.argv[1:]
    # Handlers, not SIG_IGN, which the service would inherit. If everybody gets a polite signal, the
    # service must answer it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    prctl = _prctl()
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    service = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
        user=None if uid == "-" else int(uid),
        group=None if gid == "-" else int(gid),
        extra_groups=None if uid == "-" else [],
        # Runs after the change of user, which would clear it. There is one thread so far, and it
        # lives as long as we do.
        preexec_fn=lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    sys.stdout.write(f"{service.pid}\n")
    sys.stdout.flush()
    threading.Thread(target=_watch_parent, args=(service,), daemon=True).start()
    status = service.wait()
    _sweep()
    return status if status >= 0 else 128 - status


def _prctl() -> Callable[[int, int], int]:
    """Return the system call of that name on Linux. Elsewhere the pipe alone must suffice."""
    if sys.platform != "linux":
        return lambda *_: 0
    prctl: Callable[[int, int], int] = ctypes.CDLL(None, use_errno=True).prctl
    return prctl


def _watch_parent(service: "subprocess.Popen[bytes]") -> None:
    for line in sys.stdin:
        _send(service, signal.Signals(int(line)))
    _send(service, signal.SIGKILL)


def _send(service: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if number == signal.SIGKILL and service.poll() is None:
            os.killpg(service.pid, number)
        else:
            service.send_signal(number)


def _sweep() -> None:
    """Kill the processes that the service left behind. As its subreaper, we have inherited them."""
    while orphans := _children(os.getpid()):
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _children(parent: int) -> list[int]:
    return [
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        if _parent(stat) == parent
    ]


def _parent(stat: Path) -> int:
    try:
        # The name before it may contain spaces and brackets.
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    # Not sys.exit: a daemon thread still reads standard input, and finalizing would wait for its
    # lock.
    os._exit(main())
