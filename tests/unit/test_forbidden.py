"""The fixtures that keep unit tests small do bite."""

import asyncio
import socket

import pytest


def test_a_unit_test_cannot_open_a_socket() -> None:
    with socket.socket() as outside, pytest.raises(pytest.fail.Exception, match="opens no socket"):
        outside.connect(("127.0.0.1", 9))


def test_an_event_loop_needs_no_outside_socket() -> None:
    assert asyncio.run(asyncio.sleep(0, "done")) == "done"
