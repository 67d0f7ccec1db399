"""Names the headers that limit what a browser does with the page."""

from ingest.settings import ServeSettings
from serve.bridge.access.logins import offer_of

_DAY_S = 86_400
_POLICY = (
    "default-src 'self'; img-src 'self' data:; connect-src 'self'{issuer}; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)


def security_headers(issuer_origin: str = "", hsts_days: int = 0) -> dict[str, str]:
    """Return the headers of every answer by their names, in lower case."""
    headers = {
        "content-security-policy": _POLICY.format(issuer=f" {issuer_origin}".rstrip()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    if hsts_days:
        headers["strict-transport-security"] = f"max-age={hsts_days * _DAY_S}"
    return headers


def headers_of(serve: ServeSettings) -> dict[str, str]:
    """Return the headers that the settings choose. HSTS is for a page that viewers reach by TLS."""
    by_tls = bool(serve.tls_certificate or serve.proxies)
    return security_headers(offer_of(serve).issuer_origin, serve.hsts_days if by_tls else 0)
