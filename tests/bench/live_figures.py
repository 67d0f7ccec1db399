"""From instants to milliseconds: how long each frame took, in all and from hop to hop. Pure;
instants are monotonic seconds.
"""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: A session's key and a frame's sequence.
Frame = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Steps:
    """What the cars did: frame n (from 1) of a session was due (n - 1) / ``rate_hz`` after its
    ``begun_s``; ``sent_s[n - 1]``.
    """

    begun_s: Mapping[str, float]
    rate_hz: float
    sent_s: Mapping[str, list[float]]

    def between(self, from_s: float, until_s: float) -> dict[Frame, tuple[float, float]]:
        """Of each frame that the game computed in that time: when, and when the collector had sent
        it.
        """
        return {
            (session, number + 1): (step_s, sent_s)
            for session, sent in self.sent_s.items()
            for number, sent_s in enumerate(sent)
            if from_s <= (step_s := self.begun_s[session] + number / self.rate_hz) < until_s
        }


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """``latency_ms`` of what came to a viewer's socket; ``hops_ms`` are parts of it; ``missing``
    came to no viewer of its car.
    """

    frames: int
    received: int
    missing: int
    latency_ms: Spread
    hops_ms: dict[str, Spread]


def spread(taken_s: Iterable[float]) -> Spread:
    """Of durations in seconds, at least two of them."""
    taken_ms = [1000 * taken for taken in taken_s]
    cuts = statistics.quantiles(taken_ms, n=100, method="inclusive")
    return Spread(cuts[49], cuts[98], max(taken_ms))


def figures(
    due: Mapping[Frame, tuple[float, float]],
    appended_s: Mapping[Frame, float],
    viewed: Iterable[tuple[Frame, float]],
) -> LiveFigures:
    """``due`` as `Steps.between` gives it; ``appended_s``: when the broker had it; ``viewed``: each
    arrival at a socket.
    """
    arrivals = [(frame, at_s) for frame, at_s in viewed if frame in due]
    hops = {
        "step → sent": [sent_s - step_s for step_s, sent_s in due.values()],
        "sent → broker's log": [
            appended_s[frame] - sent_s for frame, (_, sent_s) in due.items() if frame in appended_s
        ],
        "broker's log → socket": [
            at_s - appended_s[frame] for frame, at_s in arrivals if frame in appended_s
        ],
    }
    return LiveFigures(
        frames=len(due),
        received=len(arrivals),
        missing=len(due.keys() - {frame for frame, _ in arrivals}),
        latency_ms=spread(at_s - due[frame][0] for frame, at_s in arrivals),
        hops_ms={name: spread(taken) for name, taken in hops.items()},
    )
