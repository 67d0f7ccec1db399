"""Defines who calls the page: name, role, and how a credential is turned into both.

Pure: an implementation of `Authenticator` may read files or keys, and gets the time as an argument.
The rule: a credential is in no message, attribute or repr of what is defined here.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """The roles, from the least rights to the most; `policy` has their rights."""

    VIEWER = "viewer"
    DRIVER = "driver"
    ENGINEER = "engineer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """A name that was proved, and its role.

    ``expires_at_s`` is in seconds since 1970; None: the proof has no end. ``key_id`` names the key
    that proved it, where keys can be revoked. It is no secret.
    """

    name: str
    role: Role
    expires_at_s: float | None = None
    key_id: str = ""

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
