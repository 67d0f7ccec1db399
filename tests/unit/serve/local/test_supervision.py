"""A service that ends by itself is started again: at once, then after pauses, and for ever."""

import threading
from itertools import pairwise

from ingest.embedded.process import ServiceUnavailable
from serve.local.supervision import ServiceWatch, supervised


class Fragile:
    """A service that starts when its disk has room."""

    def __init__(self) -> None:
        self.running = True
        self.room = True
        self.starts_s: list[float] = []
        self.now_s = 0.0

    def restart(self, *, cancelled) -> None:
        self.starts_s.append(self.now_s)
        if not self.room:
            raise ServiceUnavailable("Fragile", "No space left on device")
        self.running = True


def watched(service, seconds, said, watch=None):
    watch = watch or ServiceWatch("Fragile", service)
    for _ in range(int(seconds * 10)):
        watch.step(lambda: service.now_s, said.append)
        service.now_s = round(service.now_s + 0.1, 1)
    return watch


def test_what_runs_is_left_alone():
    service, said = Fragile(), []

    watched(service, 10, said)

    assert service.starts_s == []
    assert said == []


def test_each_end_is_answered_at_once_and_reported():
    service, said = Fragile(), []
    watch = watched(service, 1, said)

    for _ in range(2):
        service.running = False
        ended_s = service.now_s
        watched(service, 1, said, watch)
        assert service.running
        assert service.starts_s[-1] == ended_s

    assert len(service.starts_s) == 2
    assert [line.partition(",")[0] for line in said] == [
        "Fragile has ended by itself",
        "Fragile is back on its port and data",
    ] * 2


def test_a_full_disk_is_waited_for_and_reported_once():
    service, said = Fragile(), []
    service.running = service.room = False

    watch = watched(service, 3600, said)

    gaps = [round(later - earlier) for earlier, later in pairwise(service.starts_s)]
    assert gaps[:5] == [1, 2, 4, 8, 16]
    assert set(gaps[5:]) == {30}
    assert len(said) == 2
    assert "No space left on device" in said[1]

    service.room = True
    watched(service, 31, said, watch)

    assert service.running
    assert len(said) == 3
    assert "is back" in said[2]


def test_a_start_that_is_under_way_is_cancelled_by_a_stop():
    class Slow:
        """Starts for ever."""

        running = False
        starting = threading.Event()

        def restart(self, *, cancelled) -> None:
            self.starting.set()
            while not cancelled():
                threading.Event().wait(0.01)
            raise ServiceUnavailable("Slow", "was stopped while starting")

    service, said = Slow(), []
    with supervised({"Slow": service}, said.append):
        assert service.starting.wait(60)

    assert said == ["Slow has ended by itself, and is started again"]
