"""Compares the certificate that the page serves with its files, for `purple-sector status`."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from analytics.store.instance import Instance
from ingest.settings import ServeSettings
from serve.bridge.front.certificates import CertificateFault, read_key_pair
from serve.bridge.front.front import address_of

_WITHIN_S = 3.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def page_lines(serve: ServeSettings, running: Instance | None) -> tuple[str, ...]:
    """Return lines about the certificate of a page with TLS.

    ``running`` is the system of this machine, whose settings win over those of the environment.
    """
    page, certificate, key = address_of(serve), serve.tls_certificate, serve.tls_key
    if running is not None:
        page, certificate, key = running.page, running.tls_certificate, running.tls_key
    served = _served(page)
    if served is None:
        return (f"{page} does not answer",)
    until = f"{page} with a certificate until {served.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    return until, *_differences(served, Path(certificate), Path(key))


def _served(page: str) -> x509.Certificate | None:
    parts = urlsplit(page)
    host = parts.hostname or ""
    address = (_EVERYWHERE.get(host, host), parts.port or 443)
    try:
        pem = ssl.get_server_certificate(address, timeout=_WITHIN_S)
    except OSError:
        return None
    return x509.load_pem_x509_certificate(pem.encode())


def _differences(served: x509.Certificate, certificate: Path, key: Path) -> list[str]:
    try:
        pair = read_key_pair(certificate, key, datetime.now(UTC))
    except CertificateFault as fault:
        path = certificate if fault.setting.endswith("CERTIFICATE") else key
        return [f"{fault.setting}={path}: {fault}; the page keeps the last good one"]
    own = x509.load_pem_x509_certificate(pair.pem)
    return [] if own == served else ["the files hold another certificate than the page serves"]
