"""Ray's HAProxy, run as Ray runs it, before a page that listens in clear."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ingest.embedded.process import free_port
from ingest.settings import ServeSettings
from serve.bridge.front.front import Front
from serve.bridge.ray_environment import write_haproxy_command
from tests.waiting import WITHIN_S, wait_until

# What Ray writes, less its comments, health checks and metrics. `/down` is a replica that is gone.
CONFIG = """\
global
    stats socket {home}/node/admin.sock mode 666 level admin expose-fd listeners
    hard-stop-after 86400s
defaults
    mode http
    timeout connect 5s
    timeout client 3600s
    option abortonclose
    retry-on conn-failure
    errorfile 502 {home}/500.http
    errorfile 503 {home}/500.http
    errorfile 504 {home}/500.http
frontend http_frontend
    bind 127.0.0.1:{port}
    acl routes path -i /-/routes
    http-request return status 200 content-type application/json string "none" if routes
    use_backend down if {{ path_beg /down }}
    use_backend http-page if !{{ path_beg /nowhere }}
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path '%[path]' not found."
backend http-page
    http-reuse always
    server replica 127.0.0.1:{page}
backend down
    server replica 127.0.0.1:1
"""
ERROR = (
    "HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n\r\n"
    "Internal Server Error"
)


@dataclass
class HAProxy:
    """A HAProxy that runs; ``process`` is the newest."""

    port: int
    command: list[str]
    config: Path
    text: str
    stack: ExitStack
    process: "subprocess.Popen[bytes] | None" = None

    def reload(self) -> None:
        """Replace it by a new one, as Ray does when its replicas change."""
        self.config.write_text(self.text)
        before = ["-sf", str(self.process.pid)] if self.process else []
        self.process = subprocess.Popen([*self.command, *before], stderr=subprocess.DEVNULL)
        self.stack.callback(self.process.wait)
        self.stack.callback(self.process.kill)
        wait_until(self._answers, "HAProxy answers")

    def _answers(self) -> bool:
        """Whether the new process has taken over."""
        assert self.process is not None
        assert self.process.poll() is None, "HAProxy has ended"
        with socket.socket(socket.AF_UNIX) as admin:
            try:
                admin.connect(str(self.config.with_name("admin.sock")))
                admin.sendall(b"show info\n")
                found = b"".join(iter(lambda: admin.recv(65536), b""))
            except OSError:
                return False
        return f"\nPid: {self.process.pid}\n".encode() in found

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """A connection from an address of this machine, until the end."""
        return self.stack.enter_context(
            socket.create_connection(("127.0.0.1", self.port), WITHIN_S, (source, 0))
        )


@contextmanager
def running_haproxy(
    home: Path, serve: ServeSettings, *, page: int = 1, connections: int = 4000
) -> Iterator[HAProxy]:
    """Run HAProxy with the settings, before the page on a port. ``home`` needs a short path."""
    port, config = free_port(), home / "node" / "haproxy.cfg"
    config.parent.mkdir()
    (home / "500.http").write_text(ERROR)
    text = CONFIG.format(home=home, port=port, page=page)
    command = [str(write_haproxy_command(home)), "-db", "-f", str(config), "-dR"]
    with ExitStack() as stack:
        front = Front(serve)
        front.start(home, connections=connections)
        stack.callback(front.stop)
        running = HAProxy(port, command, config, text, stack)
        running.reload()
        yield running
