"""Gives HAProxy a renewed certificate while it runs, so that open sockets stay.

A thread looks at the files every second. A changed pair is checked, kept as the last good one
and handed to HAProxy through its administration socket. A wrong one is logged, and changes nothing.
"""

import re
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog

from serve.bridge.front.certificates import CertificateFault, KeyPair, read_key_pair

log = structlog.get_logger()

_LOOK_EVERY_S = 1.0
_ANSWER_WITHIN_S = 5.0
_SERVED = re.compile(r"^SHA1 FingerPrint: ([0-9A-F]+)$", re.MULTILINE)

_Signature = tuple[tuple[int, ...], ...]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class CertificateFiles:
    """The files of the settings, and the last good pair in them."""

    def __init__(
        self, certificate: Path, key: Path, *, clock: Callable[[], datetime] = _utc_now
    ) -> None:
        self.certificate, self.key = certificate, key
        self._clock = clock
        self._good: KeyPair | None = None
        self._seen = self._checked = self._signature()

    def good(self) -> KeyPair:
        """Return the last good pair. The first call reads the files. Raises CertificateFault."""
        if self._good is None:
            self._good = read_key_pair(self.certificate, self.key, self._clock())
        return self._good

    def keep(self, pair: KeyPair) -> None:
        """Take a pair of earlier as the last good one."""
        self._good = pair

    def changed(self) -> bool:
        """Return whether a look found another good pair, and log a wrong one once.

        Files that still change are read at the next look: a pair is rarely written at once.
        """
        before, self._seen = self._seen, self._signature()
        if self._seen != before or self._seen == self._checked:
            return False
        self._checked = self._seen
        try:
            pair = read_key_pair(self.certificate, self.key, self._clock())
        except CertificateFault as fault:
            log.error("certificate_refused", setting=fault.setting, problem=str(fault))
            return False
        known, self._good = self._good, pair
        return pair != known

    def _signature(self) -> _Signature:
        return tuple(map(_look, (self.certificate, self.key)))


def _look(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode


def write_secret(path: Path, content: bytes) -> None:
    """Put a file with these bytes in place at once. Only this user may read it."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    draft.write_bytes(content)
    draft.replace(path)


class CertificateWatch:
    """Keeps the file that HAProxy reads, and what HAProxy serves, as the last good pair is."""

    def __init__(
        self, files: CertificateFiles, home: Path, pem: Path, *, every_s: float = _LOOK_EVERY_S
    ) -> None:
        self._files, self._home, self._pem, self._every_s = files, home, pem, every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="certificate", daemon=True)
        self._refused = b""

    def start(self) -> None:
        """Write the file, and begin to look. Raises CertificateFault."""
        write_secret(self._pem, self._files.good().pem)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join(2 * _ANSWER_WITHIN_S)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            self._step()

    def _step(self) -> None:
        changed = self._files.changed()
        pair = self._files.good()
        if changed:
            write_secret(self._pem, pair.pem)
        # Each node of a cluster on one machine has a folder of its own.
        for admin in self._home.glob("*/admin.sock"):
            try:
                self._hand_over(admin, pair, changed=changed)
            except OSError as error:
                # HAProxy is being replaced. The next one reads the file.
                log.debug("haproxy_not_reached", problem=str(error))

    def _hand_over(self, admin: Path, pair: KeyPair, *, changed: bool) -> None:
        served = _SERVED.search(_command(admin, f"show ssl cert {self._pem}"))
        if served is None or self._refused == pair.pem:
            return
        if changed or served[1] != pair.fingerprint:
            _command(admin, f"set ssl cert {self._pem} <<\n{pair.pem.decode()}")
            answer = _command(admin, f"commit ssl cert {self._pem}")
            if "Success" in answer:
                log.info("certificate_changed", of=pair.subject, until=str(pair.not_after))
            else:
                self._refused = pair.pem
                log.error("certificate_not_taken", problem=" ".join(answer.split()))


def _command(admin: Path, command: str) -> str:
    """Return HAProxy's answer to a command. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(_ANSWER_WITHIN_S)
        one.connect(str(admin))
        one.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: one.recv(65536), b"")).decode(errors="replace")
