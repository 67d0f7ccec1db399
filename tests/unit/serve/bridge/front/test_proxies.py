"""The client's address behind proxies: forwarded by whom we trust, or not at all."""

import pytest

from serve.bridge.front.proxies import ProxyChain

OWN = ProxyChain({"127.0.0.1", "10.0.0.1"})
CHAIN = ProxyChain({"127.0.0.1"}, ["192.0.2.0/28", " 2001:db8:ffff::1", ""])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        # the client's own comes first
        ("10.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("192.0.2.7", ["203.0.113.9"], "192.0.2.7"),  # no proxy of ours
        ("10.0.0.1", [], "10.0.0.1"),
        ("127.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("127.0.0.1", ["2001:db8:1:2:ffff::1"], "2001:db8:1:2::/64"),
        ("", [], ""),
    ],
)
def test_a_header_is_believed_from_our_own_proxy_alone(peer, forwarded, address):
    assert OWN.client_of(peer, forwarded) == address


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (["203.0.113.9", "192.0.2.5"], "203.0.113.9"),
        (["203.0.113.9, 192.0.2.4, 192.0.2.5"], "203.0.113.9"),
        # what the client sent itself is behind its own address, and never read
        (["198.51.100.1, 203.0.113.9", "192.0.2.5"], "203.0.113.9"),
        (["192.0.2.6, 203.0.113.9, 192.0.2.5"], "203.0.113.9"),
        (["203.0.113.9, 2001:db8:ffff::1"], "203.0.113.9"),
        (["203.0.113.9, ::ffff:192.0.2.5"], "203.0.113.9"),
        (["203.0.113.9, 192.0.2.16"], "192.0.2.16"),  # not in the network
        (["192.0.2.5"], "192.0.2.5"),  # the proxy's own request
        (["unknown, 192.0.2.5"], "unknown"),
        (["x" * 100 + ", 192.0.2.5"], "x" * 64),
    ],
)
def test_proxies_in_front_are_believed_as_far_as_they_are_named(forwarded, address):
    assert CHAIN.client_of("127.0.0.1", forwarded) == address


def test_a_proxy_in_front_that_goes_around_ours_is_not_believed():
    assert CHAIN.client_of("192.0.2.5", ["203.0.113.9"]) == "192.0.2.5"
