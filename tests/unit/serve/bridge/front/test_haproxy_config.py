"""HAProxy's configuration as Ray writes it, and what we make of it."""

import subprocess
import sys

import pytest

from serve.bridge.front import haproxy_config
from serve.bridge.front.haproxy_config import edited

# In Ray's form, with what matters here.
RAYS = """\
global
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 3600s
    retry-on conn-failure
frontend prometheus
    bind :9101
frontend http_frontend
    bind *:8000
    use_backend http-page if is_http-page
backend http-page
    timeout client 7s
listen stats
  bind *:8404
"""
RULES = {"connections": 100, "connections_per_s": 5, "idle_s": 3}


def lines(config):
    return [line.strip() for line in config.splitlines()]


def test_statistics_and_metrics_are_on_the_loopback_and_the_page_is_where_it_was():
    binds = [line for line in lines(edited(RAYS, {})) if line.startswith("bind")]

    assert binds == ["bind 127.0.0.1:9101", "bind *:8000", "bind 127.0.0.1:8404"]


@pytest.mark.parametrize(
    ("host", "bind"), [("192.0.2.7", "bind 192.0.2.7:8000"), ("::1", "bind ::1:8000")]
)
def test_the_page_is_bound_where_the_rules_want_it(host, bind):
    assert bind in lines(edited(RAYS, {"host": host}))


def test_tls_is_on_the_pages_port_alone():
    with_tls = [one for one in lines(edited(RAYS, {"pem": "/a b/page.pem"})) if " ssl " in one]

    (bind,) = with_tls
    assert bind.startswith('bind *:8000 ssl crt "/a b/page.pem" alpn http/1.1')
    assert "ssl-min-ver TLSv1.2" in bind
    assert "no-tls-tickets" in bind
    assert "CBC" not in bind


def test_without_rules_there_is_a_time_for_a_head_and_the_clients_address():
    found = lines(edited(RAYS, {}))

    assert "option forwardfor" in found
    assert "timeout http-request 10s" in found


def test_times_replace_those_of_the_defaults_alone():
    found = lines(edited(RAYS, RULES))

    assert [one for one in found if one.startswith("timeout")] == [
        "timeout client 3s",
        "timeout http-request 3s",
        "timeout tunnel 3600s",
        "timeout connect 5s",
        "timeout client 7s",
    ]


def test_an_address_has_caps_which_those_named_do_not_have():
    found = lines(edited(RAYS, RULES | {"exempt": ["127.0.0.1", "10.0.0.0/8"]}))

    assert "acl exempt src 127.0.0.1 10.0.0.0/8" in found
    assert "tcp-request connection reject if !exempt { sc0_conn_cur gt 100 }" in found
    assert "tcp-request connection reject if !exempt { sc0_conn_rate gt 50 }" in found


def test_a_headers_value_is_text_whatever_is_in_it():
    found = lines(edited(RAYS, {"headers": {"x-a": """a 'b' "c" $d \\ 5%"""}}))

    assert (
        'http-after-response set-header x-a "a \'b\' \\"c\\" \\$d \\\\ 5%%"'
        " unless { res.hdr(x-a) -m found }"
    ) in found


def test_an_edited_configuration_is_left_alone():
    """Ray gives the same file to check and to run."""
    once = edited(RAYS, RULES)

    assert edited(once, RULES) == once


@pytest.mark.parametrize(
    "other",
    [
        RAYS.replace("frontend http_frontend", "frontend page"),
        RAYS.replace("bind *:8000", "bind *:8000 interface eth0"),
    ],
)
def test_a_configuration_of_another_form_is_refused(other):
    with pytest.raises(ValueError, match="http_frontend"):
        edited(other, RULES)


def ran(config):
    """HAProxy's stand-in prints the file that it is started with."""
    command = [sys.executable, "-I", "-S", haproxy_config.__file__, "/bin/cat", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_runs_haproxy_with_the_rules_beside_its_folder(tmp_path):
    config = tmp_path / "node" / "haproxy.cfg"
    config.parent.mkdir()
    config.write_text(RAYS)
    (tmp_path / "front.json").write_text('{"pem": "/page.pem"}')

    runs = [ran(config) for _ in range(2)]

    assert 'bind *:8000 ssl crt "/page.pem"' in runs[0].stdout
    assert runs[1].stdout == runs[0].stdout


@pytest.mark.parametrize("rules", ["{", '{"pem": "/page.pem"}'])
def test_haproxy_is_not_started_with_what_cannot_be_edited(tmp_path, rules):
    config = tmp_path / "node" / "haproxy.cfg"
    config.parent.mkdir()
    config.write_text("frontend other\n    bind *:8000\n")
    (tmp_path / "front.json").write_text(rules)

    run = ran(config)

    assert run.returncode == 1
    assert run.stdout == ""
    assert "was not edited, so HAProxy is not started" in run.stderr
