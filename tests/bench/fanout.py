"""Measure what logins cost the fan-out: CPU time a message, with logins and without, in turns.

``python -m tests.bench.fanout`` prints both medians, and the median ratio of neighbouring turns.
The same messages are delivered in both cases. The sockets behind the hub do the same in both, and
are left out: they would only hide a cost.
"""

import sys
import time
from statistics import median

from ingest.telemetry_pb2 import TelemetryFrame
from serve.bridge.access.callers import ANYONE, Caller, Role
from serve.bridge.live.hub import Hub, LiveRecord, Subscription
from serve.bridge.live.viewer import Viewer

CARS = 20
VIEWERS = 100
WATCHES = 4
FRAMES = 400
TURNS = 30


def hub_of(*, logins: bool) -> tuple[Hub, list[Viewer]]:
    """A hub whose viewers watch their cars: each as that driver, or without logins."""
    hub, viewers = Hub(), []
    for number in range(VIEWERS):
        user = f"user-{number % CARS}"
        caller = Caller(user, Role.ENGINEER if number % 5 else Role.DRIVER)
        viewer = Viewer(
            as_text=False,
            wake=lambda: None,
            close=lambda _: None,
            caller=caller if logins else ANYONE,
        )
        hub.join(viewer)
        for nth in range(WATCHES if number % 5 else 1):  # a driver: of its own car
            watch = Subscription("session", f"session-{(number + nth) % CARS}")
            hub.watch(viewer, watch, now=0.0)
        viewers.append(viewer)
    return hub, viewers


def records() -> list[LiveRecord]:
    """A frame of each car, as often as a turn has frames."""
    return [
        LiveRecord(
            f"session-{car}",
            f"user-{car}",
            TelemetryFrame(timestamp=1_700_000_000_000, sequence=n, speed=n).SerializeToString(),
        )
        for n in range(1, FRAMES + 1)
        for car in range(CARS)
    ]


def turn(hub: Hub, viewers: list[Viewer], batch: list[LiveRecord]) -> tuple[float, int]:
    """CPU time in µs a delivered message, and how many were delivered."""
    begin, delivered = time.process_time(), 0
    for first in range(0, len(batch), CARS):
        hub.publish(batch[first : first + CARS], now=0.0)
        for viewer in viewers:
            while viewer.queue.take(now=0.0) is not None:
                delivered += 1
    return (time.process_time() - begin) / delivered * 1e6, delivered


def main() -> None:
    batch = records()
    cases = {name: hub_of(logins=name == "logins") for name in ("none", "logins")}
    costs: dict[str, list[float]] = {name: [] for name in cases}
    delivered: dict[str, int] = {}
    for number in range(TURNS):
        for name in sorted(cases, reverse=bool(number % 2)):
            cost, delivered[name] = turn(*cases[name], batch)
            costs[name].append(cost)
    ratios = [a / b for a, b in zip(costs["logins"], costs["none"], strict=True)]
    for name, values in costs.items():
        sys.stdout.write(
            f"{name:<8}{median(values):7.3f} µs of CPU a message, {delivered[name]:,} a turn\n"
        )
    sys.stdout.write(f"logins / none: {median(ratios):.3f} (median of {TURNS} turns)\n")


if __name__ == "__main__":
    main()
