"""Prepares HAProxy for the page's settings, and keeps its certificate new while it runs.

`Front.start` has to come before Ray Serve starts HAProxy on this machine.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from ingest.errors import SettingsError
from ingest.settings import ServeSettings, is_loopback
from serve.bridge.front.certificate_watch import CertificateFiles, CertificateWatch
from serve.bridge.front.certificates import CERTIFICATE, KEY, CertificateFault, key_pair
from serve.bridge.front.haproxy_config import COMMAND, RULES, RULES_FILE
from serve.bridge.front.headers import headers_of

log = structlog.get_logger()

PEM_FILE = "page.pem"
# Ray's defaults.
_RAYS_FILE = "/tmp/haproxy-serve/haproxy.cfg"
_RAYS_CONNECTIONS = "4096"
_ADDRESSES_SHARE = 4  # an address may have a quarter of the connections


def haproxy_home() -> Path:
    """Return the folder in which the Ray of this process has the files of its HAProxy."""
    return Path(os.environ.get("RAY_SERVE_HAPROXY_CONFIG_FILE_LOC", _RAYS_FILE)).parent


def most_connections() -> int:
    """Return how many connections the HAProxy of this process's Ray may have."""
    return int(os.environ.get("RAY_SERVE_HAPROXY_MAXCONN", _RAYS_CONNECTIONS))


def runs_our_command() -> bool:
    """Return whether the Ray of this process runs HAProxy by our command, and so by our rules."""
    return Path(os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH", "")).name == COMMAND


def address_of(serve: ServeSettings) -> str:
    """Return the address of the page."""
    host = f"[{serve.host}]" if ":" in serve.host else serve.host
    return f"{'https' if serve.tls_certificate else 'http'}://{host}:{serve.port}/"


def warning_of(serve: ServeSettings) -> str:
    """Return what to know about an open page without TLS; nothing where there is nothing."""
    if is_loopback(serve.host) or serve.tls_certificate or serve.proxies:
        return ""
    return (
        "the page is open without TLS, so that keys, tokens and data can be read on the way: set"
        f" {CERTIFICATE} and {KEY}, or WS_PROXIES behind a proxy with TLS (docs/network.md)"
    )


def front_rules(
    serve: ServeSettings, *, connections: int, host: str = "", pem: str = ""
) -> dict[str, Any]:
    """Return what `haproxy_config.edited` takes. Pure. ``connections``: of all addresses."""
    proxies = [one.strip() for one in serve.proxies.split(",") if one.strip()]
    return {
        "host": "*" if host == "0.0.0.0" else host,
        "pem": pem,
        "idle_s": serve.idle_s,
        "connections": serve.connections_per_address or max(1, connections // _ADDRESSES_SHARE),
        "connections_per_s": serve.connections_per_s,
        "exempt": [*RULES["exempt"], *proxies],
        "headers": headers_of(serve),
    }


class Front:
    """The settings of what stands before the page, for all the Rays that one command starts.

    Making one reads the certificate, and raises SettingsError where it cannot serve.
    """

    def __init__(self, serve: ServeSettings) -> None:
        self._serve = serve
        self._files = _files(serve)
        self._watch: CertificateWatch | None = None

    def check(self) -> None:
        """Read the certificate. Raises SettingsError where it cannot serve."""
        try:
            if self._files is not None:
                self._files.good()
        except CertificateFault as fault:
            path = self._serve.tls_key if fault.setting == KEY else self._serve.tls_certificate
            raise SettingsError(fault.setting, path, str(fault)) from None

    def start(self, home: Path, *, connections: int, host: str = "") -> None:
        """Write the files of HAProxy to ``home``, and watch the certificate.

        ``host`` is where HAProxy listens, where not at the address that Ray has.
        """
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        pem = home / PEM_FILE
        if self._files is not None:
            self._watch = CertificateWatch(self._files, home, pem)
            self._watch.start()
        rules = front_rules(
            self._serve, connections=connections, host=host, pem=str(pem) if self._files else ""
        )
        draft = home / f"{RULES_FILE}.draft"
        draft.write_text(json.dumps(rules))
        draft.replace(home / RULES_FILE)

    def restore(self, home: Path) -> None:
        """Take what was last good before this process, if it still is."""
        if self._files is not None:
            try:
                pem = (home / PEM_FILE).read_bytes()
                self._files.keep(key_pair(pem, pem, datetime.now(UTC)))
            except (OSError, CertificateFault) as problem:
                log.warning("certificate_not_restored", problem=str(problem))

    def stop(self) -> None:
        """End the watch."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None


def _files(serve: ServeSettings) -> CertificateFiles | None:
    given = {CERTIFICATE: serve.tls_certificate, KEY: serve.tls_key}
    lacking = [name for name, path in given.items() if not path]
    if len(lacking) == 1:
        raise SettingsError(lacking[0], "", "TLS wants both a certificate and its key")
    return None if lacking else CertificateFiles(*map(Path, given.values()))
