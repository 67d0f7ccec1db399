"""What a unit test may not do: start Ray, or open a socket. Both would make it a service test."""

import socket
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

# Where a socket becomes somebody else's business. An event loop's own pair of sockets calls none of
# them.
_OUTWARD = ("bind", "connect", "connect_ex", "sendto")


def _refuse_ray(*args: Any, **kwargs: Any) -> NoReturn:
    pytest.fail("a unit test starts no Ray; this one belongs elsewhere")


def _refuse_socket(self: socket.socket, *args: Any) -> NoReturn:
    pytest.fail(f"a unit test opens no socket, this one got to {args}; it belongs elsewhere")


@pytest.fixture(autouse=True, scope="package")
def no_socket() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in _OUTWARD:
            patch.setattr(socket.socket, name, _refuse_socket)
        yield


@pytest.fixture(autouse=True)
def no_ray() -> Iterator[None]:
    """Ray reads its environment when it is imported, so this must not be what imports it."""
    with pytest.MonkeyPatch.context() as patch:
        if "ray" in sys.modules:
            patch.setattr(sys.modules["ray"], "init", _refuse_ray)
        yield
    ray = sys.modules.get("ray")
    assert ray is None or not ray.is_initialized(), (
        "a unit test starts no Ray; this one belongs elsewhere"
    )
