"""compose.yaml, as far as it can be checked without Docker: it says what .env.example and our own
services say.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from ingest.embedded import postgres
from ingest.embedded.kafka import jars
from ingest.settings import DatabaseSettings, KafkaSettings, ServeSettings
from tests.paths import ROOT

COMPOSE = ROOT / "compose.yaml"
# Where PostgreSQL listens, which a container answers otherwise.
_OF_THE_PLACE = ("listen_addresses", "unix_socket_directories")
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def services(environ: Mapping[str, str]) -> dict[str, Any]:
    """The services as Docker Compose reads them in that environment."""
    text = _VARIABLE.sub(lambda found: environ.get(found[1]) or found[2], COMPOSE.read_text())
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


@pytest.fixture
def kafka() -> dict[str, Any]:
    found: dict[str, Any] = services({})["kafka"]
    return found


@pytest.fixture
def timescaledb() -> dict[str, Any]:
    found: dict[str, Any] = services({})["timescaledb"]
    return found


def published(service: dict[str, Any]) -> tuple[str, str, str]:
    """Address and port on this machine, and the port in the container."""
    (port,) = service["ports"]
    host, outside, inside = port.split(":")
    return host, outside, inside


def listener(service: dict[str, Any], variable: str) -> dict[str, str]:
    """Listeners by name."""
    return dict(one.split("://") for one in service["environment"][variable].split(","))


def test_services_are_where_the_defaults_look_for_them(kafka, timescaledb):
    host, port, _ = published(kafka)
    assert KafkaSettings(_env_file=None).brokers == f"{host}:{port}"
    url = urlsplit(DatabaseSettings(_env_file=None).url.get_secret_value())
    assert published(timescaledb)[:2] == (url.hostname, str(url.port))
    assert (url.username, url.password, url.path) == ("postgres", None, "/postgres")


@pytest.mark.parametrize("environ", [{}, {"KAFKA_PORT": "19092", "POSTGRES_PORT": "15432"}])
def test_nobody_outside_of_this_machine_is_let_in(environ):
    without_proxy = {n: one for n, one in services(environ).items() if "profiles" not in one}
    assert without_proxy.keys() == {"kafka", "timescaledb"}
    assert {published(service)[0] for service in without_proxy.values()} == {"127.0.0.1"}


def test_the_proxy_is_asked_for_and_reaches_the_page_of_this_machine():
    proxy = services({"TLS_FOLDER": "/etc/tls"})["proxy"]

    assert proxy["profiles"] == ["tls"]
    assert proxy["network_mode"] == "host"
    assert proxy["volumes"] == [
        "./deploy/nginx.conf:/etc/nginx/nginx.conf:ro",
        "/etc/tls:/etc/nginx/tls:ro",
    ]
    page = ServeSettings(_env_file=None)
    for name in ("nginx.conf", "haproxy.cfg", "Caddyfile"):
        assert f" {page.host}:{page.port}" in (ROOT / "deploy" / name).read_text()


def test_ports_can_be_chosen():
    chosen = services({"KAFKA_PORT": "19092", "POSTGRES_PORT": "15432"})
    assert published(chosen["kafka"])[1] == "19092"
    assert published(chosen["timescaledb"])[1:] == ("15432", "5432")


@pytest.mark.parametrize("environ", [{}, {"KAFKA_PORT": "19092"}])
def test_address_that_a_client_is_reported_is_the_published_one(environ):
    """It asks there first, is told the advertised listener, and goes on there; the health check
    does so from inside.
    """
    kafka = services(environ)["kafka"]
    host, outside, inside = published(kafka)
    assert listener(kafka, "KAFKA_ADVERTISED_LISTENERS") == {"CLIENT": f"{host}:{outside}"}
    assert listener(kafka, "KAFKA_LISTENERS")["CLIENT"] == f":{inside}"
    assert f"127.0.0.1:{inside} " in kafka["healthcheck"]["test"][-1]
    assert inside == outside


def test_images_are_those_that_the_tests_know(kafka, timescaledb):
    """Kafka is the version that we start ourselves; TimescaleDB the Community edition, on the
    PostgreSQL that we know it with.
    """
    assert kafka["image"] == f"apache/kafka:{jars.VERSION}"
    assert re.fullmatch(r"timescale/timescaledb:\d+\.\d+\.\d+-pg17", timescaledb["image"])


def test_postgresql_has_the_settings_of_the_one_that_we_start(timescaledb):
    ours = {name: value for name, value in postgres._SETTINGS.items() if name not in _OF_THE_PLACE}
    assert dict(one.split("=") for one in timescaledb["command"] if "=" in one) == ours


def test_data_outlives_the_containers(kafka, timescaledb):
    named = yaml.safe_load(COMPOSE.read_text())["volumes"].keys()
    assert kafka["volumes"] == [f"kafka:{kafka['environment']['KAFKA_LOG_DIRS']}"]
    assert {
        volume.split(":")[0] for service in (kafka, timescaledb) for volume in service["volumes"]
    } == named


def test_each_states_when_it_is_ready(kafka, timescaledb):
    """``up --wait`` waits for that."""
    assert [service["healthcheck"]["test"][0] for service in (kafka, timescaledb)] == [
        "CMD-SHELL",
        "CMD",
    ]


def test_no_secret_is_in_the_file(kafka, timescaledb):
    names = [name for service in (kafka, timescaledb) for name in service["environment"]]
    assert not [name for name in names if re.search("PASSWORD|SECRET|TOKEN|JAAS", name)]
    assert "://postgres:" not in COMPOSE.read_text()
