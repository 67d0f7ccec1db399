"""Checks the logins of requests and sockets, and writes the audit log of them.

The rule: a refusal is one line with its reason; of what a program does again and again, the first
of an hour is enough.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from serve.bridge.access.audit import audit, audit_refusal
from serve.bridge.access.callers import Authenticator, Caller, NotAuthenticated, Refusal

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

    def __init__(self, logins: Authenticator, *, wall: Callable[[], float] = time.time) -> None:
        self._logins = logins
        self._wall = wall
        self._seen = FirstOfHour()

    @property
    def required(self) -> bool:
        """Return whether a caller needs a credential at all."""
        return self._logins.required

    def of_socket(self, token: str, address: str) -> Caller:
        """Return the caller of a socket. Raises NotAuthenticated."""
        try:
            caller = self._logins.authenticate(token, self._wall())
        except NotAuthenticated as refused:
            raise self.refuse(refused.reason, address, "socket") from None
        self._log_login(caller, address, "socket")
        return caller

    def of_request(self, authorization: str, address: str) -> Caller:
        """Return the caller of a request with this Authorization.

        Raises NotAuthenticated, which is not logged: whoever answers may slow the address down.
        """
        caller = self._logins.authenticate(_bearer(authorization), self._wall())
        if self._seen.add((caller.name, caller.key_id, address), now_s=self._wall()):
            self._log_login(caller, address, "request")
        return caller

    def still_valid(self, caller: Caller) -> bool:
        """Return whether this caller would be let in now: neither expired nor revoked."""
        return self._logins.still_valid(caller, self._wall())

    def refuse(self, reason: Refusal, address: str, way: str) -> NotAuthenticated:
        """Log a refusal, and return it as an error."""
        audit_refusal("login_refused", reason=reason.value, address=address, way=way)
        return NotAuthenticated(reason)

    def _log_login(self, caller: Caller, address: str, way: str) -> None:
        if self.required:
            audit("login", name=caller.name, role=caller.role.value, address=address, way=way)


def _bearer(authorization: str) -> str:
    """Return the credential of an Authorization header; empty where it has none."""
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        return ""
    return authorization[len(_SCHEME) :].strip()
