"""The page answers for its own names, and its sockets open for its own pages."""

import asyncio

import pytest
from starlette.responses import PlainTextResponse

from serve.bridge.access.hosts import Hosts
from serve.bridge.web_app import KnownHosts

HERE = Hosts(["Telemetry.example", "box.example:8443"], bound="gaming-pc")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8000", True),
        ("127.0.0.1", True),
        ("LocalHost:8000", True),
        ("localhost.", True),
        ("purple.localhost:8000", True),
        ("[::1]:8000", True),
        ("192.0.2.7:8000", True),
        ("telemetry.example", True),
        ("TELEMETRY.EXAMPLE.:443", True),
        ("box.example:8443", True),
        ("gaming-pc:8000", True),
        ("evil.example", False),
        ("evil.example:8000", False),
        ("sub.telemetry.example", False),
        ("telemetry.example.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost@evil.example", False),
        ("evil.example/localhost", False),
        ("127.0.0.1:8000,evil.example", False),
        ("localhost:99999", False),
        ("localhost:", False),
        ("2130706433", False),
        ("", False),
        (".", False),
    ],
)
def test_a_name_is_known_or_the_request_is_not_for_us(host, allowed):
    assert HERE.allows([host]) is allowed


def test_exactly_one_host_is_wanted():
    assert not HERE.allows([])
    assert not HERE.allows(["localhost", "localhost"])


@pytest.mark.parametrize(
    ("origin", "host", "ours"),
    [
        (None, "127.0.0.1:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://127.0.0.1:8001", "127.0.0.1:8000", False),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("http://evil.example", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000.evil.example", "127.0.0.1:8000", False),
        ("http://evil.example/127.0.0.1:8000", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000@evil.example", "127.0.0.1:8000", False),
        ("null", "127.0.0.1:8000", False),
        ("", "127.0.0.1:8000", False),
        ("http://", "", False),
        # The port of a scheme may be written or left out, and names have no case.
        ("https://x.example", "x.example:443", True),
        ("https://x.example:443", "x.example", True),
        ("http://x.example", "X.Example:80", True),
        ("https://x.example", "x.example:80", False),
        ("ftp://x.example", "x.example", False),
        # A proxy in front that puts its own Host.
        ("https://telemetry.example", "127.0.0.1:8000", True),
        ("https://telemetry.example:9000", "127.0.0.1:8000", False),
        ("https://box.example:8443", "127.0.0.1:8000", True),
        ("https://box.example", "127.0.0.1:8000", False),
        ("http://gaming-pc", "127.0.0.1:8000", False),
    ],
)
def test_only_our_own_page_may_open_a_socket(origin, host, ours):
    assert HERE.is_ours(origin, host) is ours


def status_of(scope):
    """What an application that answers nothing but 200 says to this request behind KnownHosts."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": f"{scope['type']}.request"}

    asyncio.run(KnownHosts(PlainTextResponse("ok"), HERE)(scope, receive, send))
    return sent[0]["status"]


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_requests_and_handshakes_for_another_host_get_nothing(kind):
    scope = {
        "type": kind,
        "method": "GET",
        "path": "/",
        "extensions": {"websocket.http.response": {}},
    }

    assert status_of(scope | {"headers": [(b"host", b"evil.example")]}) == 421
    assert status_of(scope | {"headers": []}) == 421
    assert status_of(scope | {"headers": [(b"host", b"telemetry.example")]}) == 200
