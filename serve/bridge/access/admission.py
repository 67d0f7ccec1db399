"""Limits the sockets, handshakes and demos of one address, and of all addresses together.

Pure: uses no socket, and the time is an argument. An address is a viewer's or a household's. For
IPv6 it is the 64 bits that one subscriber gets. The rule: the use of one address is bounded, so
that the others find room.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TypeVar

from serve.bridge.access.callers import Caller
from serve.bridge.live.client_messages import MAX_WATCHES, TokenBucket
from serve.bridge.live.viewer import Close

TOO_MANY_OF_ADDRESS = Close(
    4030,
    "too many sockets from this address",
    "The address has as many sockets as WS_SOCKETS_PER_ADDRESS allows.",
)
TOO_MANY_SOCKETS = Close(
    4031,
    "too many sockets",
    "All addresses together have as many sockets as WS_SOCKETS allows.",
)
TOO_MANY_OF_CALLER = Close(
    4032,
    "too many sockets of this name",
    "The name that has logged in has as many sockets as WS_SOCKETS_PER_CALLER allows, or the link"
    " as many as WS_SOCKETS_PER_LINK.",
)

K = TypeVar("K")

#: Bounds the memory of the handshake throttle, too.
#: If more addresses than this come in one second, each would be let in once more.
_MOST_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Limits of one replica. Rates are per second; twice as many are allowed at once."""

    sockets: int = 2000
    sockets_per_address: int = 64
    handshakes_per_s: float = 20.0
    demos: int = 32
    demos_per_address: int = 4
    sockets_per_caller: int = 8
    subscriptions: int = MAX_WATCHES
    sockets_per_link: int = 64


class Admission:
    """Counts the open sockets and demos.

    A successful `enter` needs a `leave` later, and a successful `start_demo` needs an `end_demo`.
    """

    def __init__(self, limits: AdmissionLimits | None = None) -> None:
        self.limits = limits or AdmissionLimits()
        self._sockets: Counter[str] = Counter()
        self._callers: Counter[tuple[str, int | None]] = Counter()
        self._demos: Counter[str] = Counter()
        self._handshakes: OrderedDict[str, TokenBucket] = OrderedDict()

    @property
    def sockets(self) -> int:
        """Return the number of open sockets."""
        return self._sockets.total()

    @property
    def demos(self) -> int:
        """Return the number of demos that play."""
        return self._demos.total()

    def shake_hands(self, address: str, *, now: float) -> bool:
        """Count a handshake; return whether this address may try to connect again."""
        per_s = self.limits.handshakes_per_s
        bucket = self._handshakes.pop(address, None) or TokenBucket(
            per_second=per_s, burst=max(1.0, 2 * per_s)
        )
        self._handshakes[address] = bucket  # the newest are at the end
        if len(self._handshakes) > _MOST_ADDRESSES:
            self._handshakes.popitem(last=False)
        return bucket.spend(now=now)

    def enter(self, address: str) -> Close | None:
        """Count a socket. If there is no room for it, count nothing and return a `Close`."""
        if self._sockets[address] >= self.limits.sockets_per_address:
            return TOO_MANY_OF_ADDRESS
        if self.sockets >= self.limits.sockets:
            return TOO_MANY_SOCKETS
        self._sockets[address] += 1
        return None

    def leave(self, address: str) -> None:
        """Release a socket that had entered and is closed."""
        _release(self._sockets, address)

    def admit_caller(self, caller: Caller) -> Close | None:
        """Count a socket of this name, or of this link. Without room for it, count nothing and
        return a `Close`.

        The empty name is of nobody, and has no limit.
        """
        most = self.limits.sockets_per_caller
        if caller.share_id is not None:
            most = self.limits.sockets_per_link
        if caller.name and self._callers[_counted(caller)] >= most:
            return TOO_MANY_OF_CALLER
        self._callers[_counted(caller)] += 1
        return None

    def release_caller(self, caller: Caller) -> None:
        """Release a socket of this name or link that is closed."""
        _release(self._callers, _counted(caller))

    def start_demo(self, address: str) -> str | None:
        """Count a demo. If there is no room for it, count nothing and return the reason as text."""
        if self._demos[address] >= self.limits.demos_per_address:
            return "too many demos are playing for your address; try again later"
        if self.demos >= self.limits.demos:
            return "too many demos are playing; try again later"
        self._demos[address] += 1
        return None

    def end_demo(self, address: str) -> None:
        """Release a demo that had started and is over."""
        _release(self._demos, address)


def _counted(caller: Caller) -> tuple[str, int | None]:
    return caller.name, caller.share_id


def _release(open_: Counter[K], key: K) -> None:
    open_[key] -= 1
    if open_[key] <= 0:
        del open_[key]
