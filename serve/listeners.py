"""List the sockets on which a process and its children accept connections from other machines.

What of it is whose: Ray listens on every address of the machine and has no setting for it (Ray 2.60). Its own protocol asks for the
cluster's token; what it exports as metrics asks for nothing. Everything else of ours is on the address that a setting names.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

_DRIVER = "this command, as a driver of Ray"

#: Processes of Ray, by how their command line begins or what is in it, and what they answer whoever has no token.
NOTHING = "nothing"
RAY_PROCESSES = {
    "gcs_server": NOTHING,
    "raylet": NOTHING,
    "ray::": NOTHING,
    _DRIVER: NOTHING,
    "monitor.py": "numbers about the cluster (metrics)",
    "dashboard.py": "numbers about the cluster (metrics)",
    "ray::DashboardAgent": "numbers about this machine (metrics)",
}


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP socket that is open to other machines, and the command line of its process."""

    port: int
    command: str

    @property
    def answers(self) -> str | None:
        """What it answers without Ray's token; None where the process is none of Ray's."""
        found = [answer for name, answer in RAY_PROCESSES.items() if name in self.command]
        return found[-1] if found else None

    @property
    def wants_token(self) -> bool:
        """Whether nothing is to be had from it without Ray's token."""
        return self.answers == NOTHING


def summary(listeners: list[Listener]) -> str:
    """Say in one line what other machines reach; empty where they reach nothing."""
    if not listeners:
        return ""
    for_anybody = [f"{one.port} ({one.answers or one.command})" for one in listeners if not one.wants_token]
    closed = len(listeners) - len(for_anybody)
    named = f", and to anybody {', '.join(for_anybody)}" if for_anybody else ""
    return f"open to other machines, for want of a setting of Ray's: {closed} ports to whoever has its token{named}"


def open_to_others(root: psutil.Process) -> list[Listener]:
    """List the listeners of ``root`` and everything below it that are not on the loopback, by port."""
    return sorted(_listeners(root), key=lambda one: one.port)


def _listeners(root: psutil.Process) -> Iterator[Listener]:
    for process in (root, *root.children(recursive=True)):
        try:
            command = _DRIVER if process == root else " ".join(process.cmdline())
            sockets = process.net_connections("tcp")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended meanwhile, or is another user's: PostgreSQL's, where we are root, is asked as root
        for one in sockets:
            if one.status == psutil.CONN_LISTEN and not ipaddress.ip_address(one.laddr.ip).is_loopback:
                yield Listener(one.laddr.port, command)
