"""The ports of a service, kept in a file beside its data.

Clients that ran while the service was stopped have its address. They come back by themselves only to the same port.
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
    """TCP ports on the loopback by name; ``taken``: those kept from earlier that another process has now."""

    by_name: dict[str, int]
    taken: dict[str, int]

    @property
    def changes(self) -> str:
        """One sentence about each port that is another one than before; empty if there is none."""
        return "; ".join(
            f"port {port} of before is taken by another process, so {name} is on {self.by_name[name]}"
            for name, port in self.taken.items()
        )


def keep_ports(folder: Path, names: Sequence[str]) -> KeptPorts:
    """Read the ports from ``folder``, replace those that are taken, and write them back.

    Raises OSError where the file cannot be written.
    """
    kept = _read(folder / _FILE)
    chosen = {name: kept[name] for name in names if name in kept and _is_free(kept[name])}
    missing = [name for name in names if name not in chosen]
    chosen |= dict(zip(missing, free_ports(len(missing)), strict=True))
    if chosen != kept:
        _write(folder / _FILE, chosen)
    return KeptPorts(chosen, {name: kept[name] for name in missing if name in kept})


def _read(file: Path) -> dict[str, int]:
    """The ports in ``file``; none if it is not there or damaged, for a new port is better than no service."""
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
    """Whether a server may listen there; connections that a stopped one left in TIME_WAIT do not hinder that."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
