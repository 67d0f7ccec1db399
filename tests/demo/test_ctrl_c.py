"""How a system ends that is stopped or killed while it starts. Before the other tests of the demo,
which have the machine to themselves.
"""

import select
import signal
import socket
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from serve.bridge.access.callers import Role
from serve.bridge.access.key_file import change_keys
from serve.bridge.access.keys import entry_of, new_key
from serve.local.orphans import folder_of_rays, wait_for_end
from tests import canaries
from tests.demo.conftest import Popen, purple_sector, settings_of, starting_demo
from tests.demo.test_listeners import assert_closed_to_others
from tests.waiting import WITHIN_S, wait_until

#: The part of a command line that shows the stage; at the first nothing answers a fetch.
STAGES = {"fetch": "", "initdb": "initdb", "Kafka": "kafka.Kafka", "Ray": "gcs_server"} | {
    "Serve": "ServeController"
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_while_it_starts_ends_it_then_and_leaves_nothing(stage, tmp_path):
    """Nobody waits for a registry, and the next start finds no half of anything."""
    with TemporaryDirectory(prefix="purple-") as temporary, silent_registry() as registry:
        Path(temporary).chmod(0o755)
        environment = {"TMPDIR": temporary, "PURPLE_SECTOR_HOME": str(tmp_path)}
        if stage == "fetch":
            environment |= fetched_from(registry) | {"PURPLE_SECTOR_CACHE": str(tmp_path / "cache")}
        with starting_demo(tmp_path, **environment) as process:

            def is_reached() -> bool:
                assert process.poll() is None, (tmp_path / "demo.log").read_text()
                return is_asked(registry) if stage == "fetch" else runs(process, STAGES[stage])

            wait_until(is_reached, stage)
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM if stage in ("fetch", "Ray") else signal.SIGINT)
            assert process.wait(WITHIN_S) == 130, (tmp_path / "demo.log").read_text()

        wait_for_end(children, WITHIN_S)
        assert [child for child in children if child.is_running()] == []
        assert list(Path(temporary).glob("p*s*-*")) == []
        assert rays_of(process.pid) == []
    assert [path for path in tmp_path.glob("cache/*") if path.is_dir()] == []


def rays_of(pid: int) -> list[Path]:
    """The folders of Rays that this process made."""
    found = []
    for owner in folder_of_rays().glob("ps-*/owner"):
        with suppress(OSError):  # of another Ray, which has just ended
            found += [owner.parent] if owner.read_text().startswith(f"{pid} ") else []
    return found


def test_what_a_killed_command_leaves_is_ended_by_down(tmp_path):
    """Ray's HAProxy goes on to answer on the page's port, and its raylet waits for a minute.

    Meanwhile: logins open nothing more, and their keys are where nobody else reads. And a long
    TMPDIR, as macOS has it, is no place for Ray's sockets.
    """
    own = settings_of(tmp_path) | with_keys(tmp_path)
    with TemporaryDirectory(prefix="as-long-as-on-macOS-" * 3) as place:
        Path(place).chmod(0o755)
        own |= {"TMPDIR": place}
        assert_down_ends_what_a_killed_command_left(tmp_path, own)


def assert_down_ends_what_a_killed_command_left(folder: Path, own: dict[str, str]) -> None:
    page = own["WS_HOST"], int(own["WS_PORT"])
    with starting_demo(folder, **own) as process:

        def has_page() -> bool:
            assert process.poll() is None, (folder / "demo.log").read_text()
            return answers(page)

        wait_until(has_page, "HAProxy")
        assert_closed_to_others(process.pid)
        assert canaries.command_lines_with_one() == []
        assert canaries.files_with_one([folder / "demo.log"]) == []
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
    assert answers(page)

    said = purple_sector("down", environment=own)

    assert "processes were ended that a killed command had left behind" in said
    wait_for_end(children, WITHIN_S)
    assert [child for child in children if child.is_running()] == []
    assert not answers(page)


def with_keys(folder: Path) -> dict[str, str]:
    """The settings of a login by key."""
    key, file = canaries.secret(new_key()), folder / "keys"
    change_keys(file, lambda _: [entry_of("ann", Role.OPERATOR, key)])
    mode = {"AUTH_MODE": "keys", "KAFKA_TOPIC_PER_USER": "true"}
    return mode | {"AUTH_KEYS_FILE": str(file)}


def answers(page: tuple[str, int]) -> bool:
    with suppress(OSError):
        socket.create_connection(page, WITHIN_S).close()
        return True
    return False


def runs(process: Popen, part: str) -> bool:
    """Return whether a child of the process has ``part`` in its command line."""
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            if part in " ".join(child.cmdline()):
                return True
    return False


def silent_registry() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def is_asked(registry: socket.socket) -> bool:
    return bool(select.select([registry], [], [], 0)[0])


def fetched_from(registry: socket.socket) -> dict[str, str]:
    """Return the environment in which all is fetched through the registry."""
    address = f"http://127.0.0.1:{registry.getsockname()[1]}"
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return dict.fromkeys(names, address) | {"no_proxy": "", "NO_PROXY": ""}
