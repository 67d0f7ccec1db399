"""The bridge as it runs: real Kafka, real Ray Serve behind HAProxy, real sockets."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import psutil
import pytest
from confluent_kafka import Producer
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ingest.kafka.topics import create_topics
from ingest.settings import KafkaSettings
from ingest.telemetry_pb2 import Session, TelemetryFrame, TelemetryMessage
from tests.waiting import WITHIN_S

#: What one address may hold open here.
SOCKETS = 8
#: Of a message: field 1,000, of 50,000 bytes.
FIELD_OF_A_LATER_VERSION = b"\xc2\x3e\xd0\x86\x03" + bytes(50_000)


@dataclass
class RunningBridge:
    """A bridge in a process of its own."""

    port: int
    process: psutil.Process
    producer: Producer

    def ws(self, query):
        return f"ws://127.0.0.1:{self.port}/ws{query}"

    def get(self, path):
        """Status, headers and JSON of a GET."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=WITHIN_S
            ) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.headers, refusal.read()

    def stats(self):
        return json.loads(self.get("/api/stats")[2])

    def replica(self):
        """The process that holds the sockets."""
        (found,) = [
            p
            for p in self.process.children(recursive=True)
            if _title(p).startswith("ray::ServeReplica")
        ]
        return found

    def produce(self, session, *frames, user="anna"):
        for frame in frames:
            self.producer.produce(
                "telemetry", frame.SerializeToString(), key=session, headers={"userId": user}
            )
        self.producer.flush(WITHIN_S)

    async def wait_until_read(self, session):
        """Produce until the bridge has seen the session: it reads from the live end, which it must
        have found first.
        """
        async with asyncio.timeout(WITHIN_S):
            while session not in self.stats()["kafkaStats"]["sessionStats"]:
                self.produce(session, TelemetryFrame(timestamp=1, gear=1))
                await asyncio.sleep(0.1)


def _title(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.fixture(scope="module")
def bridge(kafka):
    create_topics(KafkaSettings.read(brokers=kafka.brokers))
    nowhere = "postgresql://postgres@127.0.0.1:1/postgres"
    command = [sys.executable, "-m", "tests.service.run_bridge", kafka.brokers, nowhere]
    limits = {"WS_SOCKETS_PER_ADDRESS": str(SOCKETS), "WS_DEMOS_PER_ADDRESS": "1"}
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | limits
    )
    producer = Producer({"bootstrap.servers": kafka.brokers, "linger.ms": 0, "acks": "all"})
    try:
        ready = next((line for line in child.stdout if line.startswith("port ")), None)
        assert ready, "the bridge did not start"
        yield RunningBridge(int(ready.split()[1]), psutil.Process(child.pid), producer)
    finally:
        child.communicate(timeout=WITHIN_S)


@pytest.fixture
def session():
    return f"session-{uuid.uuid4()}"


def drive(count, first=1):
    return [
        TelemetryFrame(timestamp=1_000 + n, speed=n, sequence=n)
        for n in range(first, first + count)
    ]


async def frames(socket, count):
    """The next ``count`` frames of a viewer, in either format, as (sequence, speed, throttle)."""
    found = []
    async with asyncio.timeout(WITHIN_S):
        while len(found) < count:
            found += [f for f in numbers(await socket.recv()) if f[0]]
    return found


def numbers(raw):
    if isinstance(raw, bytes):
        message = TelemetryMessage.FromString(raw)
        return [(f.sequence, f.speed, f.throttle) for f in [message.telemetry, *message.frames]]
    message = json.loads(raw)
    return [(f["sequence"], f["speed"], f["throttle"]) for f in [message["telemetry"]] if f]


def viewer(bridge, query, **options):
    return connect(bridge.ws(query), compression=None, **options)


async def told(socket):
    """The next JSON text that is an answer."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            raw = await socket.recv()
            if isinstance(raw, str) and "type" in (answer := json.loads(raw)):
                return answer


async def closed(socket):
    """The code with which a socket ends."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                await socket.recv()
            except ConnectionClosed as end:
                return end.rcvd.code if end.rcvd else None


def test_frames_arrive_in_order_in_both_formats(bridge, session):
    async def watch():
        await bridge.wait_until_read(session)
        async with (
            viewer(bridge, f"?session={session}") as one,
            viewer(bridge, "?userId=anna&format=json") as other,
        ):
            await asyncio.to_thread(bridge.produce, session, *drive(200))
            return await frames(one, 200), await frames(other, 200)

    binary, text = asyncio.run(watch())

    assert binary == text == [(n, n, 0) for n in range(1, 201)]


def test_a_late_viewer_learns_the_track(bridge, session):
    async def watch():
        await bridge.wait_until_read(session)
        facts = TelemetryMessage(session=Session(track="Monza", user_id="anna"), session_id=session)
        async with viewer(bridge, f"?session={session}") as early:
            bridge.producer.produce("telemetry", facts.SerializeToString(), key=session)
            await asyncio.to_thread(bridge.produce, session, *drive(1))
            await frames(early, 1)
        async with viewer(bridge, f"?session={session}&format=json") as socket:
            return json.loads(await asyncio.wait_for(socket.recv(), WITHIN_S))

    assert asyncio.run(watch())["session"]["track"] == "Monza"


def test_a_viewer_chooses_by_message(bridge, session):
    async def watch():
        await bridge.wait_until_read(session)
        async with viewer(bridge, "") as socket:
            await socket.send(json.dumps({"type": "subscribe", "session": session}))
            answer = await told(socket)
            await asyncio.to_thread(bridge.produce, session, *drive(3))
            return answer, await frames(socket, 3)

    answer, seen = asyncio.run(watch())

    assert answer == {"type": "subscribed", "session": session}
    assert [sequence for sequence, _, _ in seen] == [1, 2, 3]


def test_nonsense_is_answered_and_the_stream_goes_on(bridge, session):
    async def watch():
        await bridge.wait_until_read(session)
        async with viewer(bridge, f"?session={session}") as socket:
            answers = []
            for nonsense in ["", "{", "[" * 10_000, '{"type": "reboot"}', b"\x00\xff"]:
                await socket.send(nonsense)
                answers.append(await told(socket))
            await socket.send('{"type": "ping"}')
            answers.append(await told(socket))
            await asyncio.to_thread(bridge.produce, session, *drive(3))
            return answers, await frames(socket, 3)

    answers, seen = asyncio.run(watch())

    assert [a["type"] for a in answers] == ["error"] * 5 + ["pong"]
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("query", "origin", "said", "code"),
    [
        ("", None, ["x" * 20_000], 1009),
        ("", None, ['{"type": "ping"}'] * 60, 4029),
        ("?format=xml", None, [], 4400),
        ("?session=", None, [], 4400),
        ("", "http://elsewhere.example", [], 4403),
    ],
)
def test_who_goes_too_far_is_closed_with_a_code(bridge, query, origin, said, code):
    async def watch():
        async with viewer(bridge, query, origin=origin) as socket:
            for text in said:
                try:
                    await socket.send(text)
                except ConnectionClosed:
                    break
            return await closed(socket)

    assert asyncio.run(watch()) == code


@pytest.mark.parametrize("path", ["/", "/api/health", "/api/stats", "/ws"])
def test_another_name_that_leads_here_gets_nothing(bridge, path):
    """Its page would have the origin of ours (DNS rebinding): REST, the page and the handshake are
    refused.
    """
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Origin": "http://evil.example",
    }
    headers = {"Host": "evil.example"} | (upgrade if path == "/ws" else {})
    request = urllib.request.Request(f"http://127.0.0.1:{bridge.port}{path}", headers=headers)

    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=WITHIN_S)

    assert refusal.value.code == 421
    refusal.value.close()


async def pings(socket):
    for _ in range(60):
        await socket.ping()


async def pongs(socket):
    for _ in range(60):
        await socket.pong()


async def fragments(socket):
    await socket.send(["x"] * 60)


@pytest.mark.parametrize("too_much", [pings, pongs, fragments])
def test_control_frames_and_fragments_count_as_messages_do(bridge, session, too_much):
    """They cost a server what messages cost, and its library shows them to no application."""

    async def watch():
        await bridge.wait_until_read(session)
        async with viewer(bridge, f"?session={session}") as other:
            # What still arrives after the server has closed its end resets the connection, and a
            # reset may overtake the close frame: then this viewer sees no code, and floods again.
            async with asyncio.timeout(WITHIN_S):
                while (code := await flood()) is None:
                    pass
            await asyncio.to_thread(bridge.produce, session, *drive(3))
            return code, await frames(other, 3)

    async def flood():
        async with viewer(bridge, "", ping_interval=None) as socket:
            with suppress(ConnectionClosed):
                await too_much(socket)
            return await closed(socket)

    code, seen = asyncio.run(watch())

    assert code == 4029
    assert len(seen) == 3


def test_a_viewer_that_pings_as_libraries_do_stays(bridge):
    async def watch():
        async with viewer(bridge, "") as socket:
            for _ in range(5):
                await asyncio.wait_for(await socket.ping(), WITHIN_S)
            await socket.send('{"type": "ping"}')
            return await told(socket)

    assert asyncio.run(watch()) == {"type": "pong"}


def test_an_address_at_its_cap_takes_nothing_from_another(bridge, session):
    """Neither does a header with which it calls itself another address: only our own proxy's is
    believed.
    """
    address = ("127.0.0.2", 0)
    another = {"X-Forwarded-For": "203.0.113.9"}

    async def watch():
        await bridge.wait_until_read(session)
        async with viewer(bridge, f"?session={session}") as other, AsyncExitStack() as held:
            for _ in range(SOCKETS):
                await held.enter_async_context(viewer(bridge, "", local_addr=address))
            codes = []
            for headers in ({}, another):
                async with viewer(
                    bridge, "", local_addr=address, additional_headers=headers
                ) as one_more:
                    codes.append(await closed(one_more))
            await asyncio.to_thread(bridge.produce, session, *drive(3))
            seen = await frames(other, 3)
        async with asyncio.timeout(WITHIN_S):  # who leaves makes room
            while True:
                async with viewer(bridge, "", local_addr=address) as again:
                    await again.send('{"type": "ping"}')
                    with suppress(ConnectionClosed):
                        return codes, seen, await told(again)

    codes, seen, answer = asyncio.run(watch())

    assert codes == [4030, 4030]
    assert len(seen) == 3
    assert answer == {"type": "pong"}


def test_an_address_that_knocks_too_often_is_refused_and_another_is_not(bridge):
    async def knock(_):
        try:
            async with viewer(bridge, "", local_addr=("127.0.0.3", 0), open_timeout=WITHIN_S):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    async def watch():
        answers = await asyncio.gather(*map(knock, range(300)))
        async with viewer(bridge, "") as other:
            await other.send('{"type": "ping"}')
            return answers, await told(other)

    answers, answer = asyncio.run(watch())

    assert set(answers) == {101, 429}
    assert answer == {"type": "pong"}


def test_an_address_has_so_many_demos(bridge):
    async def watch():
        async with viewer(bridge, "") as one, viewer(bridge, "") as two:
            await one.send('{"type": "start_demo"}')
            await frames(one, 1)
            await two.send('{"type": "start_demo"}')
            answers = [await told(two)]
            await one.send('{"type": "stop_demo"}')
            await told(one)
            while answers[-1]["type"] == "error":
                await asyncio.sleep(0.2)
                await two.send('{"type": "start_demo"}')
                await two.send('{"type": "ping"}')
                answers.append(await told(two))
            return answers

    answers = asyncio.run(watch())

    assert "too many demos" in answers[0]["error"]
    assert answers[-1]["type"] == "pong"


async def answered(bridge, head):
    """The first line of what comes back for the bytes of a request. HAProxy may keep the connection
    for another one.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(head)
    try:
        return await asyncio.wait_for(reader.readline(), WITHIN_S)
    finally:
        writer.close()


def test_a_handshake_that_the_library_does_not_take_is_answered(bridge):
    """A browser with 9,000 bytes of cookies: HAProxy lets a head of 16 KiB pass; websockets 16
    takes 8 KiB a line.
    """
    head = (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{bridge.port}\r\nConnection: Upgrade\r\nUpgrade:"
        " websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key:"
        f" MDEyMzQ1Njc4OWFiY2RlZg==\r\nCookie: a={'x' * 9000}\r\n\r\n"
    )
    assert asyncio.run(answered(bridge, head.encode())).startswith(b"HTTP/1.1 400 ")


def test_half_a_request_does_not_stay(bridge):
    """Its head has 10 s; it would hold one of HAProxy's places for an hour."""
    assert asyncio.run(answered(bridge, b"GET / HTTP/1.1\r\nHost: a")).startswith(b"HTTP/1.1 408 ")


def test_the_demo_needs_nobody(bridge):
    async def watch():
        async with viewer(bridge, "?format=json") as socket:
            await socket.send('{"type": "START_DEMO"}')
            status, facts = [
                json.loads(await asyncio.wait_for(socket.recv(), WITHIN_S)) for _ in range(2)
            ]
            seen = await frames(socket, 30)
            await socket.send('{"type": "STOP_DEMO"}')
            return status, facts, seen, await told(socket)

    status, facts, seen, stopped = asyncio.run(watch())

    assert status["status"]["state"] == "demo"
    assert facts["session"]["track"] == "Aldermoor Park"
    assert [sequence for sequence, _, _ in seen] == list(range(seen[0][0], seen[0][0] + 30))
    assert stopped == {"type": "demo_stopped"}


def test_a_viewer_that_never_reads_costs_nobody_anything(bridge, session):
    """Back-pressure: what it does not read is not kept for it, it is told to go, and the others
    notice nothing.
    """
    # One frame, and a field of a later version: large, and read in a moment however busy the
    # machine is.
    frame = TelemetryFrame(timestamp=time.time_ns() // 1_000_000, speed=1.0, sequence=1)
    large = TelemetryMessage(frames=[frame]).SerializeToString() + FIELD_OF_A_LATER_VERSION
    other = f"other-{session}"

    async def produce(count):
        for _ in range(count):
            bridge.producer.produce("telemetry", large, key=session, headers={"userId": "anna"})
        await asyncio.to_thread(bridge.producer.flush, WITHIN_S)

    async def flood():
        """Produce 50 MB, and go on until the bridge has had enough of the viewer that does not
        read.
        """
        async with asyncio.timeout(WITHIN_S):
            for _ in range(10):
                await produce(100)
            while bridge.stats()["clientsConnected"] > 1:
                await produce(10)

    async def watch():
        await bridge.wait_until_read(session)
        await bridge.wait_until_read(other)
        async with (
            viewer(bridge, f"?session={other}") as healthy,
            viewer(bridge, "", ping_interval=None) as deaf,
        ):
            await deaf.send(json.dumps({"type": "subscribe", "session": session}))
            await told(deaf)
            deaf.transport.pause_reading()
            before = bridge.replica().memory_info().rss
            seen = asyncio.create_task(frames(healthy, 50))
            flooding = asyncio.create_task(flood())
            for frame in drive(50):
                await asyncio.to_thread(bridge.produce, other, frame)
            await flooding
            grown = bridge.replica().memory_info().rss - before
            deaf.transport.resume_reading()
            return grown, await seen, await closed(deaf)

    grown, seen, code = asyncio.run(watch())

    assert grown < 20 * 2**20
    assert [sequence for sequence, _, _ in seen] == list(range(1, 51))
    assert code == 4008


def test_without_a_database_only_stored_things_are_missing(bridge):
    code, _, body = bridge.get("/api/sessions")

    assert code == 503
    assert "no database answers" in json.loads(body)["error"]
    code, _, body = bridge.get("/api/health")
    assert (code, json.loads(body)["status"]) == (503, "no answer from the store")


def test_every_answer_states_what_a_browser_may_do(bridge):
    for path in ("/", "/api/stats", "/api/nothing"):
        _, headers, _ = bridge.get(path)
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_files_outside_the_page_stay_there(bridge):
    for path in ("/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "//etc/passwd"):
        assert bridge.get(path)[0] == 404


def test_statistics_have_the_agreed_shape(bridge, session):
    async def watch():
        await bridge.wait_until_read(session)
        async with viewer(bridge, f"?session={session}") as socket:
            bridge.produce(session, *drive(5))
            await frames(socket, 5)
            return bridge.stats()

    stats = asyncio.run(watch())

    assert set(stats) == {"clientsConnected", "messagesRelayed", "bytesRelayed", "kafkaStats"}
    assert stats["clientsConnected"] == 1
    assert stats["messagesRelayed"] >= 5
    assert stats["kafkaStats"]["messagesReceived"] >= 6
    assert abs(stats["kafkaStats"]["sessionStats"][session]["lastSeen"] / 1000 - time.time()) < 60


def test_a_killed_replica_is_replaced_and_its_viewers_come_back(bridge, session):
    async def watch():
        await bridge.wait_until_read(session)
        async with viewer(bridge, f"?session={session}") as socket:
            bridge.replica().kill()
            await closed(socket)
        socket = await reconnect()
        await bridge.wait_until_read(session)
        bridge.produce(session, *drive(10))
        try:
            return await frames(socket, 10)
        finally:
            await socket.close()

    async def reconnect():
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    return await viewer(bridge, f"?session={session}")
                except Exception:
                    await asyncio.sleep(0.2)

    assert [sequence for sequence, _, _ in asyncio.run(watch())] == list(range(1, 11))
