"""Log lines: what every one of them carries."""

import json
import threading

import pytest
import structlog

from ingest.logs import start_logging
from ingest.settings import LogSettings


@pytest.fixture(autouse=True)
def as_before():
    yield
    structlog.reset_defaults()


def test_a_thread_says_whose_it_is(capsys):
    """Workers are threads, and their lines are the ones that somebody will look for."""
    start_logging(LogSettings(_env_file=None, format="json", service_name="pit wall"))
    thread = threading.Thread(target=lambda: structlog.get_logger().info("reading", offset=7))
    thread.start()
    thread.join()
    line = json.loads(capsys.readouterr().err)
    assert (line["service"], line["event"], line["offset"]) == ("pit wall", "reading", 7)
