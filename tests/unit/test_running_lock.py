"""One system at a time on a machine, and a note that is believed only while its writer lives."""

import os

import pytest

from ingest.errors import PurpleSectorError
from serve.running import Running, the_only_one

NOTE = Running(os.getpid(), "http://127.0.0.1:8001/", "127.0.0.1:9093", "postgresql://me@127.0.0.1:5433/laps")


def test_second_system_is_told_of_the_first(tmp_path):
    with the_only_one(tmp_path):
        NOTE.write(tmp_path)

        with pytest.raises(PurpleSectorError, match=f"already running as process {NOTE.pid}, on {NOTE.page}"):
            the_only_one(tmp_path).__enter__()
        assert Running.find(tmp_path) == NOTE


def test_second_system_waits_for_no_first_that_is_starting(tmp_path):
    """Until it is up there is no note, and two at once would write over each other's data."""
    with the_only_one(tmp_path), pytest.raises(PurpleSectorError, match="already starting"):
        the_only_one(tmp_path).__enter__()


def test_note_of_a_crash_is_not_believed_though_its_process_number_is_in_use_again(tmp_path):
    with the_only_one(tmp_path):
        pass
    NOTE.write(tmp_path)

    assert Running.find(tmp_path) is None


def test_system_that_has_stopped_leaves_no_note_and_room_for_the_next(tmp_path):
    with the_only_one(tmp_path):
        NOTE.write(tmp_path)
    assert Running.find(tmp_path) is None

    with the_only_one(tmp_path):
        NOTE.write(tmp_path)
        assert Running.find(tmp_path) == NOTE
