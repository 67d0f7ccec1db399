"""A lap for one viewer, without Kafka or a database: a simulated car, driven while you watch.

The rule: the demo follows the clock, not its own sleep. A loop that is late sends the frames of now, not those it owes.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import islice

from ingest.collectors import simulate
from ingest.collectors.circuit import aldermoor_park
from ingest.telemetry_pb2 import TelemetryFrame, TelemetryMessage
from ingest.wire import frame_in_envelope
from serve.envelope import Envelope, status
from serve.viewer import Outgoing

SESSION = "demo"
_RATE_HZ = 60
_MOST_AT_ONCE = 6


async def play(say: Callable[[Outgoing], None], *, seed: int, clock: Callable[[], float]) -> None:
    """Drive until cancelled: the facts, then a frame every sixtieth of a second."""
    started_at_ms = time.time_ns() // 1_000_000
    say(status("demo", detail="a simulated car, for you alone"))
    say(facts(started_at_ms))
    frames = simulate.drive(aldermoor_park(), seed=seed, started_at_ms=started_at_ms, rate_hz=_RATE_HZ)
    started, driven = clock(), 0
    while True:
        due = int((clock() - started) * _RATE_HZ)
        for envelope in _next(frames, due - driven, driven):
            say(envelope)
        driven = max(driven, due)
        await asyncio.sleep(max(0.0, started + (driven + 1) / _RATE_HZ - clock()))


def facts(started_at_ms: int) -> Envelope:
    """The facts of the demo's session."""
    session = simulate.facts(
        aldermoor_park(), session_id=SESSION, user_id=SESSION, driver="Demo", started_at_ms=started_at_ms
    )
    message = TelemetryMessage(session=session, session_id=SESSION)
    return Envelope(message.SerializeToString(), session=SESSION)


def _next(frames: Iterator[TelemetryFrame], due: int, driven: int) -> Iterator[Envelope]:
    """The frames that are due, numbered from 1; after a pause only the newest of them."""
    skipped = max(0, due - _MOST_AT_ONCE)
    for place, frame in enumerate(islice(frames, skipped, due), start=driven + skipped + 1):
        frame.sequence = place
        yield Envelope(frame_in_envelope(frame.SerializeToString(), SESSION), session=SESSION, frames=1)
