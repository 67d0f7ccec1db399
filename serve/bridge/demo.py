"""Plays a simulated car for one viewer, without Kafka or a database, while that viewer watches.

The rule: the demo follows the clock, not its own sleep. A late loop drops frames instead of
catching up.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import islice

from ingest.codec.record_format import frame_in_envelope
from ingest.collectors.simulator import frames as simulator
from ingest.collectors.simulator.circuit import aldermoor_park
from ingest.telemetry_pb2 import TelemetryFrame, TelemetryMessage
from serve.bridge.live.outgoing import OutgoingMessage, status
from serve.bridge.live.viewer import Outgoing

SESSION = "demo"
_RATE_HZ = 60
_LATE_S = 0.25


async def play(send: Callable[[Outgoing], None], *, seed: int, clock: Callable[[], float]) -> None:
    """Send the session's facts, then a frame every sixtieth of a second, until cancelled."""
    started_at_ms = time.time_ns() // 1_000_000
    send(status("demo", detail="a simulated car, for you alone"))
    send(facts(started_at_ms))
    frames = simulator.drive(
        aldermoor_park(), seed=seed, started_at_ms=started_at_ms, rate_hz=_RATE_HZ
    )
    second = await _next_second(frames)
    started, driven = clock(), 0
    while True:
        # Drive a second ahead and off the loop: planning a lap takes tens of milliseconds.
        # On the loop that would delay every viewer.
        ahead = asyncio.ensure_future(_next_second(frames))
        for frame in second:
            driven += 1
            wait_s = started + driven / _RATE_HZ - clock()
            await asyncio.sleep(max(0.0, wait_s))
            if wait_s > -_LATE_S:
                send(numbered(frame, driven))
        second = await ahead


def facts(started_at_ms: int) -> OutgoingMessage:
    """Return the facts of the demo's session."""
    session = simulator.facts(
        aldermoor_park(),
        session_id=SESSION,
        user_id=SESSION,
        driver="Demo",
        started_at_ms=started_at_ms,
    )
    message = TelemetryMessage(session=session, session_id=SESSION)
    return OutgoingMessage(message.SerializeToString(), session=SESSION)


def numbered(frame: TelemetryFrame, sequence: int) -> OutgoingMessage:
    """Return a frame of the demo as a viewer receives it."""
    frame.sequence = sequence
    return OutgoingMessage(
        frame_in_envelope(frame.SerializeToString(), SESSION), session=SESSION, frames=1
    )


async def _next_second(frames: Iterator[TelemetryFrame]) -> list[TelemetryFrame]:
    return await asyncio.to_thread(lambda: list(islice(frames, _RATE_HZ)))
