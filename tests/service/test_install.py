"""What a game PC installs: the collectors, without the libraries of a cluster.

Needs a package index; skipped, with the reason, where none answers.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.waiting import WITHIN_S, wait_until

PACKAGES = ("analytics", "ingest", "serve")
NOT_ON_A_GAME_PC = {"ray", "pyarrow", "numpy", "pandas", "psycopg", "fastapi"}
NO_INDEX = (
    "Could not find a version",
    "NewConnectionError",
    "Failed to establish",
    "Could not fetch URL",
)

BY_HASH = ("--require-hashes", "--requirement", ROOT / "requirements" / "collector.txt")
NO_COMPILER = ("--only-binary", ":all:")
WINDOWS = ("--platform", "win_amd64", "--python-version", "3.11", "--implementation", "cp")

IMPORT = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def _pip(python: str | Path, *arguments: str | Path) -> None:
    done = subprocess.run(
        [python, "-m", "pip", *arguments], capture_output=True, text=True, timeout=WITHIN_S
    )
    if done.returncode and any(sign in done.stderr for sign in NO_INDEX):
        pytest.skip(f"no package index answers: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy: building in the checkout would leave traces there."""
    copy = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation")
    _pip(sys.executable, *build, "--wheel-dir", copy / "dist", copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def game_pc(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the commands of an environment with nothing but the collectors."""
    environment = tmp_path_factory.mktemp("game-pc") / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=WITHIN_S)
    commands = environment / ("Scripts" if sys.platform == "win32" else "bin")
    python = commands / "python"
    _pip(python, "install", "--quiet", *NO_COMPILER, *BY_HASH)
    _pip(python, "install", "--quiet", "--no-deps", wheel)
    return commands


def test_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    """Tables and the viewer's page are not Python, and needed all the same."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {
        path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts
    }
    assert wanted - set(zipfile.ZipFile(wheel).namelist()) == set()


@pytest.mark.parametrize(
    "name",
    [
        "ingest/telemetry.proto",
        "ingest/store/schema/schema.sql",
        "ingest/embedded/kafka/kafka_jars.txt",
        "serve/page/index.html",
        "serve/page/main.mjs",
        "serve/game_pc/collect.service",
        "analytics/py.typed",
        "ingest/py.typed",
        "serve/py.typed",
    ],
)
def test_wheel_holds(wheel: Path, name: str) -> None:
    """Named one by one, for a list of what is there cannot miss what was deleted."""
    assert name in zipfile.ZipFile(wheel).namelist()


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    folders = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in folders if not name.endswith(".dist-info")} == set(PACKAGES)


def test_installed_package_gives_the_proto(game_pc: Path, tmp_path: Path) -> None:
    """Other programs of this wire generate their code from it."""
    read = "from importlib.resources import files; print(files('ingest') / 'telemetry.proto')"
    done = subprocess.run(
        [game_pc / "python", "-c", read], cwd=tmp_path, capture_output=True, text=True
    )
    shown = Path(done.stdout.strip())
    assert game_pc.parent in shown.parents
    assert "message TelemetryFrame" in shown.read_text(encoding="utf-8")


def test_game_pc_gets_no_cluster_library(game_pc: Path) -> None:
    listed = subprocess.run(
        [game_pc / "python", "-m", "pip", "list", "--format", "json"],
        capture_output=True,
        check=True,
        timeout=WITHIN_S,
    )
    assert {one["name"].lower() for one in json.loads(listed.stdout)} & NOT_ON_A_GAME_PC == set()


def test_game_pc_imports_every_collector(game_pc: Path, tmp_path: Path) -> None:
    files = sorted((ROOT / "ingest" / "collectors").rglob("[a-z]*.py"))
    collectors = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    assert "ingest.collectors.games.acc.game" in collectors
    named = ["ingest.settings", "ingest.errors", "ingest.telemetry_pb2", *collectors]
    named += ["ingest.kafka.topics"]

    done = subprocess.run(
        [game_pc / "python", "-c", IMPORT, *named],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )

    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) & NOT_ON_A_GAME_PC == set()


def test_game_pc_has_the_command(game_pc: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [game_pc / "purple-sector", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_windows_gets_wheels_only(tmp_path: Path) -> None:
    """Resolved and not installed: each requirement has a wheel for it, and no driver needs a
    compiler.
    """
    resolve = (
        "install",
        "--quiet",
        "--dry-run",
        *NO_COMPILER,
        *WINDOWS,
        "--target",
        tmp_path / "none",
    )
    _pip(sys.executable, *resolve, *BY_HASH)


def test_game_pc_collects(game_pc: Path, tmp_path: Path) -> None:
    """It waits for game and broker, and stops when it is told to."""
    settings = {
        "KAFKA_BROKERS": "127.0.0.1:9",
        "SPOOL_DIR": str(tmp_path / "spool"),
        "PURPLE_SECTOR_HOME": str(tmp_path),
    }
    log_file = tmp_path / "acc.log"
    collector = subprocess.Popen(
        [game_pc / "purple-sector", "collect", "acc", "--log-file", log_file],
        cwd=tmp_path,
        env=os.environ | settings | {"ACC_SHARED_MEMORY": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: log_file.exists() and "following" in log_file.read_text())
    finally:
        collector.terminate()
        said, _ = collector.communicate(timeout=WITHIN_S)

    assert collector.returncode == 0, log_file.read_text()
    assert json.loads(said.splitlines()[-1])["framesCollected"] == 0


def test_game_pc_has_a_doctor(game_pc: Path, tmp_path: Path) -> None:
    settings = {
        "KAFKA_BROKERS": "127.0.0.1:9",
        "SPOOL_DIR": str(tmp_path / "spool"),
        "PURPLE_SECTOR_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [game_pc / "purple-sector", "collect", "doctor", "acc", "--json"],
        cwd=tmp_path,
        env=os.environ | settings | {"ACC_SHARED_MEMORY": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )

    assert done.returncode == 1, done.stderr
    levels = [(finding["check"], finding["level"]) for finding in json.loads(done.stdout)]
    assert levels[:3] == [("settings", "ok"), ("game", "warning"), ("broker", "error")]
    assert levels[-1] == ("spool", "ok")
