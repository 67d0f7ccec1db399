"""The kinds of process that the storm kills, and how each is recognised."""

from collections.abc import Sequence
from enum import StrEnum


class Kind(StrEnum):
    """A kind of process of the system; ``UP`` is the command itself, ``COLLECTOR`` runs on a game
    PC.
    """

    BROKER = "broker"
    DATABASE = "database"
    BACKEND = "backend"
    RAYLET = "raylet"
    GCS = "gcs"
    CONTROLLER = "controller"
    PROXY = "proxy"
    HAPROXY = "haproxy"
    REPLICA = "replica"
    WORKER = "worker"
    SUPERVISOR = "supervisor"
    COLLECTOR = "collector"
    UP = "up"


#: Of these the system itself starts another process; its database's pool may do without the backend
#: that ended.
STARTED_ANEW = frozenset(Kind) - {Kind.BACKEND, Kind.COLLECTOR, Kind.UP}

_BY_PROGRAM = {"gcs_server": Kind.GCS, "raylet": Kind.RAYLET, "haproxy": Kind.HAPROXY}
# Actors show what they are in their command line; Linux cuts a process's name at 15 characters.
_BY_TITLE = {
    "ray::ServeController": Kind.CONTROLLER,
    "ray::HAProxyManager": Kind.PROXY,
    "ray::ProxyActor": Kind.PROXY,
    "ray::ServeReplica": Kind.REPLICA,
    "ray::IngestWorker": Kind.WORKER,
    "ray::Supervisor": Kind.SUPERVISOR,
}


def kind_of(name: str, command: Sequence[str]) -> Kind | None:
    """Return the kind of a process below `up` by its name and command line; None for one that is
    not killed.
    """
    line = " ".join(command)
    if name in _BY_PROGRAM:
        return _BY_PROGRAM[name]
    if name == "java" and "kafka.Kafka" in command:
        return Kind.BROKER
    if name == "postgres":
        return _kind_of_postgres(line)
    return next((kind for title, kind in _BY_TITLE.items() if line.startswith(title)), None)


def _kind_of_postgres(line: str) -> Kind | None:
    """Only a backend that serves a client is one: its command line has the client's address and
    port.
    """
    if not line.startswith("postgres: "):
        return Kind.DATABASE if " -D " in line else None
    return Kind.BACKEND if "127.0.0.1(" in line else None
