"""Fetches the public keys of an OpenID Connect issuer, in a thread of its own.

The rule: the event loop never waits for the issuer. While that does not answer, the last good keys
are valid. A token with an unknown key makes the thread look again, at most twice a minute.
"""

import json
import threading
import time
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, build_opener

import jwt
import structlog

from ingest.settings import is_loopback
from serve.bridge.access.tokens import FAMILIES, SigningKey

log = structlog.get_logger()

_AT_LEAST_S = 30.0
_REFRESH_S = 600.0
_WITHIN_S = 10.0
_ONE_READ_S = 5.0
_MAX_BYTES = 512 * 1024
_PIECE_BYTES = 64 * 1024
_MIN_RSA_BITS = 2048


class IssuerFault(Exception):
    """The issuer gave no usable answer. The sentence has no text of the answer."""


class _NoRedirects(HTTPRedirectHandler):
    """Makes a redirect an error: the place of keys is what the issuer's document names."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return nothing, so that the redirect is not followed."""


def fetch_keys(issuer: str, family: str) -> dict[str, SigningKey]:
    """Return the issuer's keys of one family by their ids. Raises IssuerFault."""
    place = f"{issuer.removesuffix('/')}/.well-known/openid-configuration"
    found = _fetch(place)
    if found.get("issuer") != issuer:
        raise IssuerFault("its document is of another issuer")
    keys = keys_in(_fetch(str(found.get("jwks_uri"))), family)
    if not keys:
        raise IssuerFault(f"it has no {family} key")
    return keys


def keys_in(key_set: Mapping[str, Any], family: str) -> dict[str, SigningKey]:
    """Return the usable keys of a JSON Web Key Set by their ids. Others are left out."""
    listed = key_set.get("keys")
    keys = {}
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and (key := _usable(one, family)) is not None:
            keys[one["kid"]] = key
    return keys


def _usable(one: dict[str, Any], family: str) -> SigningKey | None:
    kind, algorithms = FAMILIES[family]
    algorithm = one.get("alg") or ""
    if (
        one.get("kty") != kind
        or one.get("use", "sig") != "sig"
        or not (algorithm == "" or algorithm in algorithms)
        or not isinstance(one.get("kid"), str)
    ):
        return None
    try:
        key = jwt.PyJWK(one, algorithm=algorithm or None if kind == "RSA" else None).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if kind == "RSA" and key.key_size < _MIN_RSA_BITS:
        return None
    return SigningKey(key, algorithm)


def _fetch(url: str) -> dict[str, Any]:
    """Return the JSON object at an address. Raises IssuerFault."""
    local = _is_local(url)
    try:
        with _opener(local=local).open(url, timeout=_ONE_READ_S) as answer:
            document = json.loads(_read(answer))
    except (OSError, HTTPException, ValueError, RecursionError) as failure:
        raise IssuerFault(type(failure).__name__) from None
    if not isinstance(document, dict):
        raise IssuerFault("its document is no JSON object")
    return document


def _is_local(url: str) -> bool:
    """Return whether only this machine serves the address. Raises IssuerFault without https."""
    try:
        parts = urlsplit(url)
        local = is_loopback(parts.hostname or "")
    except ValueError:
        raise IssuerFault("it names an address that is none") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise IssuerFault("it names an address without https")
    return local


def _opener(*, local: bool) -> OpenerDirector:
    return build_opener(_NoRedirects, *([ProxyHandler({})] if local else []))


def _read(answer: Any) -> bytes:
    """Read an answer that is neither large nor slow. Raises OSError and ValueError."""
    deadline, read = time.monotonic() + _WITHIN_S, b""
    while piece := answer.read1(_PIECE_BYTES):
        read += piece
        if len(read) > _MAX_BYTES:
            raise ValueError("too large")
        if time.monotonic() > deadline:
            raise TimeoutError
    return read


class SigningKeys:
    """Holds the issuer's keys. `find` never waits; the thread runs from `start` to `stop`."""

    def __init__(
        self,
        issuer: str,
        family: str,
        *,
        at_least_s: float = _AT_LEAST_S,
        refresh_s: float = _REFRESH_S,
    ) -> None:
        self._issuer, self._family = issuer, family
        self._at_least_s, self._refresh_s = at_least_s, refresh_s
        self._keys: dict[str, SigningKey] = {}
        self._wanted, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="signing keys", daemon=True)

    @property
    def available(self) -> bool:
        """Return whether the issuer has answered once."""
        return bool(self._keys)

    def find(self, key_id: str) -> SigningKey | None:
        """Return a key; None where it is unknown, which makes the thread look again."""
        key = self._keys.get(key_id)
        if key is None:
            self._wanted.set()
        return key

    def start(self) -> None:
        """Begin to fetch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it may be in the middle of an answer, which it gives up itself."""
        self._stopping.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(_WITHIN_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._refresh()
            self._wanted.clear()
            if not self._stopping.wait(self._at_least_s if self._keys else self._soon_s):
                self._wanted.wait(self._refresh_s if self._keys else 0.0)

    @property
    def _soon_s(self) -> float:
        return min(2.0, self._at_least_s)  # nobody can log in before the first answer

    def _refresh(self) -> None:
        try:
            self._keys = fetch_keys(self._issuer, self._family)
        except IssuerFault as fault:
            log.warning("issuer_unavailable", issuer=self._issuer, problem=str(fault))
