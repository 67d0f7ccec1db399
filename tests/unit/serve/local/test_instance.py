"""The note that `up` leaves for the commands to come."""

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from analytics.store.instance import Instance, state_folder
from ingest.errors import PurpleSectorError
from serve.local.instance import single_instance, write_note

NOTE = Instance(
    pid=os.getpid(),
    page="http://127.0.0.1:8001/",
    brokers="127.0.0.1:9093",
    database_url="postgresql://me:hidden@127.0.0.1:5433/laps",
)


@pytest.fixture
def home(tmp_path) -> Iterator[Path]:
    """Where this process runs the system."""
    with single_instance(tmp_path / "state"):
        yield tmp_path / "state"


def test_who_comes_later_finds_what_runs(home):
    write_note(NOTE, home)

    assert Instance.find(home) == NOTE


def test_note_is_for_its_user_alone(home):
    """It holds the database's password."""
    write_note(NOTE, home)

    assert stat.S_IMODE((home / "running.json").stat().st_mode) == 0o600


def test_a_later_note_replaces_the_first(home):
    write_note(NOTE, home)
    later = Instance(NOTE.pid, "http://127.0.0.1:8002/", NOTE.brokers, NOTE.database_url)
    write_note(later, home)

    assert Instance.find(home) == later


def test_nothing_runs_where_no_note_is(tmp_path):
    assert Instance.find(tmp_path / "absent") is None


def test_what_is_still_starting_is_not_found(home):
    assert Instance.find(home) is None


def test_note_of_a_system_that_was_killed_is_no_system(tmp_path):
    """Its process number may be somebody else's by now; the lock went with the process."""
    dies = (
        "import os, sys, pathlib; from serve.local.instance import *; home ="
        " pathlib.Path(sys.argv[1]);"
    )
    dies += (
        "lock = single_instance(home); lock.__enter__(); write_note(Instance(1, '', '', ''), home);"
        " os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", dies, str(tmp_path)], check=False)

    assert (tmp_path / "running.json").exists()
    assert Instance.find(tmp_path) is None


def test_note_of_a_crash_is_not_believed_though_its_process_number_is_in_use_again(tmp_path):
    with single_instance(tmp_path):
        pass
    write_note(NOTE, tmp_path)

    assert Instance.find(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"pid": 1}', '{"pid": "x", "page": 1, "more": 2}']
)
def test_note_that_cannot_be_read_is_no_system(home, text):
    """Half a file, or that of another version."""
    (home / "running.json").write_text(text)

    assert Instance.find(home) is None


def test_there_is_one_system_at_a_time(home):
    write_note(NOTE, home)

    with (
        pytest.raises(
            PurpleSectorError, match=f"already running as process {NOTE.pid}, on {NOTE.page}"
        ),
        single_instance(home, looks_last_s=0.1),
    ):
        pass

    assert Instance.find(home) == NOTE


def test_one_that_is_still_starting_counts_too(home):
    """Until it is up there is no note, and two at once would write over each other's data."""
    with (
        pytest.raises(PurpleSectorError, match="already starting"),
        single_instance(home, looks_last_s=0.1),
    ):
        pass


def test_note_goes_with_the_system_and_another_may_start(tmp_path):
    with single_instance(tmp_path):
        write_note(NOTE, tmp_path)

    assert not (tmp_path / "running.json").exists()
    with single_instance(tmp_path):
        assert Instance.find(tmp_path) is None


def test_note_goes_although_the_system_failed(tmp_path):
    with contextlib.suppress(ZeroDivisionError), single_instance(tmp_path):
        write_note(NOTE, tmp_path)
        raise ZeroDivisionError

    assert not (tmp_path / "running.json").exists()


def test_addresses_fill_what_the_environment_leaves_open():
    environ = {"KAFKA_BROKERS": "elsewhere:9092"}
    NOTE.export_to(environ)

    assert environ == {"KAFKA_BROKERS": "elsewhere:9092", "DATABASE_URL": NOTE.database_url}


def test_chosen_folder_wins():
    assert state_folder({"PURPLE_SECTOR_HOME": "/chosen", "XDG_STATE_HOME": "/state"}) == Path(
        "/chosen"
    )


def test_folder_of_a_user_and_of_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert state_folder({"XDG_STATE_HOME": "/state"}) == Path("/state/purple-sector")
    assert state_folder({}) == Path.home() / ".local" / "state" / "purple-sector"

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not state_folder({}).is_relative_to(Path.home())


def test_copies_of_a_topic_go_with_the_brokers_that_keep_them():
    environ: dict[str, str] = {}
    replace(NOTE, replication=3).export_to(environ)

    assert environ["KAFKA_REPLICATION"] == "3"
