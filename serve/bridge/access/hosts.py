"""Checks a request's Host and Origin against the names that the page has.

Pure. Another site can make its own name point here (DNS rebinding). Its page then has the same
origin as ours. So a name must be known: addresses and the loopback's names are known, and others
are set. The rule: only Host and Origin decide, since any other header may be forged.
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
        """Return whether this is an address or a name of the loopback. Nobody else's DNS decides
        where these lead.
        """
        if self.name == "localhost" or self.name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(self.name.strip("[]"))
        except ValueError:
            return False
        return True

    def with_port_of(self, scheme: str) -> "HostAndPort":
        """Return the same host, with the scheme's port if none was given."""
        return self if self.port is not None else HostAndPort(self.name, _DEFAULT_PORTS[scheme])


def authority(text: str) -> HostAndPort | None:
    """Parse ``name``, ``name:port`` or ``[address]:port``; return None for anything else.

    Upper and lower case and a final dot are allowed.
    """
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    return (
        HostAndPort(found["name"].removesuffix("."), port)
        if port is None or port < 65_536
        else None
    )


class Hosts:
    """The names that the page has besides addresses and those of the loopback.

    ``bound`` is the name that it is bound to. Pages on other ports of that machine are not ours.
    """

    def __init__(self, allowed: Iterable[str] = (), *, bound: str = "") -> None:
        self._allowed = frozenset(one for one in map(authority, allowed) if one is not None)
        self._names = frozenset({*(one.name for one in self._allowed), bound.lower()})

    def allows(self, hosts: list[str]) -> bool:
        """Return whether a request with these Host headers is for us. There must be exactly one."""
        host = authority(hosts[0]) if len(hosts) == 1 else None
        return host is not None and (host.is_known or host.name in self._names)

    def is_ours(self, origin: str | None, host: str) -> bool:
        """Return whether a handshake for ``host`` may come from this origin: ours, or None for no
        page.

        Our origins are the Host's and the names that are set. A proxy in front may have put another
        Host.
        """
        if origin is None:
            return True
        scheme, _, rest = origin.partition("://")
        page, here = authority(rest), authority(host)
        if page is None or scheme.lower() not in _DEFAULT_PORTS:
            return False
        ours = self._allowed | ({here} if here else set())
        return page.with_port_of(scheme.lower()) in {
            one.with_port_of(scheme.lower()) for one in ours
        }
