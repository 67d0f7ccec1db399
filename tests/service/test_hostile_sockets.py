"""Sockets that break the rules, byte by byte: each ends with its code, and a viewer goes on."""

import asyncio
from contextlib import suppress

import pytest
from websockets.exceptions import InvalidStatus

from ingest.errors import NotAllowed, SchemaOutdated
from ingest.settings import ServeSettings
from ingest.telemetry_pb2 import TelemetryMessage
from serve.bridge.access.admission import Admission, AdmissionLimits
from serve.bridge.access.callers import Role
from serve.bridge.access.key_file import change_keys
from serve.bridge.access.keys import entry_of, new_key
from serve.bridge.live.client_messages import MAX_MESSAGE_BYTES
from tests.canaries import secret
from tests.service.page import answer, asked, ended, running_page
from tests.waiting import WITHIN_S

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
COMPRESSED, RESERVED = 0x40, 0x10
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)


@pytest.fixture(scope="module")
def page():
    with running_page(ServeSettings()) as page:
        yield page


def frame(
    opcode: int, payload: bytes = b"", *, last: bool = True, bits: int = 0, masked: bool = True
) -> bytes:
    """A frame of RFC 6455, good or not; the mask is four zeros."""
    size, short = len(payload), len(payload).to_bytes(2, "big")
    length = bytes([size]) if size < 126 else b"\x7e" + short
    first = bytes([(0x80 if last else 0) | bits | opcode])
    return (
        first + bytes([length[0] | (0x80 if masked else 0)]) + length[1:] + bytes(4 * masked)
    ) + payload


HALF = MAX_MESSAGE_BYTES // 2 + 1
ASKED = b'{"type": "ping"}'
HOSTILE = {
    "oversize": (frame(TEXT, b"x" * (MAX_MESSAGE_BYTES + 1)), 1009),
    "oversize in fragments": (
        frame(TEXT, b"x" * HALF, last=False) + frame(CONTINUATION, b"x" * HALF),
        1009,
    ),
    "compressed": (frame(TEXT, ASKED, bits=COMPRESSED), 1002),
    "reserved bit": (frame(TEXT, ASKED, bits=RESERVED), 1002),
    "unknown opcode": (frame(0x3, ASKED), 1002),
    "not masked": (frame(TEXT, ASKED, masked=False), 1002),
    "bad UTF-8": (frame(TEXT, b'"\xff\xfe"'), 1007),
    "UTF-8 that ends early": (frame(TEXT, b"\xe2\x82", last=False) + frame(CONTINUATION), 1007),
    "end of nothing": (frame(CONTINUATION, b"x"), 1002),
    "message within a message": (frame(TEXT, b"x", last=False) + frame(TEXT, b"x"), 1002),
    "long ping": (frame(PING, bytes(126)), 1002),
    "ping in fragments": (frame(PING, b"x", last=False), 1002),
    "code that is none": (frame(CLOSE, (999).to_bytes(2, "big")), 1002),
    "pings": (frame(PING) * 60, 4029),
    "pongs": (frame(PONG) * 60, 4029),
    "empty fragments": (frame(TEXT, last=False) + frame(CONTINUATION, last=False) * 60, 4029),
    "bytes": (frame(BINARY, b"x") * 60, 4029),
    "messages": (frame(TEXT, ASKED) * 60, 4029),
}


async def code_of(port: int, sent: bytes) -> int | None:
    """The code of the close frame that comes back; None where a reset came first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(UPGRADE.format(port=port).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert b"sec-websocket-extensions" not in head.lower()
        writer.write(sent)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                first, size = await reader.readexactly(2)
                length = int.from_bytes(await reader.readexactly(2)) if size == 126 else size
                payload = await reader.readexactly(length)
                if first & 0x0F == CLOSE:
                    return int.from_bytes(payload[:2], "big")
        return None
    finally:
        writer.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_frames_end_with_their_code_and_a_viewer_beside_them_goes_on(page, name):
    sent, code = HOSTILE[name]

    async def watch():
        async with asyncio.timeout(WITHIN_S), page.socket(query="?session=s") as viewer:
            found = None
            while found is None:  # a reset may overtake the close frame
                found = await code_of(page.port, sent)
            await asyncio.to_thread(page.deliver, "s", "ann", 1.0, 2.0, 3.0)
            speeds: list[float] = []
            while len(speeds) < 3:
                message = TelemetryMessage.FromString(await viewer.recv())
                frames = [message.telemetry, *message.frames]
                speeds += [one.speed for one in frames if one.speed]
            return found, speeds

    assert asyncio.run(watch()) == (code, [1.0, 2.0, 3.0])


def test_good_frames_of_the_same_kinds_stay(page):
    """The other side of the list above: what it refuses is the fault, and nothing else of it."""
    good = (
        frame(TEXT, ASKED[:5], last=False)
        + frame(PING, bytes(125))
        + frame(CONTINUATION, ASKED[5:])
        + frame(TEXT, ASKED.ljust(MAX_MESSAGE_BYTES))
        + frame(CLOSE, (1000).to_bytes(2, "big"))
    )
    assert asyncio.run(code_of(page.port, good)) == 1000


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "a, b"]
)
def test_request_for_another_host_gets_nothing(page, host):
    for path in ("/", "/api/sessions", "/api/health"):
        answer = page.get(path, host=host)
        assert answer.status_code == 421
        assert "<title>" not in answer.text


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://127.0.0.1.evil.example", "file://"]
)
def test_socket_of_another_page_is_closed(page, origin):
    async def watch():
        async with page.socket(origin=origin) as socket:
            return await ended(socket)

    assert asyncio.run(watch())[0] == 4403


def test_address_that_shakes_hands_too_often_is_refused(page, monkeypatch):
    admission = Admission(AdmissionLimits(handshakes_per_s=0.001))
    monkeypatch.setattr(page.app.state.bridge, "admission", admission)

    async def knock():
        async with page.socket(), page.socket():
            pass

    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(knock())
    assert refused.value.response.status_code == 429


def test_address_has_so_many_sockets_and_demos(page, monkeypatch):
    limits = AdmissionLimits(handshakes_per_s=1000.0, sockets_per_address=2, demos_per_address=1)
    monkeypatch.setattr(page.app.state.bridge, "admission", Admission(limits))

    async def play():
        async with page.socket() as one, page.socket() as two:
            async with page.socket() as three:
                end = await ended(three)
            await one.send('{"type": "start_demo"}')
            await one.send('{"type": "ping"}')
            return end, await answer(one), await asked(two, type="start_demo")

    end, pong, refused = asyncio.run(play())
    assert (end[0], pong["type"]) == (4030, "pong")
    assert refused["error"].startswith("too many demos are playing for your address")


def test_answers_name_no_place_and_show_no_trace(tmp_path, monkeypatch):
    """Whoever runs the page finds both in its log."""
    key, file = secret(new_key()), tmp_path / "keys"
    change_keys(file, lambda _: [entry_of("eve", Role.ENGINEER, key)])
    with running_page(ServeSettings(auth_mode="keys", auth_keys_file=str(file))) as page:
        away = page.get("/api/sessions", key)
        outdated = refused(page, key, monkeypatch, SchemaOutdated("db.example:5432/x", "a column"))
        not_allowed = refused(page, key, monkeypatch, NotAllowed("db.example:5432/x", "no"))
        unknown = refused(page, key, monkeypatch, RuntimeError("db.example"))

    assert (away.status_code, away.json()) == (
        503,
        {"error": "no database answers; stored laps are back when it is"},
    )
    for other in (outdated, not_allowed):
        assert (other.status_code, other.json()) == (
            503,
            {"error": "the store is not as this version needs it"},
        )
    assert (unknown.status_code, unknown.text) == (500, "Internal Server Error")


def refused(page, key, monkeypatch, error):
    """The answer where the store raises this."""

    def query(_):
        raise error

    monkeypatch.setattr(page.app.state.store, "query", query)
    return page.get("/api/sessions", key)


def test_answers_limit_what_a_browser_does_with_them(page):
    for path in ("/", "/main.mjs", "/api/login", "/api/nothing", "/nothing"):
        headers = page.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/..%2fstore_errors.py",
        "/%2e%2e/store_errors.py",
        "/store_errors.py",
        "//etc/passwd",
        "/net",
        "/docs",
        "/redoc",
    ],
)
def test_files_outside_the_page_and_lists_of_files_are_not_served(page, path):
    assert page.get(path).status_code == 404
