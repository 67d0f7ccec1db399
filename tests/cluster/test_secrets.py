"""No password of the settings is in what Ray stores: not in its tables, its files, or any process's
arguments.
"""

from pathlib import Path

import psutil
import ray
from ray._private.state import actors, jobs

from ingest.settings import DatabaseSettings
from tests.canaries import secret

CANARY = secret("canary-5b1e90")


class Reader:
    """An actor that gets settings, as ingest's and the bridge's do."""

    def __init__(self, database: DatabaseSettings) -> None:
        self._database = database

    def password_arrived(self) -> bool:
        return CANARY in self._database.url.get_secret_value()


def test_a_password_is_nowhere_but_in_its_file(ray_cluster: None, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text(f"DATABASE_URL=postgresql://ingest:{CANARY}@db.example/telemetry\n")
    file.chmod(0o600)

    reader = ray.remote(Reader).options(num_cpus=0).remote(DatabaseSettings.read(_env_file=file))

    assert ray.get(reader.password_arrived.remote())
    assert CANARY not in str(actors())
    assert CANARY not in str(jobs())
    session = Path(ray._private.worker.global_worker.node.get_session_dir_path())
    assert [
        path
        for path in session.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ] == []
    assert not any(CANARY in argument for argument in arguments())
    ray.kill(reader)


def arguments() -> list[str]:
    found: list[str] = []
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            found += process.cmdline()
        except psutil.Error:
            continue  # it has ended
    return found
