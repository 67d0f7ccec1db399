"""Bad tokens are refused by our own checks, each with its code, and only then by a library."""

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from serve.bridge.access.callers import Caller, NotAuthenticated, Role
from serve.bridge.access.signing_keys import keys_in
from serve.bridge.access.tokens import SigningKey, TokenRules, caller_of, key_id_of

NOW = 1_800_000_000
RULES = TokenRules("https://id.example", "purple-sector")
CLAIMS: dict[str, Any] = {
    "iss": RULES.issuer,
    "aud": RULES.audience,
    "sub": "ann",
    "exp": NOW + 60,
    "role": "driver",
}
GONE = object()
INF = float("inf")


@cache
def private(kind: str) -> Any:
    """One key of each kind for all tests of a process."""
    made = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "other": lambda: rsa.generate_private_key(65537, 2048),
        "small": lambda: rsa.generate_private_key(65537, 1024),
        "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ed": lambda: ed25519.Ed25519PrivateKey.generate(),
    }
    return made[kind]()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(header: dict[str, Any] | None = None, *, key: str = "rsa", **claims: Any) -> str:
    """A good token, but for what is given."""
    merged = {n: v for n, v in (CLAIMS | claims).items() if v is not GONE}
    return signed(json.dumps(merged).encode(), header or {}, key)


def signed(payload: bytes, header: dict[str, Any], key: str = "rsa") -> str:
    whole = {"alg": "RS256", "typ": "JWT", "kid": "one"} | header
    whole = {n: v for n, v in whole.items() if v is not GONE}
    begin = f"{b64(json.dumps(whole).encode())}.{b64(payload)}"
    algorithm = whole.get("alg")
    method = jwt.get_algorithm_by_name(
        algorithm if algorithm in ("ES256", "EdDSA", "PS256", "RS512") else "RS256"
    )
    return f"{begin}.{b64(method.sign(begin.encode(), private(key)))}"


def with_hmac(header: dict[str, Any]) -> str:
    """Algorithm confusion: the public key, which everybody has, as the secret of an HMAC."""
    public = (
        private("rsa")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    begin = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(CLAIMS).encode())}"
    return f"{begin}.{b64(hmac.digest(public, begin.encode(), hashlib.sha256))}"


def judged(given_: str, rules: TokenRules = RULES, key: SigningKey | None = None) -> Caller:
    key_id_of(given_, rules)
    return caller_of(given_, rules, key or SigningKey(private("rsa").public_key()), NOW)


def refusal(given_: str, rules: TokenRules = RULES, key: SigningKey | None = None) -> str:
    with pytest.raises(NotAuthenticated) as refused:
        judged(given_, rules, key)
    assert refused.value.__cause__ is None
    return refused.value.reason.value


def test_good_token_proves_name_role_and_end() -> None:
    assert judged(token()) == Caller("ann", Role.DRIVER, NOW + 90.0)


HEADERS: list[tuple[dict[str, Any], str]] = [
    ({"alg": "none"}, "wrong_algorithm"),
    ({"alg": "None"}, "wrong_algorithm"),
    ({"alg": "nOnE"}, "wrong_algorithm"),
    ({"alg": ""}, "wrong_algorithm"),
    ({"alg": GONE}, "wrong_algorithm"),
    ({"alg": 1}, "wrong_algorithm"),
    ({"alg": ["RS256"]}, "wrong_algorithm"),
    ({"alg": "HS256"}, "wrong_algorithm"),
    ({"alg": "ES256"}, "wrong_algorithm"),
    ({"alg": "PS256"}, "wrong_algorithm"),
    ({"alg": "rs256"}, "wrong_algorithm"),
    ({"typ": "logout+jwt"}, "wrong_type"),
    ({"typ": "JWE"}, "wrong_type"),
    ({"typ": 1}, "wrong_type"),
    ({"crit": ["exp"]}, "malformed"),
    ({"crit": []}, "malformed"),
    ({"b64": False, "crit": ["b64"]}, "malformed"),
    ({"b64": True}, "malformed"),
    ({"kid": GONE}, "unknown_signing_key"),
    ({"kid": ""}, "unknown_signing_key"),
]


@pytest.mark.parametrize(("header", "reason"), HEADERS)
def test_header_is_checked_before_a_key_is_used(header: dict[str, Any], reason: str) -> None:
    key = "ec" if header.get("alg") == "ES256" else "rsa"
    assert refusal(token(header, key=key)) == reason


@pytest.mark.parametrize("kid", [1, None, ["one"], {"a": 1}])
def test_key_id_that_is_no_text_is_refused(kid: object) -> None:
    assert refusal(token({"kid": kid})) in {"malformed", "unknown_signing_key"}


CLAIM_CASES: list[tuple[dict[str, Any], str]] = [
    *(({name: GONE}, "missing_claim") for name in ("exp", "iss", "aud", "sub")),
    *(({name: None}, "missing_claim") for name in ("exp", "iss", "aud", "sub")),
    ({"iss": "https://id.example/"}, "wrong_issuer"),
    ({"iss": "https://ID.example"}, "wrong_issuer"),
    ({"iss": "https://id.example.evil.example"}, "wrong_issuer"),
    ({"iss": ["https://id.example"]}, "wrong_issuer"),
    ({"aud": "purple-sector2"}, "wrong_audience"),
    ({"aud": "purple"}, "wrong_audience"),
    ({"aud": []}, "wrong_audience"),
    ({"aud": ["other"]}, "wrong_audience"),
    ({"aud": ["purple-sector", 1]}, "bad_claim"),
    ({"aud": {"purple-sector": 1}}, "bad_claim"),
    ({"exp": NOW - 30}, "expired"),
    ({"exp": NOW - 31}, "expired"),
    ({"exp": 0}, "expired"),
    ({"exp": -(2**40)}, "expired"),
    ({"exp": str(NOW + 60)}, "bad_claim"),
    ({"exp": True}, "bad_claim"),
    ({"exp": 1e308}, "bad_claim"),
    ({"exp": 10**400}, "bad_claim"),
    ({"exp": INF}, "bad_claim"),
    ({"exp": float("nan")}, "bad_claim"),
    ({"exp": [NOW + 60]}, "bad_claim"),
    ({"nbf": NOW + 31}, "not_yet_valid"),
    ({"nbf": str(NOW)}, "bad_claim"),
    ({"iat": NOW + 31}, "not_yet_valid"),
    ({"iat": False}, "bad_claim"),
    ({"sub": ""}, "bad_claim"),
    ({"sub": 7}, "bad_claim"),
    ({"sub": ["ann"]}, "bad_claim"),
    ({"sub": "a" * 201}, "bad_claim"),
    ({"sub": "ann\n"}, "bad_claim"),
    ({"sub": "ann\0"}, "bad_claim"),
    ({"sub": "\u202eann"}, "bad_claim"),
    ({"role": GONE}, "no_role"),
    ({"role": "root"}, "no_role"),
    ({"role": "guest"}, "no_role"),
    ({"role": "Operator"}, "no_role"),
    ({"role": []}, "no_role"),
    ({"role": {"operator": True}}, "no_role"),
    ({"role": [["operator"]]}, "no_role"),
    ({"role": True}, "no_role"),
]


@pytest.mark.parametrize(("claims", "reason"), CLAIM_CASES)
def test_claims_are_refused_with_their_code(claims: dict[str, Any], reason: str) -> None:
    assert refusal(token(**claims)) == reason


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - 29},
        {"exp": NOW + 60.5},
        {"nbf": NOW + 30, "iat": NOW + 30},
        {"aud": ["other", "purple-sector"]},
        {"role": ["guest", "driver", "viewer"]},
    ],
)
def test_clocks_may_differ_by_half_a_minute(claims: dict[str, Any]) -> None:
    assert judged(token(**claims)).role is Role.DRIVER


def spoiled() -> list[tuple[str, str]]:
    good = token()
    head, body, signature = good.split(".")
    other = token(sub="bea").split(".")[1]
    return [
        ("", "missing"),
        ("a", "malformed"),
        ("a.b", "malformed"),
        ("..", "malformed"),
        (f"{head}.{body}", "malformed"),
        (f"{head}.{body}.", "bad_signature"),
        (f"{good}.x", "malformed"),
        (f"{head}.{other}.{signature}", "bad_signature"),
        (f"{head}.{body}.{'AB'[signature[0] == 'A']}{signature[1:]}", "bad_signature"),
        (token(key="other"), "bad_signature"),
        (f"{good}é", "malformed"),
        (f"{good}{' ' * 8192}", "too_long"),
        (token(padding="x" * 8192), "too_long"),
        (f"{b64(b'[]')}.{body}.{signature}", "malformed"),
        (f"{b64(b'[' * 4000)}.{body}.{signature}", "malformed"),
        (f"{b64(bytes([255, 254]))}.{body}.{signature}", "malformed"),
        (signed(b"[]", {}), "malformed"),
        (signed(b"", {}), "malformed"),
        (signed(b"[" * 4000, {}), "malformed"),
        (signed(b"\xff\xfe", {}), "malformed"),
        (signed(json.dumps(CLAIMS).encode()[:-1] + b',"sub":"bea"}', {}), "malformed"),
        (with_hmac({"alg": "HS256", "typ": "JWT", "kid": "one"}), "wrong_algorithm"),
        (with_hmac({"alg": "RS256", "typ": "JWT", "kid": "one"}), "bad_signature"),
    ]


@pytest.mark.parametrize("which", range(23))
def test_spoiled_token_is_refused_with_its_code(which: int) -> None:
    cases = spoiled()
    assert len(cases) == 23
    assert refusal(cases[which][0]) == cases[which][1]


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_token_does_not_bring_its_key(name: str) -> None:
    mine = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private("other").public_key()))
    brought = mine if name == "jwk" else "https://evil.example/keys"
    assert refusal(token({name: brought}, key="other")) == "bad_signature"


def test_key_is_for_its_algorithm_and_its_family() -> None:
    fixed = SigningKey(private("rsa").public_key(), "RS256")
    assert judged(token(), key=fixed).name == "ann"
    assert refusal(token({"alg": "RS512"}), key=fixed) == "wrong_algorithm"
    for family, kind, algorithm in (("ES", "ec", "ES256"), ("EdDSA", "ed", "EdDSA")):
        rules = TokenRules(RULES.issuer, RULES.audience, family)
        key = SigningKey(private(kind).public_key())
        assert judged(token({"alg": algorithm}, key=kind), rules, key).name == "ann"
        assert refusal(token(), rules, key) == "wrong_algorithm"


def test_name_and_role_come_from_the_claims_that_are_set() -> None:
    rules = TokenRules(
        RULES.issuer,
        RULES.audience,
        name_claim="preferred_username",
        role_claim="realm_access.roles",
    )
    given_ = token(preferred_username="bea", realm_access={"roles": ["engineer", "x"]})
    assert judged(given_, rules) == Caller("bea", Role.ENGINEER, NOW + 90.0)
    assert refusal(token(), rules) == "missing_claim"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(claims=st.dictionaries(st.sampled_from([*CLAIMS, "nbf", "iat"]), JSON, max_size=3))
def test_claims_of_any_type_are_good_or_refused(claims: dict[str, Any]) -> None:
    try:
        caller = judged(token(**claims))
    except NotAuthenticated:
        return
    assert caller.name == claims.get("sub", "ann")
    assert not caller.expired(NOW)


@given(
    text=st.text(max_size=60) | st.binary(max_size=60).map(lambda b: f"{b64(b)}.{b64(b)}.{b64(b)}")
)
def test_any_text_is_refused_and_breaks_nothing(text: str) -> None:
    refusal(text)


def key_of(kind: str, **more: Any) -> dict[str, Any]:
    made = jwt.algorithms.RSAAlgorithm if kind != "ec" else jwt.algorithms.ECAlgorithm
    return json.loads(made.to_jwk(private(kind).public_key())) | {"kid": kind} | more


@pytest.mark.parametrize(
    "unusable",
    [
        key_of("ec"),
        key_of("small"),
        key_of("rsa", use="enc"),
        key_of("rsa", alg="HS256"),
        key_of("rsa", alg="PS256"),
        key_of("rsa", kid=1),
        key_of("rsa", n="!"),
        key_of("rsa", n=None),
        {"kty": "oct", "kid": "x", "k": "AAAA"},
        {"kty": "RSA", "kid": "x"},
        {},
        [],
        "x",
        None,
    ],
    ids=range(14),
)
def test_key_set_gives_its_usable_keys_only(unusable: object) -> None:
    found = keys_in({"keys": [unusable, key_of("other", alg="RS256")]}, "RS")
    assert [(key_id, key.algorithm) for key_id, key in found.items()] == [("other", "RS256")]


@pytest.mark.parametrize("key_set", [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}])
def test_odd_key_set_has_no_keys(key_set: dict[str, Any]) -> None:
    assert keys_in(key_set, "RS") == {}
