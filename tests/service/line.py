"""The network between a broker and its clients, which can be cut, and cut in the middle of what is
being sent.
"""

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

# Linger for no time: the other end sees a reset, as when a cable is gone.
_RESET = struct.pack("ii", 1, 0)


class Line:
    """Connections to ``address`` lead to ``port`` of this machine for as long as the line is
    whole.
    """

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._port = 0
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._whole = True
        self._left: int | None = None  # bytes towards the broker until the line breaks
        self.cuts = 0

    @property
    def address(self) -> str:
        """host:port, to be advertised by the broker."""
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    def lead_to(self, port: int) -> None:
        """From now on connections are taken."""
        self._port = port
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and every new one, until `mend`."""
        with self._lock:
            self.cuts += self._whole
            self._whole, self._left = False, None
            ends, self._ends = self._ends, set()
        for end in ends:
            _reset(end)

    def cut_after(self, sent_bytes: int) -> None:
        """Cut it when so many more bytes have gone towards the broker."""
        with self._lock:
            self._left = sent_bytes

    def mend(self) -> None:
        """Let connections through again."""
        self._whole = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._ends |= {near, far}
            if not self._whole:
                self.cut()
            threading.Thread(target=self._connect, args=(near, far), daemon=True).start()

    def _connect(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            back = threading.Thread(target=self._carry, args=(far, near, False), daemon=True)
            back.start()
            self._carry(near, far, True)
            back.join()
            with self._lock:
                self._ends -= {near, far}

    def _carry(self, source: socket.socket, sink: socket.socket, towards_broker: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                whole = self._allowed(len(data)) if towards_broker else len(data)
                sink.sendall(data[:whole])
                if whole < len(data):
                    self.cut()
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _allowed(self, wanted: int) -> int:
        with self._lock:
            if self._left is None:
                return wanted
            allowed = min(wanted, self._left)
            # One connection breaks it, once: another that is refused later would break what was
            # mended.
            self._left = None if allowed < wanted else self._left - allowed
            return allowed


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)
