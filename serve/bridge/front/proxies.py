"""Finds the client's address behind proxies.

Pure. The rule: an address counts only if a proxy that we trust wrote it. Each proxy appends the
address that connected to it, so the header is read from its end, as far as the trust goes.
"""

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

_IPV6_SUBSCRIBER_BITS = 64
_LONGEST = 64


class ProxyChain:
    """The proxies in front of the page.

    ``own`` are the addresses that Ray Serve's proxies connect from. ``front`` are the addresses and
    networks of proxies before those.
    """

    def __init__(self, own: Iterable[str] = (), front: Iterable[str] = ()) -> None:
        self._own = frozenset(own)
        self._front = [ip_network(one.strip()) for one in front if one.strip()]

    def client_of(self, peer: str, forwarded: Iterable[str]) -> str:
        """Return the address to count for: ``peer``, or the client that proxies forward for.

        ``forwarded`` are the values of X-Forwarded-For in the order of the request. They are
        ignored if the peer is not one of our own proxies.
        """
        hops = [hop.strip() for value in forwarded for hop in value.split(",") if hop.strip()]
        address = peer
        trusted = peer in self._own
        while trusted and hops:
            address = hops.pop()
            trusted = self._is_in_front(address)
        return _subscriber(address)

    def _is_in_front(self, address: str) -> bool:
        found = _parsed(address)
        return found is not None and any(found in network for network in self._front)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _subscriber(address: str) -> str:
    found = _parsed(address)
    if found is None:
        return address[:_LONGEST]
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), _IPV6_SUBSCRIBER_BITS), strict=False))
    return str(found)
