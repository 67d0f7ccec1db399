"""The settings of what stands before the page."""

import json

import pytest

from ingest.embedded.certificates import CertificateAuthority
from ingest.errors import SettingsError
from ingest.settings import ServeSettings
from serve.bridge.front.front import Front, front_rules, haproxy_home, runs_our_command, warning_of
from serve.bridge.front.headers import headers_of
from tests.key_pairs import renew


@pytest.fixture
def tls(tmp_path):
    chain, key = renew(CertificateAuthority(tmp_path / "authority"), tmp_path)
    return {"tls_certificate": str(chain), "tls_key": str(key)}


@pytest.mark.parametrize(("missing", "variable"), [("tls_key", "KEY"), ("tls_certificate", "CERT")])
def test_half_of_tls_is_refused(tls, missing, variable):
    with pytest.raises(SettingsError, match=f"^WS_TLS_{variable}.*both a certificate and its key"):
        Front(ServeSettings(**tls | {missing: ""}))


def test_a_wrong_file_is_refused_with_its_setting_and_path(tls, tmp_path):
    (tmp_path / "key.pem").chmod(0o644)

    with pytest.raises(SettingsError, match=r"^WS_TLS_KEY=/.*key\.pem: other users.*chmod 600"):
        Front(ServeSettings(**tls)).check()


def test_without_tls_there_is_nothing_to_check_and_no_certificate(tmp_path):
    front = Front(ServeSettings())
    front.check()
    front.start(tmp_path / "home", connections=400)
    front.stop()

    assert json.loads((tmp_path / "home" / "front.json").read_text())["pem"] == ""
    assert not (tmp_path / "home" / "page.pem").exists()


def test_haproxys_files_are_written_before_it_starts(tls, tmp_path):
    front = Front(ServeSettings(**tls))
    front.start(tmp_path / "home", connections=400, host="0.0.0.0")
    front.stop()

    rules = json.loads((tmp_path / "home" / "front.json").read_text())
    assert (rules["host"], rules["connections"]) == ("*", 100)
    assert rules["pem"] == str(tmp_path / "home" / "page.pem")
    assert "strict-transport-security" in rules["headers"]
    assert (tmp_path / "home" / "page.pem").stat().st_mode & 0o777 == 0o600


def test_a_new_process_goes_on_with_what_was_last_good(tls, tmp_path):
    home = tmp_path / "home"
    first = Front(ServeSettings(**tls))
    first.start(home, connections=400)
    first.stop()
    served = (home / "page.pem").read_bytes()
    (tmp_path / "chain.pem").write_text("nonsense")

    again = Front(ServeSettings(**tls))
    with pytest.raises(SettingsError):
        again.check()
    again.restore(home)
    again.start(home, connections=400)
    again.stop()

    assert (home / "page.pem").read_bytes() == served


def test_limits_are_those_of_the_settings():
    serve = ServeSettings(
        connections_per_address=7, connections_per_s=3, idle_s=2, proxies="10.0.0.0/8, 192.0.2.1"
    )

    rules = front_rules(serve, connections=400)

    assert (rules["connections"], rules["connections_per_s"], rules["idle_s"]) == (7, 3, 2)
    assert rules["exempt"] == ["127.0.0.1", "::1", "10.0.0.0/8", "192.0.2.1"]


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, None),
        ({"tls_certificate": "/chain.pem"}, "max-age=31536000"),
        ({"proxies": "192.0.2.1"}, "max-age=31536000"),
        ({"proxies": "192.0.2.1", "hsts_days": 1}, "max-age=86400"),
        ({"tls_certificate": "/chain.pem", "hsts_days": 0}, None),
    ],
)
def test_browsers_are_bound_to_tls_where_viewers_have_it(settings, sent):
    assert headers_of(ServeSettings(**settings)).get("strict-transport-security") == sent


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "127.0.0.1"}, False),
        ({"host": "0.0.0.0", "proxies": "192.0.2.1"}, False),
        ({"host": "0.0.0.0", "tls_certificate": "/chain.pem"}, False),
    ],
)
def test_an_open_page_without_tls_is_named(settings, warned):
    assert ("without TLS" in warning_of(ServeSettings(**settings))) == warned


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "proxy.example", "10.0.0.0/33"])
def test_a_proxy_is_an_address_or_a_network(wrong, monkeypatch):
    monkeypatch.setenv("WS_PROXIES", wrong)

    with pytest.raises(SettingsError, match="WS_PROXIES"):
        ServeSettings.read()


def test_a_ray_without_our_command_is_known(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_SERVE_HAPROXY_BINARY_PATH", raising=False)
    assert not runs_our_command()
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "/opt/bin/purple-sector-haproxy")
    assert runs_our_command()
    monkeypatch.setenv("RAY_SERVE_HAPROXY_CONFIG_FILE_LOC", str(tmp_path / "haproxy.cfg"))
    assert haproxy_home() == tmp_path
