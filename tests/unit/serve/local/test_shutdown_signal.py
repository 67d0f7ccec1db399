import importlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serve.local.shutdown_signal import ShutdownSignal
from tests.waiting import wait_until

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@pytest.fixture
def shutdown() -> Iterator[ShutdownSignal]:
    """One that is installed, and whose handlers are gone after the test."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    shutdown = ShutdownSignal()
    shutdown.install()
    yield shutdown
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def interrupted_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in whose import Ctrl-C comes."""
    name = "interrupted_module"
    source = "import signal\nsignal.raise_signal(signal.SIGINT)\nis_whole = True\n"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_first_signal_interrupts_a_start(shutdown: ShutdownSignal) -> None:
    with pytest.raises(KeyboardInterrupt), shutdown.interrupting():
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)  # nothing interrupts the stop
    assert shutdown.is_set()


def test_import_is_finished_before_the_interrupt(
    shutdown: ShutdownSignal, interrupted_module: str
) -> None:
    with pytest.raises(KeyboardInterrupt), shutdown.interrupting():
        import_and(lambda: wait_until(lambda: False, "the interrupt"), interrupted_module)
    assert sys.modules[interrupted_module].is_whole


def test_failure_after_a_signal_is_the_interrupt(
    shutdown: ShutdownSignal, interrupted_module: str
) -> None:
    with pytest.raises(KeyboardInterrupt), shutdown.interrupting():
        import_and(fail, interrupted_module)


def test_failure_without_a_signal_is_itself(shutdown: ShutdownSignal) -> None:
    with pytest.raises(OSError, match="no disk"), shutdown.interrupting():
        fail()


def import_and(do: Callable[[], object], module: str) -> None:
    importlib.import_module(module)
    do()


def fail() -> None:
    raise OSError("no disk")
