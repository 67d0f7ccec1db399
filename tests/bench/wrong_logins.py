"""Measure what wrong logins cost healthy viewers: the age of their frames, in turns.

``python -m tests.bench.wrong_logins`` runs the page with logins in a process of its own, with ten
cars at 60 Hz and ten viewers that have logged in. In some turns strangers try 100 wrong logins a
second, half of them as requests and half as sockets, from ten addresses or from one. Prints the
medians of the turns. CPU is the page's. HAProxy and Kafka are left out: what they add is the same
in all turns.
"""

import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles

import click
import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from ingest.logging_setup import start_logging
from ingest.settings import LogSettings, ServeSettings
from ingest.telemetry_pb2 import TelemetryFrame, TelemetryMessage
from serve.bridge.access.admission import AdmissionLimits
from serve.bridge.access.callers import Role
from serve.bridge.access.key_file import change_keys
from serve.bridge.access.keys import entry_of, new_key
from serve.bridge.live.hub import LiveRecord
from tests.service.issuer import AUDIENCE, running_issuer
from tests.service.page import Page, running_page

CARS, RATE_HZ, WRONG_PER_S = 10, 60, 100
#: None; from so many addresses.
CASES = {"none": 0, "100/s of ten addresses": 10, "100/s of one address": 1}


@dataclass(frozen=True, slots=True)
class Turn:
    """Ages of frames in ms, the page's CPU in % of a core, and how many wrong logins were tried."""

    ages_ms: list[float]
    cpu_percent: float
    tried: int


def serve(mode: str, pipe: Connection) -> None:
    """Run the page, and hand a frame of each car to its bridge 60 times a second, until told."""
    sys.stderr = None  # the log goes to its file
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        start_logging(LogSettings(file=str(folder / "page.log")))
        settings, right, wrong = stack.enter_context(logins(mode, folder / "keys"))
        limits = AdmissionLimits(sockets_per_caller=2 * CARS)
        page = stack.enter_context(running_page(settings, limits=limits))
        over = threading.Event()
        cars = threading.Thread(target=drive, args=(page, over))
        cars.start()
        pipe.send((page.port, right, wrong))
        pipe.recv()
        over.set()
        cars.join()


@contextmanager
def logins(mode: str, file: Path) -> Iterator[tuple[ServeSettings, str, str]]:
    """Yield the page's settings, a right and a wrong credential."""
    if mode == "keys":
        key = new_key()
        change_keys(file, lambda _: [entry_of("eve", Role.ENGINEER, key)])
        yield ServeSettings(auth_mode="keys", auth_keys_file=str(file)), key, new_key()
        return
    with running_issuer() as issuer, running_issuer() as other:
        settings = {"auth_issuer": issuer.url, "auth_audience": AUDIENCE}
        right = issuer.token(role="engineer", exp=time.time() + 3600)
        wrong = other.token(iss=issuer.url, exp=time.time() + 3600)
        yield ServeSettings(auth_mode="jwt", **settings), right, wrong


def drive(page: Page, over: threading.Event) -> None:
    """Deliver frames whose sequence is the moment of their delivery, in ns."""

    async def deliver() -> None:
        now = time.monotonic_ns()
        frame = TelemetryFrame(timestamp=1, speed=100, sequence=now).SerializeToString()
        page.app.state.bridge.deliver([LiveRecord(f"s{n}", f"u{n}", frame) for n in range(CARS)])

    while not over.wait(1 / RATE_HZ):
        asyncio.run_coroutine_threadsafe(deliver(), page.loop)


def attack(port: int, wrong: str, addresses: int, pipe: Connection) -> None:
    """Try wrong logins until told, and report how many."""
    pipe.send("ready")
    pipe.send(asyncio.run(_attack(port, wrong, addresses, pipe)))


async def _attack(port: int, wrong: str, addresses: int, pipe: Connection) -> int:
    tasks: set[asyncio.Task[None]] = set()
    begin, tried = time.monotonic(), 0
    while not pipe.poll():
        await asyncio.sleep(max(0.0, begin + tried / WRONG_PER_S - time.monotonic()))
        address = f"127.0.1.{1 + tried // 2 % addresses}"
        one = knock_by_socket if tried % 2 else knock_by_request
        tasks.add(task := asyncio.create_task(one(port, wrong, address)))
        task.add_done_callback(tasks.discard)
        tried += 1
    await asyncio.gather(*tasks)
    return tried


async def knock_by_request(port: int, wrong: str, address: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    head = f"GET /api/sessions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
    writer.write(f"{head}Authorization: Bearer {wrong}\r\n\r\n".encode())
    assert (await reader.read()).split(maxsplit=2)[1] in (b"401", b"429")
    writer.close()


async def knock_by_socket(port: int, wrong: str, address: str) -> None:
    url = f"ws://127.0.0.1:{port}/ws"
    with suppress(WebSocketException):
        async with connect(url, local_addr=(address, 0), compression=None, proxy=None) as socket:
            await socket.send(json.dumps({"type": "auth", "token": wrong}))
            await socket.recv()


async def watch(port: int, right: str, car: int, ages_ms: list[float]) -> None:
    """Note the age of each frame of a car."""
    url = f"ws://127.0.0.1:{port}/ws?session=s{car}"
    async with connect(url, compression=None, proxy=None) as socket:
        await socket.send(json.dumps({"type": "auth", "token": right}))
        async for data in socket:
            if isinstance(data, bytes):
                now, message = time.monotonic_ns(), TelemetryMessage.FromString(data)
                frames = [message.telemetry, *message.frames]
                ages_ms += [(now - f.sequence) / 1e6 for f in frames if f.sequence]


async def turns(
    port: int, credentials: Sequence[str], pid: int, seconds: float, rounds: int
) -> dict[str, list[Turn]]:
    """Return the turns of each case."""
    right, wrong = credentials
    ages_ms: list[float] = []
    viewers = [asyncio.create_task(watch(port, right, n, ages_ms)) for n in range(CARS)]
    while len(ages_ms) < 100 * CARS:  # all have come, and the page's code is warm
        await asyncio.sleep(0.1)
    found: dict[str, list[Turn]] = {name: [] for name in CASES}
    for number in range(rounds):
        for name in sorted(CASES, reverse=bool(number % 2)):
            found[name].append(await _turn(CASES[name], port, wrong, pid, seconds, ages_ms))
    for viewer in viewers:
        viewer.cancel()
    ends = await asyncio.gather(*viewers, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    return found


async def _turn(
    addresses: int, port: int, wrong: str, pid: int, seconds: float, ages_ms: list[float]
) -> Turn:
    ours, theirs = get_context("spawn").Pipe()
    stranger = get_context("spawn").Process(target=attack, args=(port, wrong, addresses, theirs))
    if addresses:
        await asyncio.to_thread(stranger.start)
        await asyncio.to_thread(ours.recv)
    await asyncio.sleep(1.0)  # viewers have what waited for the end of the turn before
    ages_ms.clear()
    begin, before = time.monotonic(), _cpu_s(pid)
    await asyncio.sleep(seconds)
    cpu_percent = 100 * (_cpu_s(pid) - before) / (time.monotonic() - begin)
    ages, tried = list(ages_ms), 0
    if addresses:
        ours.send(None)
        tried = await asyncio.to_thread(ours.recv)
        await asyncio.to_thread(stranger.join)
    return Turn(ages, cpu_percent, tried)


def _cpu_s(pid: int) -> float:
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def line(name: str, of_case: list[Turn]) -> str:
    """Return the medians of a case's turns."""
    cuts = [quantiles(turn.ages_ms, n=100) for turn in of_case]
    p50, p99 = (median(cut[n] for cut in cuts) for n in (49, 98))
    cpu = median(turn.cpu_percent for turn in of_case)
    tried = sum(turn.tried for turn in of_case)
    return f"{name:<24}p50 {p50:6.2f} ms, p99 {p99:6.2f} ms, CPU {cpu:4.1f} %, {tried:,} tried\n"


@click.command()
@click.option("--mode", type=click.Choice(["keys", "jwt"]), default="jwt", show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Of a turn.")
@click.option("--rounds", default=6, show_default=True, help="Turns of each case.")
def main(mode: str, seconds: float, rounds: int) -> None:
    """Print the ages of viewers' frames with wrong logins and without."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    page = context.Process(target=serve, args=(mode, theirs))
    page.start()
    assert page.pid is not None
    try:
        port, *credentials = ours.recv()
        found = asyncio.run(turns(port, credentials, page.pid, seconds, rounds))
    finally:
        ours.send(None)
        page.join()
    for name, of_case in found.items():
        sys.stdout.write(line(name, of_case))


if __name__ == "__main__":
    main()
