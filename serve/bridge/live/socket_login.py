"""Logs a socket in: its first message has the credential, within seconds.

The credential is neither in the URL, which proxies log, nor in a header, which a page cannot set.
"""

import asyncio

from starlette.websockets import WebSocket, WebSocketDisconnect

from serve.bridge.access.callers import ANYONE, Caller, Refusal
from serve.bridge.access.login_check import LoginCheck
from serve.bridge.live.client_messages import InvalidMessage, LogIn, Reply, parse

#: A socket that has not logged in may stay for this time.
LOGIN_WITHIN_S = 5.0


async def log_in(socket: WebSocket, logins: LoginCheck, address: str) -> Caller:
    """Return the caller of a socket that was just accepted.

    Without AUTH_MODE it waits for nothing. Raises NotAuthenticated.
    """
    if not logins.required:
        return ANYONE
    try:
        event = await asyncio.wait_for(socket.receive(), LOGIN_WITHIN_S)
        token = _token_in(event.get("text"))
    except (TimeoutError, InvalidMessage, WebSocketDisconnect):
        raise logins.refuse(Refusal.MISSING, address, "socket") from None
    return logins.of_socket(token, address)


def authenticated(caller: Caller) -> Reply:
    """Return the reply to a login. ``expiresAt`` is in seconds since 1970, or null."""
    return Reply(
        "authenticated", name=caller.name, role=caller.role.value, expiresAt=caller.expires_at_s
    )


def _token_in(text: str | None) -> str:
    """Return the credential of a first message. Raises InvalidMessage."""
    request = parse(text) if text is not None else None
    if not isinstance(request, LogIn):
        raise InvalidMessage("want auth as the first message")
    return request.token
