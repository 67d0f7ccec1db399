"""The environment in which Serve runs, and the small decisions at the sockets' edge."""

import subprocess

import pytest

from serve.bridge.ray_environment import (
    PORTS,
    cluster_environment,
    sockets_allowed,
    write_haproxy_command,
    write_token,
)


def environment_in(folder):
    return cluster_environment(folder, ports=range(40_001, 40_001 + PORTS), open_files=20_000)


def test_the_mode_in_which_a_slow_viewer_makes_the_sender_wait(tmp_path):
    environment = environment_in(tmp_path)

    assert environment["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert environment["RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD"] == "0"
    assert environment["RAY_AUTH_MODE"] == "token"


def test_clusters_on_one_machine_share_no_file(tmp_path):
    one, other = environment_in(tmp_path / "a"), environment_in(tmp_path / "b")

    assert all(
        one[name] != other[name]
        for name in one
        if name.endswith(("_PATH", "_LOC", "_FILE", "_BASE"))
    )


def test_a_clusters_ports_are_distinct(tmp_path):
    environment = environment_in(tmp_path)
    ports = [
        v
        for name, v in environment.items()
        if name.endswith("_PORT") and "DIRECT_INGRESS" not in name
    ]

    assert len(ports) == len(set(ports)) == 4


def test_replica_ports_are_a_range(tmp_path):
    environment = environment_in(tmp_path)
    first, last = (
        int(environment[f"RAY_SERVE_DIRECT_INGRESS_{end}_HTTP_PORT"]) for end in ("MIN", "MAX")
    )

    assert 1024 < first < last <= 65535


def test_a_range_of_ports_ends_where_ports_end(tmp_path):
    environment = cluster_environment(
        tmp_path, ports=[1, 2, 3, 4, 65_530, 65_531], open_files=20_000
    )

    assert environment["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"] == "65535"


@pytest.mark.parametrize(
    ("open_files", "sockets"), [(1024, 329), (20_000, 7_920), (1_048_576, 10_000), (-1, 10_000)]
)
def test_haproxy_takes_no_more_files_than_it_may_have(open_files, sockets):
    assert sockets_allowed(open_files) == sockets


def test_a_clusters_token_is_its_users_alone_and_in_no_environment(tmp_path):
    path = write_token(tmp_path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text()) == 64
    environment = environment_in(tmp_path)
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(path)
    assert path.read_text() not in environment.values()


def test_haproxy_is_run_by_our_command_which_needs_no_package(tmp_path, monkeypatch):
    monkeypatch.setattr("serve.bridge.ray_environment.get_haproxy_binary", lambda: "/bin/cat")
    config = tmp_path / "node" / "haproxy.cfg"
    config.parent.mkdir()
    config.write_text("frontend http_frontend\n    bind *:8000\n")

    command = write_haproxy_command(tmp_path)
    ran = subprocess.run([command, str(config)], capture_output=True, text=True, check=True)

    assert str(command) == environment_in(tmp_path)["RAY_SERVE_HAPROXY_BINARY_PATH"]
    assert " track-sc0 " in ran.stdout
