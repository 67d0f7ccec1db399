"""Parses a viewer's messages strictly, and builds the replies to them.

Client messages are JSON objects with a ``type``. An invalid message raises InvalidMessage, and its
sentence is sent back. Nothing here uses a socket. The rule: no input, however odd, raises anything
else.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from ingest.codec.record_format import MAX_KEY_BYTES, InvalidRecord, session_of
from serve.bridge.live.hub import Subscription

MAX_MESSAGE_BYTES = 16 * 1024
MAX_WATCHES = 16


class InvalidMessage(Exception):
    """A client message that is invalid. The sentence is sent to the viewer."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Starts the frames and laps of a session, or of a user's sessions. Reply: `subscribed`."""

    watch: Subscription


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Ends them. Reply: `unsubscribed`."""

    watch: Subscription


@dataclass(frozen=True, slots=True)
class StartDemo:
    """Plays a simulated lap for this viewer alone; the same seed drives the same lap."""

    seed: int = 1


@dataclass(frozen=True, slots=True)
class StopDemo:
    """Ends the demo. Reply: `demo_stopped`."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Keeps the connection open through proxies. Reply: `pong`."""


@dataclass(frozen=True, slots=True)
class LogIn:
    """Logs in with a key, a token or a link's token, or again before it expires. Reply:
    `authenticated`.
    """

    token: str = field(repr=False)


Request = Subscribe | Unsubscribe | StartDemo | StopDemo | Ping | LogIn

_KEYS = {
    "subscribe": {"session", "userId"},
    "unsubscribe": {"session", "userId"},
    "start_demo": {"seed"},
    "stop_demo": set(),
    "ping": set(),
    "auth": {"token"},
}
_UPPER = {"START_DEMO", "STOP_DEMO"}


def parse(text: str) -> Request:
    """Return the request in a viewer's message. Raises InvalidMessage."""
    body = _object(text)
    kind = _kind(body.pop("type", None))
    strange = sorted(set(body) - _KEYS[kind])
    if strange:
        raise InvalidMessage(f"{kind} has no field {strange[0][:50]!r}")
    match kind:
        case "subscribe":
            return Subscribe(_watch(kind, body))
        case "unsubscribe":
            return Unsubscribe(_watch(kind, body))
        case "start_demo":
            return StartDemo(_seed(body))
        case "stop_demo":
            return StopDemo()
        case "auth":
            return LogIn(_token(body))
        case _:
            return Ping()


def _object(text: str) -> dict[str, Any]:
    if len(text) > MAX_MESSAGE_BYTES:
        raise InvalidMessage(f"a message has at most {MAX_MESSAGE_BYTES} bytes")
    try:
        body = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidMessage("want one JSON object without repeated keys") from None
    if not isinstance(body, dict):
        raise InvalidMessage("want a JSON object")
    return body


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("repeated key")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _kind(value: object) -> str:
    if isinstance(value, str) and value in _UPPER:
        return value.lower()
    if not isinstance(value, str) or value not in _KEYS:
        raise InvalidMessage(f"type must be one of {', '.join(_KEYS)}")
    return value


def _watch(kind: str, body: dict[str, Any]) -> Subscription:
    if len(body) != 1:
        raise InvalidMessage(f"{kind} wants either session or userId")
    field, name = body.popitem()
    return named_watch(field, name)


def named_watch(field: str, name: object) -> Subscription:
    """Return the subscription to the ``session`` or ``userId`` of this name.

    Every name that a record can have is valid. Raises InvalidMessage.
    """
    try:
        known = session_of(name.encode()) if isinstance(name, str) else ""
    except (InvalidRecord, UnicodeEncodeError):
        known = ""
    if not known:
        raise InvalidMessage(f"{field} must be printable text of 1 to {MAX_KEY_BYTES} bytes")
    return Subscription("user" if field == "userId" else "session", known)


def _seed(body: dict[str, Any]) -> int:
    seed = body.get("seed", 1)
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise InvalidMessage("seed must be a whole number from 0 to 2147483647")
    return seed


def _token(body: dict[str, Any]) -> str:
    token = body.get("token")
    if not isinstance(token, str) or not token:
        raise InvalidMessage("auth wants a token, as text")
    return token


class Reply:
    """A reply to a client message. It is JSON text in both formats, and is never dropped."""

    __slots__ = ("_text",)
    frames = 0
    session = ""

    def __init__(self, kind: str, **fields: object) -> None:
        self._text = json.dumps({"type": kind, **fields}, separators=(",", ":"))

    @property
    def size_bytes(self) -> int:
        """Return the size of the message, in bytes."""
        return len(self._text)

    def payload(self, *, as_text: bool) -> str:
        """Return the same text for every viewer."""
        return self._text


class TokenBucket:
    """Limits how often something may be done: ``per_second`` on average, ``burst`` at once."""

    def __init__(self, *, per_second: float = 10.0, burst: float = 20.0) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at: float | None = None

    def spend(self, *, now: float) -> bool:
        """Count one; return False if it was one too many."""
        earned = 0.0 if self._at is None else (now - self._at) * self._per_second
        self._at = now
        self._left = min(self._burst, self._left + earned)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class MessageBudget(TokenBucket):
    """Limits the frames that a viewer may send, of any kind: text, fragments of text, pings and
    pongs.
    """
