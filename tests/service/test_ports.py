"""A service has the port that it had before, unless another process has it."""

import socket

import pytest

from ingest.embedded.ports import keep_ports
from ingest.errors import PurpleSectorError
from serve.bridge.access.key_file import change_keys
from serve.local.system import run_local


def test_ports_are_those_of_before(tmp_path):
    first = keep_ports(tmp_path, ["client", "controller"])
    again = keep_ports(tmp_path, ["client", "controller"])

    assert again == first
    assert len(set(first.by_name.values())) == 2
    assert again.changes == ""


def test_a_port_that_another_process_has_is_replaced_and_named(tmp_path):
    first = keep_ports(tmp_path, ["client", "controller"]).by_name
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first["client"]))
        other.listen()
        moved = keep_ports(tmp_path, ["client", "controller"])

    assert moved.by_name["client"] != first["client"]
    assert moved.by_name["controller"] == first["controller"]
    assert f"port {first['client']} of before is taken" in moved.changes
    assert str(moved.by_name["client"]) in moved.changes
    assert keep_ports(tmp_path, ["client", "controller"]).by_name == moved.by_name


def test_connections_of_a_stopped_server_do_not_take_its_port(tmp_path):
    port = keep_ports(tmp_path, ["client"]).by_name["client"]
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # who closes first leaves TIME_WAIT behind

    assert keep_ports(tmp_path, ["client"]).by_name["client"] == port


@pytest.mark.parametrize("damaged", ["", "[]", '{"client": "many"}', '{"client": 70000}', "\ud800"])
def test_a_damaged_file_costs_the_port_only(tmp_path, damaged):
    (tmp_path / "ports.json").write_bytes(damaged.encode("utf-8", "surrogatepass"))

    assert keep_ports(tmp_path, ["client"]).by_name["client"] > 0


def test_a_page_for_others_is_on_no_other_port(tmp_path, monkeypatch):
    keys = tmp_path / "keys"
    change_keys(keys, lambda entries: entries)
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = {"AUTH_MODE": "keys", "AUTH_KEYS_FILE": str(keys)}
        settings |= {"KAFKA_TOPIC_PER_USER": "true", "WS_PORT": str(other.getsockname()[1])}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with (
            pytest.raises(PurpleSectorError, match="others know the page by it"),
            run_local(tmp_path, durable=False, report=lambda _: None),
        ):
            pass
