"""Which names the page has: what a request's Host and Origin may be.

Pure. A page elsewhere whose name is made to point here has the same origin as ours (DNS rebinding), so a name has to be known:
addresses and the loopback's names are, others are set. The rule: no header but Host and Origin decides, since any may be forged.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class HostAndPort:
    """A name or address, and the port if one was given."""

    name: str
    port: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether no other's DNS decides where it leads: an address, or a name of the loopback."""
        if self.name == "localhost" or self.name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(self.name.strip("[]"))
        except ValueError:
            return False
        return True

    def with_port_of(self, scheme: str) -> "HostAndPort":
        """The same with the scheme's port where none was given."""
        return self if self.port is not None else HostAndPort(self.name, _DEFAULT_PORTS[scheme])


def authority(text: str) -> HostAndPort | None:
    """Parse ``name``, ``name:port`` or ``[address]:port``, in any case and with a final dot; None for anything else."""
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    return HostAndPort(found["name"].removesuffix("."), port) if port is None or port < 65_536 else None


class Hosts:
    """The names that the page has besides addresses and those of the loopback.

    ``bound`` is the one it is bound to; pages elsewhere on that machine are not ours.
    """

    def __init__(self, allowed: Iterable[str] = (), *, bound: str = "") -> None:
        self._allowed = frozenset(one for one in map(authority, allowed) if one is not None)
        self._names = frozenset({*(one.name for one in self._allowed), bound.lower()})

    def allows(self, hosts: list[str]) -> bool:
        """Whether a request with these Host headers is for us; there has to be exactly one."""
        host = authority(hosts[0]) if len(hosts) == 1 else None
        return host is not None and (host.is_known or host.name in self._names)

    def is_ours(self, origin: str | None, host: str) -> bool:
        """Whether a handshake for ``host`` may come from a page of this origin: ours, or no page at all.

        Ours is the Host's, and what is set: a proxy in front may have put another Host.
        """
        if origin is None:
            return True
        scheme, _, rest = origin.partition("://")
        page, here = authority(rest), authority(host)
        if page is None or scheme.lower() not in _DEFAULT_PORTS:
            return False
        ours = self._allowed | ({here} if here else set())
        return page.with_port_of(scheme.lower()) in {one.with_port_of(scheme.lower()) for one in ours}
