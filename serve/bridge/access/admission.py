"""Who may connect: how many sockets, handshakes and demos one address may have, and all addresses together.

Pure: knows no socket, and the time is an argument. An address is a viewer's or a household's: of IPv6 the 64 bits that one
subscriber is given. The rule to remember: what one address takes is bounded, so that the others find room.
"""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from serve.bridge.live.client_messages import TokenBucket
from serve.bridge.live.viewer import Close

TOO_MANY_OF_ADDRESS = Close(4030, "too many sockets from this address")
TOO_MANY_SOCKETS = Close(4031, "too many sockets")

#: More addresses than that in one second would each be let in once more: the memory is bounded, too.
_MOST_ADDRESSES = 10_000
_IPV6_SUBSCRIBER_BITS = 64


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Of one replica. Rates are per second, with twice as many at once."""

    sockets: int = 2000
    sockets_per_address: int = 64
    handshakes_per_s: float = 20.0
    demos: int = 32
    demos_per_address: int = 4


class Admission:
    """Counts what is open. Who is let in by `enter` or `start_demo` is let out again by its counterpart."""

    def __init__(self, limits: AdmissionLimits | None = None) -> None:
        self.limits = limits or AdmissionLimits()
        self._sockets: Counter[str] = Counter()
        self._demos: Counter[str] = Counter()
        self._handshakes: OrderedDict[str, TokenBucket] = OrderedDict()

    @property
    def sockets(self) -> int:
        """How many are open."""
        return self._sockets.total()

    @property
    def demos(self) -> int:
        """How many play."""
        return self._demos.total()

    def shake_hands(self, address: str, *, now: float) -> bool:
        """Whether this address may try to connect again."""
        per_s = self.limits.handshakes_per_s
        bucket = self._handshakes.pop(address, None) or TokenBucket(per_second=per_s, burst=max(1.0, 2 * per_s))
        self._handshakes[address] = bucket  # the newest are at the end
        if len(self._handshakes) > _MOST_ADDRESSES:
            self._handshakes.popitem(last=False)
        return bucket.spend(now=now)

    def enter(self, address: str) -> Close | None:
        """Count a socket; a Close where there is no room for it, which counts nothing."""
        if self._sockets[address] >= self.limits.sockets_per_address:
            return TOO_MANY_OF_ADDRESS
        if self.sockets >= self.limits.sockets:
            return TOO_MANY_SOCKETS
        self._sockets[address] += 1
        return None

    def leave(self, address: str) -> None:
        """A socket that had entered is closed."""
        _release(self._sockets, address)

    def start_demo(self, address: str) -> str | None:
        """Count a demo; in words why there can be none, which counts nothing."""
        if self._demos[address] >= self.limits.demos_per_address:
            return "too many demos are playing for your address; try again later"
        if self.demos >= self.limits.demos:
            return "too many demos are playing; try again later"
        self._demos[address] += 1
        return None

    def end_demo(self, address: str) -> None:
        """A demo that had started is over."""
        _release(self._demos, address)


def _release(open_: Counter[str], address: str) -> None:
    open_[address] -= 1
    if open_[address] <= 0:
        del open_[address]


def client_address(peer: str, forwarded: Iterable[str], proxies: Collection[str]) -> str:
    """The address to count for: ``peer``, or where that is one of our ``proxies``, whom it forwards for.

    ``forwarded`` are the values of X-Forwarded-For in the order of the request. HAProxy adds its own behind what the client
    sent, so only the very last is believed; and nothing from a peer that is no proxy of ours.
    """
    last = (list(forwarded) or [""])[-1].rpartition(",")[2].strip()
    return _subscriber(last if peer in proxies and last else peer)


def _subscriber(address: str) -> str:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return f"{IPv6Address(int(found) >> _IPV6_SUBSCRIBER_BITS << _IPV6_SUBSCRIBER_BITS)}/{_IPV6_SUBSCRIBER_BITS}"
    return str(found)
