"""Ray's HAProxy, run as Ray runs it, and clients that send half a request."""

import socket
import subprocess
from contextlib import ExitStack

from ingest.embedded.process import free_ports
from serve.bridge.ray_environment import write_haproxy_command
from tests.waiting import WITHIN_S, wait_until

HALF = b"GET / HTTP/1.1\r\nHost: x\r\n"
FRONTEND = """
defaults
    mode http
    timeout client 60s
    timeout connect 5s
    timeout server 60s
frontend http_frontend
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "here"
"""


def test_haproxy_takes_no_more_connections_of_an_address_than_it_may_have(tmp_path):
    """Half-sent requests of one address leave places for others, and a proxy on this machine has no
    such limit.
    """
    (port,) = free_ports(1)
    config = tmp_path / "haproxy.cfg"
    config.write_text(FRONTEND.format(port=port))
    with ExitStack() as stack:
        haproxy = stack.enter_context(
            subprocess.Popen(
                [write_haproxy_command(tmp_path, most_per_address=3), "-db", "-f", config]
            )
        )
        stack.callback(haproxy.kill)

        def half_sent(source: str) -> socket.socket:
            one = stack.enter_context(
                socket.create_connection(("127.0.0.1", port), WITHIN_S, (source, 0))
            )
            one.sendall(HALF)
            return one

        def is_answered(one: socket.socket) -> bool:
            try:
                one.sendall(b"\r\n")
                return one.recv(100).startswith(b"HTTP/1.1 200")
            except ConnectionError:
                return False

        def serves(source: str) -> bool:
            try:
                return is_answered(half_sent(source))
            except ConnectionError:  # ended before it was used
                return False

        wait_until(lambda: serves("127.0.0.1"), "HAProxy answers")
        kept = [half_sent("127.0.0.2") for _ in range(3)]
        assert all(is_answered(one) for one in kept), "so HAProxy has taken them"
        for one in kept:
            one.sendall(HALF)
        assert not serves("127.0.0.2")
        assert serves("127.0.0.3")
        assert all(serves("127.0.0.1") for _ in range(5))
        assert all(is_answered(one) for one in kept)
