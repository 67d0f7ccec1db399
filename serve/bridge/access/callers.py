"""Defines who calls the page: name, role, and how a credential is turned into both.

Pure: an implementation of `Authenticator` may read files or keys, and gets the time as an argument.
The rule: a credential is in no message, attribute or repr of what is defined here.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """The roles, from the least rights to the most; `policy` has their rights."""

    GUEST = "guest"
    VIEWER = "viewer"
    DRIVER = "driver"
    ENGINEER = "engineer"
    OPERATOR = "operator"


#: Whoever opens a link is a guest. A key or token makes nobody one.
LOGIN_ROLES: tuple[Role, ...] = tuple(role for role in Role if role is not Role.GUEST)


@dataclass(frozen=True, slots=True)
class Shared:
    """A session of ``owner`` that is shared; with a ``lap_number``, only this lap of it."""

    session: str
    owner: str
    lap_number: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """A name that was proved, its role, and what others share with it.

    ``expires_at_s`` is in seconds since 1970; None: the proof has no end. ``key_id`` names the key
    that proved it, where keys can be revoked. It is no secret. ``share_id`` is the number of the
    share whose link a guest has opened.
    """

    name: str
    role: Role
    expires_at_s: float | None = None
    key_id: str = ""
    shared: frozenset[Shared] = frozenset()
    share_id: int | None = None

    def expired(self, now_s: float) -> bool:
        """Return whether the proof has ended."""
        return self.expires_at_s is not None and now_s >= self.expires_at_s


#: Every caller of AUTH_MODE=none. It has no name, and so owns no session.
ANYONE = Caller("", Role.OPERATOR)


class Refusal(StrEnum):
    """The reasons why a credential is refused. Clients and the audit log receive them: they are
    stable.
    """

    MISSING = "missing"
    TOO_LONG = "too_long"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    KEYS_UNAVAILABLE = "keys_unavailable"
    WRONG_TYPE = "wrong_type"
    WRONG_ALGORITHM = "wrong_algorithm"
    UNKNOWN_SIGNING_KEY = "unknown_signing_key"
    BAD_SIGNATURE = "bad_signature"
    MISSING_CLAIM = "missing_claim"
    BAD_CLAIM = "bad_claim"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    NO_ROLE = "no_role"
    UNKNOWN_LINK = "unknown_link"
    LINKS_UNAVAILABLE = "links_unavailable"


class NotAuthenticated(Exception):
    """A credential is refused.

    ``reason`` is the stable code, and the sentence shows nothing else.
    """

    def __init__(self, reason: Refusal) -> None:
        super().__init__(f"the login is refused: {reason.value}")
        self.reason = reason


class Authenticator(Protocol):
    """Turns credentials into callers. Used from the event loop, so it never waits for a network."""

    @property
    def required(self) -> bool:
        """Return whether a caller needs a credential at all."""
        ...

    def authenticate(self, credential: str, now_s: float) -> Caller:
        """Return the caller with this credential; ``now_s`` is in seconds since 1970.

        An empty credential stands for none. Raises NotAuthenticated.
        """
        ...

    def still_valid(self, caller: Caller, now_s: float) -> bool:
        """Return whether a caller of earlier would be let in again: neither expired nor revoked."""
        ...

    def start(self) -> None:
        """Begin to fetch what logins need."""
        ...

    def stop(self) -> None:
        """End what `start` began."""
        ...


class Sharing(Protocol):
    """Knows what is shared with whom. Used from the event loop: it never waits for the store."""

    def is_link(self, credential: str) -> bool:
        """Return whether a credential is meant to be the token of a link."""
        ...

    def guest(self, token: str, now_s: float) -> Caller:
        """Return who comes by the link with this token. Raises NotAuthenticated."""
        ...

    def is_valid(self, share_id: int, now_s: float) -> bool:
        """Return whether a share is neither revoked nor expired."""
        ...

    def shared_with(self, user: str, now_s: float) -> frozenset[Shared]:
        """Return what is shared with the user of this name."""
        ...


class NothingShared:
    """Implements `Sharing` for a page without a store."""

    def is_link(self, credential: str) -> bool:
        """Return False."""
        return False

    def guest(self, token: str, now_s: float) -> Caller:
        """Refuse. Raises NotAuthenticated."""
        raise NotAuthenticated(Refusal.UNKNOWN_LINK)

    def is_valid(self, share_id: int, now_s: float) -> bool:
        """Return False."""
        return False

    def shared_with(self, user: str, now_s: float) -> frozenset[Shared]:
        """Return nothing."""
        return frozenset()


class NoLogin:
    """Implements AUTH_MODE=none: everybody may do everything, on the loopback."""

    required = False

    def authenticate(self, credential: str, now_s: float) -> Caller:
        """Return `ANYONE`, whatever the credential is."""
        return ANYONE

    def still_valid(self, caller: Caller, now_s: float) -> bool:
        """Return True."""
        return True

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""
