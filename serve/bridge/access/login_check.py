"""Checks the logins of requests and sockets, and writes the audit log of them.

The rule: a refusal is one line with its reason; of what a program does again and again, the first
of an hour is enough.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from serve.bridge.access.audit import audit, audit_refusal
from serve.bridge.access.callers import (
    Authenticator,
    Caller,
    NotAuthenticated,
    NothingShared,
    Refusal,
    Sharing,
)

_AGAIN_AFTER_S = 3600.0
_REMEMBERED = 10_000
_SCHEME = "bearer "


class FirstOfHour:
    """Remembers who was seen within the last hour. Bounded; used with the time as an argument."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def add(self, who: tuple[str, ...], *, now_s: float) -> bool:
        """Return whether this is the first time within an hour."""
        before = self._seen.get(who)
        if before is not None and now_s - before < _AGAIN_AFTER_S:
            return False
        self._seen.pop(who, None)
        self._seen[who] = now_s
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True


class LoginCheck:
    """Turns the credentials of requests and sockets into callers."""

    def __init__(
        self,
        logins: Authenticator,
        shares: Sharing | None = None,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._logins = logins
        self._shares = shares or NothingShared()
        self._wall = wall
        self._seen = FirstOfHour()

    @property
    def required(self) -> bool:
        """Return whether a caller needs a credential at all."""
        return self._logins.required

    def of_socket(self, token: str, address: str) -> Caller:
        """Return the caller of a socket. Raises NotAuthenticated."""
        try:
            caller = self._authenticate(token)
        except NotAuthenticated as refused:
            raise self.refuse(refused.reason, address, "socket") from None
        self._log_login(caller, address, "socket")
        return caller

    def of_request(self, authorization: str, address: str) -> Caller:
        """Return the caller of a request with this Authorization.

        Raises NotAuthenticated, which is not logged: whoever answers may slow the address down.
        """
        caller = self._authenticate(_bearer(authorization))
        if self._seen.add((caller.name, caller.key_id, address), now_s=self._wall()):
            self._log_login(caller, address, "request")
        return caller

    def current(self, caller: Caller) -> Caller | None:
        """Return the caller with what is shared with it now; None once expired or revoked."""
        now_s = self._wall()
        if caller.share_id is not None:
            return caller if self._shares.is_valid(caller.share_id, now_s) else None
        if not self._logins.still_valid(caller, now_s):
            return None
        return self._with_shared(caller, now_s)

    def _authenticate(self, credential: str) -> Caller:
        now_s = self._wall()
        if self.required and self._shares.is_link(credential):
            return self._shares.guest(credential, now_s)
        return self._with_shared(self._logins.authenticate(credential, now_s), now_s)

    def _with_shared(self, caller: Caller, now_s: float) -> Caller:
        shared = self._shares.shared_with(caller.name, now_s)
        return caller if shared == caller.shared else replace(caller, shared=shared)

    def refuse(self, reason: Refusal, address: str, way: str) -> NotAuthenticated:
        """Log a refusal, and return it as an error."""
        audit_refusal("login_refused", reason=reason.value, address=address, way=way)
        return NotAuthenticated(reason)

    def _log_login(self, caller: Caller, address: str, way: str) -> None:
        if caller.share_id is not None:
            self._log_link(caller, address, way)
        elif self.required:
            audit("login", name=caller.name, role=caller.role.value, address=address, way=way)

    def _log_link(self, caller: Caller, address: str, way: str) -> None:
        """Log a link that is used: by sockets, too, the first time of an hour."""
        if self._seen.add((caller.name, "link", address, way), now_s=self._wall()):
            sessions = ", ".join(one.session for one in caller.shared)
            audit("link_used", name=caller.name, session=sessions, address=address, way=way)


def _bearer(authorization: str) -> str:
    """Return the credential of an Authorization header; empty where it has none."""
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        return ""
    return authorization[len(_SCHEME) :].strip()
