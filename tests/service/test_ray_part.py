"""Ray that ends is started again, with what runs on it, for as long as it takes; who stops the
command waits for none of it.

In Ray's place are two processes that bear the names of its essential ones.
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ingest.errors import PurpleSectorError
from serve.local.ray_lifecycle import ESSENTIAL, RayLifecycle
from serve.local.shutdown_signal import ShutdownSignal

WAITS = ["-I", "-S", "-c", "print(flush=True); import time; time.sleep(600)"]


class SmallRay:
    """Starts the two processes, unless ``fails`` has a reason; ``before_start`` is done in each
    start.
    """

    def __init__(self, folder: Path) -> None:
        self._programs = [folder / name for name in ESSENTIAL]
        for program in self._programs:
            program.symlink_to(Path(sys.executable).resolve())
        self.fails = ""
        self.before_start: Callable[[], None] = lambda: None
        self.starts = 0
        self.processes: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.starts += 1
        self.before_start()
        if self.fails:
            raise PurpleSectorError(self.fails)
        self.processes = [
            subprocess.Popen([program, *WAITS], stdout=subprocess.PIPE)
            for program in self._programs
        ]
        try:
            for process in self.processes:
                assert process.stdout is not None
                process.stdout.readline()
            yield
        finally:
            for process in self.processes:
                process.kill()
                process.communicate()


class Services:
    """What runs on Ray; ``fails`` ends its start."""

    def __init__(self) -> None:
        self.runs = False
        self.fails: Exception | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if self.fails:
            raise self.fails
        self.runs = True
        try:
            yield
        finally:
            self.runs = False


@pytest.fixture
def ray(tmp_path: Path) -> SmallRay:
    return SmallRay(tmp_path)


@pytest.fixture
def shutdown() -> Iterator[ShutdownSignal]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in numbers]
    shutdown = ShutdownSignal()
    shutdown.install()
    yield shutdown
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@contextmanager
def running(
    ray: SmallRay, services: Services, shutdown: ShutdownSignal, said: list[str]
) -> Iterator[RayLifecycle]:
    part = RayLifecycle(ray, said.append, shutdown)
    with part.ray(), part.services(services):
        yield part
    assert not ours()
    assert not services.runs


class Clock:
    """Seconds that are passed by hand; halves of one are exact."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def run(self, seconds: int) -> Iterator[None]:
        for _ in range(2 * seconds):
            yield
            self.now_s += 0.5


def starts_again(ray: SmallRay, part: RayLifecycle, clock: Clock) -> bool:
    before = ray.starts
    part.keep_up(clock)
    return ray.starts > before


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def ours() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.name() in ESSENTIAL]


@pytest.mark.parametrize("killed", [0, 1], ids=ESSENTIAL)
def test_ray_of_which_a_process_is_killed_is_started_again(ray, shutdown, killed):
    said: list[str] = []
    services = Services()
    with running(ray, services, shutdown, said) as part:
        part.keep_up()
        assert (ray.starts, said) == (1, [])

        for _ in range(2):
            before = ray.processes
            end(before[killed])
            part.keep_up()
            assert part.running
            assert services.runs
            assert all(process.poll() is not None for process in before)
    assert ray.starts == 3
    assert len(said) == 4


@pytest.mark.parametrize("what", ["Ray", "what runs on it"])
def test_a_restart_that_fails_is_tried_after_pauses_until_it_does_not(ray, shutdown, what):
    said: list[str] = []
    services = Services()
    clock = Clock()
    with running(ray, services, shutdown, said) as part:
        end(ray.processes[0])
        ray.fails = "Ray did not start, 4 times" if what == "Ray" else ""
        services.fails = None if what == "Ray" else ValueError("no proxy\nTraceback")

        assert [clock.now_s for _ in clock.run(120) if starts_again(ray, part, clock)] == [
            0,
            1,
            3,
            7,
            15,
            31,
            61,
            91,
        ]
        assert not part.running
        assert not ours()
        assert not services.runs

        ray.fails, services.fails = "", None
        clock.now_s += 30
        part.keep_up(clock)
        assert part.running
        assert services.runs
    assert len(said) == 3
    assert said[1].endswith("Ray did not start, 4 times" if what == "Ray" else "no proxy")
    assert "is back" in said[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_a_restart_and_what_it_started_is_left(ray, shutdown, number):
    services = Services()
    with running(ray, services, shutdown, []) as part:
        end(ray.processes[1])
        ray.before_start = lambda: signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            part.keep_up()
        assert not part.running
    assert shutdown.is_set()


def test_a_signal_interrupts_nothing_that_is_being_stopped(ray, shutdown):
    """A restart begins with the end of the old Ray: whoever broke that off would leave some of it
    running.
    """
    ended = []

    @contextmanager
    def services():
        yield
        signal.raise_signal(signal.SIGINT)
        ended.append(True)

    part = RayLifecycle(ray, lambda _: None, shutdown)
    with part.ray(), part.services(services):
        end(ray.processes[0])
        with pytest.raises(KeyboardInterrupt):
            part.keep_up()
    assert ended == [True]
    assert ray.starts == 1
    assert not ours()


def test_only_the_first_signal_interrupts(shutdown):
    with pytest.raises(KeyboardInterrupt), shutdown.interrupting():
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), shutdown.interrupting():
        pytest.fail("what is to stop starts nothing")
