"""Lists the sockets on which a process and its children accept connections.

Rule: a socket listens beyond the loopback only because a setting names another address. The start
prints such sockets.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

_PAGE = "the page"
_CONTENT = {"haproxy": _PAGE, "ray::ServeReplica": _PAGE, "ray::ProxyActor": _PAGE}


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A TCP socket that accepts connections, and the command line of its process."""

    host: str
    port: int
    command: str

    @property
    def on_loopback(self) -> bool:
        """Return whether only this machine reaches the socket."""
        address = ipaddress.ip_address(self.host)
        # Ray listens on ::ffff:127.0.0.1, which Python 3.11 does not count as the loopback.
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback

    @property
    def content(self) -> str:
        """Return a description of the content that it serves, or the command line where `_CONTENT`
        lacks one.
        """
        return next(
            (content for name, content in _CONTENT.items() if name in self.command), self.command
        )


def summary(listeners: list[ListeningSocket]) -> str:
    """Name port and content of each socket that other machines reach.

    Empty where they reach none.
    """
    beyond = [f"{one.port} ({one.content})" for one in listeners if not one.on_loopback]
    return f"open to other machines: {', '.join(beyond)}" if beyond else ""


def listening(root: psutil.Process) -> list[ListeningSocket]:
    """List the listeners of ``root`` and everything below it, by port."""
    return sorted(_listeners(root), key=lambda one: one.port)


def _listeners(root: psutil.Process) -> Iterator[ListeningSocket]:
    for process in (root, *root.children(recursive=True)):
        try:
            command = " ".join(process.cmdline())
            sockets = process.net_connections("tcp")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it has ended, or belongs to another user
        for one in sockets:
            if one.status == psutil.CONN_LISTEN:
                yield ListeningSocket(one.laddr.ip, one.laddr.port, command)
