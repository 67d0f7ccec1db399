"""What other machines reach is named with its port and content."""

import pytest

from serve.local.listeners import ListeningSocket, summary


@pytest.mark.parametrize(
    ("host", "on_loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("192.0.2.1", False),
    ],
)
def test_only_the_loopback_is_out_of_reach(host, on_loopback):
    assert ListeningSocket(host, 1, "x").on_loopback is on_loopback


def test_what_is_open_is_named_with_its_port_and_content():
    found = [
        ListeningSocket("::ffff:127.0.0.1", 33_000, "gcs_server"),
        ListeningSocket("0.0.0.0", 8_000, "/x/haproxy -f y"),
        ListeningSocket("::", 5_432, "postgres -D x"),
    ]

    assert summary(found) == "open to other machines: 8000 (the page), 5432 (postgres -D x)"


def test_nothing_open_is_nothing_to_print():
    assert summary([ListeningSocket("127.0.0.1", 1, "x")]) == ""
