"""Checks a JSON Web Token: header, signature and claims, in this order.

Pure: the keys and the time are arguments. Sources: RFC 7519 and RFC 8725.
The rule: the token chooses nothing. Algorithms and keys are ours, and ``jku``, ``x5u`` and ``jwk``
in its header are not read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from serve.bridge.access.callers import (
    LOGIN_ROLES,
    Caller,
    NotAuthenticated,
    Refusal,
    Role,
)

#: The families of algorithms, with the type that their keys have in a JSON Web Key Set.
FAMILIES: Mapping[str, tuple[str, frozenset[str]]] = {
    "RS": ("RSA", frozenset({"RS256", "RS384", "RS512"})),
    "PS": ("RSA", frozenset({"PS256", "PS384", "PS512"})),
    "ES": ("EC", frozenset({"ES256", "ES384", "ES512"})),
    "EdDSA": ("OKP", frozenset({"EdDSA"})),
}
LEEWAY_S = 30.0
MAX_TOKEN_BYTES = 8 * 1024
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_LONGEST_NAME = 200
# Later times are no dates of this token's life; a float is exact up to here.
_LATEST_S = 2**53
_BY_RANK: list[Role] = list(LOGIN_ROLES)


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Holds what a token has to have. ``family`` is a key of `FAMILIES`."""

    issuer: str
    audience: str
    family: str = "RS"
    name_claim: str = "sub"
    role_claim: str = "role"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key of the issuer. An empty ``algorithm`` allows all of its family."""

    key: Any
    algorithm: str = ""


def key_id_of(token: str, rules: TokenRules) -> str:
    """Return the id of the key that a token claims to be signed with.

    Raises NotAuthenticated where the header is wrong.
    """
    return str(_header(token, rules)["kid"])


def caller_of(token: str, rules: TokenRules, key: SigningKey, now_s: float) -> Caller:
    """Return the caller whom this token proves, signed with this key; ``now_s`` since 1970.

    Raises NotAuthenticated.
    """
    algorithm = _header(token, rules)["alg"]
    if key.algorithm not in {"", algorithm}:
        raise NotAuthenticated(Refusal.WRONG_ALGORITHM)
    return _caller(_claims(_payload(token, key, algorithm)), rules, now_s)


def _header(token: str, rules: TokenRules) -> dict[str, Any]:
    if not token:
        raise NotAuthenticated(Refusal.MISSING)
    if len(token) > MAX_TOKEN_BYTES:
        raise NotAuthenticated(Refusal.TOO_LONG)
    if not token.isascii():
        raise NotAuthenticated(Refusal.MALFORMED)
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise NotAuthenticated(Refusal.MALFORMED) from None
    _check_header(header, FAMILIES[rules.family][1])
    return header


def _check_header(header: dict[str, Any], algorithms: frozenset[str]) -> None:
    algorithm, kind, kid = (header.get(name) for name in ("alg", "typ", "kid"))
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise NotAuthenticated(Refusal.WRONG_ALGORITHM)
    if kind is not None and not (isinstance(kind, str) and kind.lower() in _TYPES):
        raise NotAuthenticated(Refusal.WRONG_TYPE)
    if "crit" in header or "b64" in header:  # extensions that change what is signed
        raise NotAuthenticated(Refusal.MALFORMED)
    if not isinstance(kid, str) or not kid:
        raise NotAuthenticated(Refusal.UNKNOWN_SIGNING_KEY)


def _payload(token: str, key: SigningKey, algorithm: str) -> bytes:
    try:
        return bytes(jwt.PyJWS().decode(token, key.key, algorithms=[algorithm]))
    except jwt.InvalidSignatureError:
        raise NotAuthenticated(Refusal.BAD_SIGNATURE) from None
    except (jwt.PyJWTError, ValueError, TypeError):
        raise NotAuthenticated(Refusal.MALFORMED) from None


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise NotAuthenticated(Refusal.MALFORMED) from None
    if not isinstance(claims, dict):
        raise NotAuthenticated(Refusal.MALFORMED)
    return claims


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("repeated name")
    return found


def _caller(claims: dict[str, Any], rules: TokenRules, now_s: float) -> Caller:
    if any(claims.get(name) is None for name in ("exp", "iss", "aud", "sub", rules.name_claim)):
        raise NotAuthenticated(Refusal.MISSING_CLAIM)
    if claims["iss"] != rules.issuer:
        raise NotAuthenticated(Refusal.WRONG_ISSUER)
    _check_audience(claims["aud"], rules.audience)
    expires_at_s = _seconds(claims["exp"]) + LEEWAY_S
    if now_s >= expires_at_s:
        raise NotAuthenticated(Refusal.EXPIRED)
    starts = [_seconds(claims[name]) for name in ("nbf", "iat") if claims.get(name) is not None]
    if any(now_s < start - LEEWAY_S for start in starts):
        raise NotAuthenticated(Refusal.NOT_YET_VALID)
    _checked_name(claims["sub"])
    name, role = _checked_name(claims[rules.name_claim]), _role(claims, rules.role_claim)
    return Caller(name, role, expires_at_s)


def _check_audience(given: object, audience: str) -> None:
    audiences = given if isinstance(given, list) else [given]
    if not all(isinstance(one, str) for one in audiences):
        raise NotAuthenticated(Refusal.BAD_CLAIM)
    if audience not in audiences:
        raise NotAuthenticated(Refusal.WRONG_AUDIENCE)


def _seconds(value: object) -> float:
    """Return a time of a claim. A bool is an int for Python, and no time."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    # The comparison is false for NaN, and exact for whole numbers of any size.
    if not known or not -_LATEST_S < value < _LATEST_S:  # type: ignore[operator]
        raise NotAuthenticated(Refusal.BAD_CLAIM)
    return float(value)  # type: ignore[arg-type]


def _checked_name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME or not value.isprintable():
        raise NotAuthenticated(Refusal.BAD_CLAIM)
    return value


def _role(claims: dict[str, Any], path: str) -> Role:
    """Return the role with the most rights in a claim, which may lie in others: ``a.b``."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
    given = [one for one in (found if isinstance(found, list) else [found]) if one in _BY_RANK]
    if not given:
        raise NotAuthenticated(Refusal.NO_ROLE)
    return max(map(Role, given), key=_BY_RANK.index)
