"""Keeps the ports of a service in a file beside its data.

Clients that ran while the service was stopped have its address. They reconnect automatically, but
only to the same port.
"""

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.embedded.process import free_ports

_FILE = "ports.json"


@dataclass(frozen=True, slots=True)
class KeptPorts:
    """TCP ports on the loopback by name.

    ``taken`` are earlier ones that another process has now.
    """

    by_name: dict[str, int]
    taken: dict[str, int]

    @property
    def changes(self) -> str:
        """Return one sentence about each port that has changed; empty if there is none."""
        return "; ".join(
            f"port {port} of before is taken by another process, so {name} is on"
            f" {self.by_name[name]}"
            for name, port in self.taken.items()
        )


def keep_ports(folder: Path, names: Sequence[str]) -> KeptPorts:
    """Read the ports from ``folder``, replace those that are taken, and write them back.

    Raises OSError if the file cannot be written.
    """
    kept = _read(folder / _FILE)
    chosen = {name: kept[name] for name in names if name in kept and _is_free(kept[name])}
    missing = [name for name in names if name not in chosen]
    chosen |= dict(zip(missing, free_ports(len(missing)), strict=True))
    if chosen != kept:
        _write(folder / _FILE, chosen)
    return KeptPorts(chosen, {name: kept[name] for name in missing if name in kept})


def _read(file: Path) -> dict[str, int]:
    """Return the ports in ``file``; none if it is absent or damaged, for a new port is better than
    no service.
    """
    try:
        found = json.loads(file.read_text())
        return {str(name): int(port) for name, port in found.items() if 0 < int(port) < 65_536}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(file: Path, ports: dict[str, int]) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(ports))
    draft.replace(file)


def _is_free(port: int) -> bool:
    """Return whether a server may listen there. Connections of a stopped one in TIME_WAIT do not
    prevent that.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
