"""Log lines: what every one of them carries."""

import json
import logging
import sys
import threading

import pytest
import structlog

import ingest.logging_setup
from ingest.errors import SettingsError
from ingest.logging_setup import start_logging
from ingest.settings import LogSettings


@pytest.fixture(autouse=True)
def as_before():
    yield
    structlog.reset_defaults()
    for handler in (logger := logging.getLogger("purple-sector")).handlers.copy():
        logger.removeHandler(handler)
        handler.close()


def test_a_thread_states_whose_it_is(capsys):
    """Workers are threads, and their lines are the ones that somebody will look for."""
    start_logging(LogSettings(_env_file=None, format="json", service_name="pit wall"))
    thread = threading.Thread(target=lambda: structlog.get_logger().info("reading", offset=7))
    thread.start()
    thread.join()
    line = json.loads(capsys.readouterr().err)
    assert (line["service"], line["event"], line["offset"]) == ("pit wall", "reading", 7)


def test_a_file_gets_what_stderr_gets(tmp_path, capsys):
    file = tmp_path / "logs" / "acc.log"
    start_logging(LogSettings(_env_file=None, file=str(file)))
    structlog.get_logger().info("session began", track="Nürburgring")

    assert "session began" in file.read_text(encoding="utf-8")
    assert "Nürburgring" in file.read_text(encoding="utf-8")
    assert capsys.readouterr().err == file.read_text(encoding="utf-8")


ODD = [
    "a\nb",
    "a\r\nb",
    "\x1b[2J",
    "\0",
    "\u202eb",
    "\u2028",
    "\x85",
    '"}\n{"event": "login"',
    "\udcff",
]


@pytest.mark.parametrize("form", ["json", "simple"])
@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_foreign_text_is_one_line_without_control_characters(form, odd, capsys):
    """What a client sends cannot write another line into a log, nor move a terminal's cursor."""
    start_logging(LogSettings(_env_file=None, format=form))
    structlog.get_logger().info("viewer_refused", name=odd, audit=True)
    (line,) = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert line.isprintable()
    if form == "json":
        assert json.loads(line)["name"] == odd


def test_traceback_keeps_its_lines_and_moves_no_cursor(capsys):
    start_logging(LogSettings(_env_file=None))
    try:
        raise ValueError("\x1b[2J\u202e")
    except ValueError:
        structlog.get_logger().exception("viewer_failed")
    first, *rest = capsys.readouterr().err.splitlines()
    assert "viewer_failed" in first
    assert len(rest) > 2
    assert all(line.isprintable() for line in [first, *rest])


def test_a_full_file_is_put_aside_and_the_oldest_go(tmp_path, monkeypatch):
    """A collector runs for years; its logs do not fill the disk of a game PC."""
    monkeypatch.setattr(ingest.logging_setup, "FILE_BYTES", 1000)
    file = tmp_path / "acc.log"
    start_logging(LogSettings(_env_file=None, file=str(file)))
    for number in range(200):
        structlog.get_logger().info("session began", number=number)

    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["acc.log", "acc.log.1", "acc.log.2", "acc.log.3", "acc.log.4"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert "number=199" in file.read_text()


def test_without_a_window_there_is_no_stderr(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    file = tmp_path / "acc.log"
    start_logging(LogSettings(_env_file=None, file=str(file)))
    structlog.get_logger().info("session began")

    assert "session began" in file.read_text()


def test_started_again_each_line_comes_once(tmp_path):
    file = tmp_path / "acc.log"
    for _ in range(2):
        start_logging(LogSettings(_env_file=None, file=str(file)))
    structlog.get_logger().info("session began")

    assert file.read_text().count("session began") == 1


def test_a_file_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(SettingsError, match=r"LOG_FILE=.*taken.acc\.log: cannot be written to"):
        start_logging(LogSettings(_env_file=None, file=str(tmp_path / "taken" / "acc.log")))
