"""cluster.yaml, as far as it can be checked without a cloud: Ray's schema, and what we learnt about
Ray.
"""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve.bridge.front import haproxy_config
from serve.bridge.front.haproxy_config import COMMAND
from serve.cli.main import command as cli
from tests.paths import ROOT
from tests.supply.requirements import PARTS
from tests.waiting import WITHIN_S

CONFIG = ROOT / "cluster.yaml"

# In a process of its own: Ray reads its environment when imported, and service tests have yet to
# set it.
VALIDATE = """
import sys, yaml
from ray.autoscaler._private.util import prepare_config, validate_config
validate_config(prepare_config(yaml.safe_load(open(sys.argv[1]))))
"""


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    return loaded


def _commands(config: dict[str, Any]) -> list[str]:
    return [
        command for key, value in config.items() if key.endswith("_commands") for command in value
    ]


def _validate(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", VALIDATE, str(file)],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )


def test_ray_accepts_the_configuration() -> None:
    accepted = _validate(CONFIG)
    assert accepted.returncode == 0, accepted.stderr


def test_ray_would_state_what_is_wrong(config: dict[str, Any], tmp_path: Path) -> None:
    wrong = tmp_path / "cluster.yaml"
    wrong.write_text(yaml.safe_dump(config | {"head_node_type": "nobody"}))
    assert "`head_node_type` must be one of" in _validate(wrong).stderr


def test_head_does_no_work(config: dict[str, Any]) -> None:
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


def test_nodes_get_the_checkout_and_no_more(config: dict[str, Any]) -> None:
    """Not ``.env``, nor anything else of the person who starts the cluster, other than what is
    named.
    """
    here = {source for source in config["file_mounts"].values() if not source.startswith("~")}
    assert here == {
        "analytics",
        "ingest",
        "serve",
        "pyproject.toml",
        "requirements",
        "README.md",
        "LICENSE",
    }
    assert all((ROOT / source).exists() for source in here)


def test_the_command_that_ray_runs_as_haproxy_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"][COMMAND].split(":")
    assert getattr(importlib.import_module(module), function) is haproxy_config.main


def test_every_install_checks_hashes(config: dict[str, Any]) -> None:
    """But for the project itself, which comes without its requirements."""
    installs = [command for command in _commands(config) if "pip install" in command]
    assert len(installs) == 3
    for command in installs:
        assert "--require-hashes" in command or "--no-deps --no-build-isolation" in command


def test_installed_parts_are_locked(config: dict[str, Any]) -> None:
    """All that comes before a part, too."""
    named = re.findall(r"([a-z]+)\.txt", " ".join(_commands(config)))
    assert named == ["build", *PARTS[: PARTS.index("cluster") + 1], "aws"]


def test_head_starts_what_the_command_offers(config: dict[str, Any]) -> None:
    """The words after ``purple-sector`` are parsed by the command itself: it knows them and their
    options.
    """
    called = [
        re.search(r"(?<!/)purple-sector (.+)$", command)
        for command in config["head_start_ray_commands"]
    ]
    (words,) = [match.group(1).split() for match in called if match]
    assert words[:2] == ["cluster", "start"]
    cluster_start = cli.commands["cluster"].commands["start"]
    assert set(words[2::2]) <= {option for p in cluster_start.params for option in p.opts}


def test_secrets_are_mounted_never_written() -> None:
    text = CONFIG.read_text()
    assert not re.search(
        r"(?i)(password|secret|token|api_?key)\s*[=:]\s*['\"]?(?!token\b)[\w+/]{8,}", text
    )
    assert "://" not in text, "an address with a password in it starts like this"
    assert "RAY_AUTH_TOKEN" not in text


def test_every_node_has_the_token_and_requests_it(config: dict[str, Any]) -> None:
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
    assert "RAY_AUTH_MODE=disabled" not in CONFIG.read_text()


@pytest.mark.parametrize(
    "setting",
    [
        "RAY_SERVE_ENABLE_HA_PROXY=1",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S=86400",
        "RAY_SERVE_PORT_QUARANTINE_S=60",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S=3",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S=1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S=10",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S=60",
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD=0",
        f"RAY_SERVE_HAPROXY_BINARY_PATH=$HOME/venv/bin/{COMMAND}",
    ],
)
def test_viewers_keep_their_sockets(config: dict[str, Any], setting: str) -> None:
    """Serve's proxy has to be told on every node, before Ray starts there."""
    assert any(setting in command.split() for command in config["setup_commands"])


@pytest.mark.parametrize(
    "setting",
    [
        "RAY_health_check_period_ms=1000",
        "RAY_health_check_timeout_ms=2000",
        "RAY_health_check_failure_threshold=3",
        "RAY_gcs_storage=rocksdb",
        "RAY_gcs_storage_path=$HOME/gcs",
    ],
)
def test_head_notices_a_lost_node_and_survives_a_restart(
    config: dict[str, Any], setting: str
) -> None:
    (start,) = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    assert setting in start.split()


@pytest.mark.parametrize("key", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_orphaned_proxy_is_gone_before_ray_starts(config: dict[str, Any], key: str) -> None:
    """Ray stops without it; it would keep the port."""
    commands = config[key]
    start = next(i for i, command in enumerate(commands) if "ray start" in command)
    assert commands[0] == "ray stop"
    assert commands[1].startswith("pkill -f '[r]ay_haproxy")
    assert start > 1
