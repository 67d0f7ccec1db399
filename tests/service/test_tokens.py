"""Tokens of an issuer on the loopback: its keys are fetched aside, and the last good ones kept."""

import asyncio
import time
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ingest.settings import ServeSettings
from serve.bridge.access import signing_keys
from serve.bridge.access.callers import Caller, NotAuthenticated, Role
from serve.bridge.access.signing_keys import IssuerFault, SigningKeys, fetch_keys
from serve.bridge.access.token_logins import TokenLogins
from serve.bridge.access.tokens import TokenRules
from tests.service.issuer import AUDIENCE, running_issuer
from tests.service.page import answer, asked, ended, running_page
from tests.waiting import wait_until


@pytest.fixture
def issuer():
    with running_issuer() as issuer:
        yield issuer


@contextmanager
def logins_of(issuer, **paces: float):
    keys = SigningKeys(issuer.url, "RS", **paces)
    logins = TokenLogins(TokenRules(issuer.url, AUDIENCE), keys)
    logins.start()
    try:
        yield logins
    finally:
        logins.stop()


def refusal(logins, token) -> str:
    with pytest.raises(NotAuthenticated) as refused:
        logins.authenticate(token, time.time())
    return refused.value.reason.value


def known(logins, token) -> bool:
    try:
        logins.authenticate(token, time.time())
    except NotAuthenticated:
        return False
    return True


def test_rotated_key_is_found_and_the_removed_one_is_forgotten(issuer):
    with logins_of(issuer, at_least_s=0.05) as logins:
        wait_until(lambda: known(logins, issuer.token()))
        issuer.keys = {"one": issuer.keys["one"], "two": rsa.generate_private_key(65537, 2048)}
        wait_until(lambda: known(logins, issuer.token("two")))
        assert known(logins, issuer.token())
        two = issuer.keys["two"]
        old, issuer.keys = issuer.token(), {"one": two, "two": two}
        wait_until(lambda: refusal(logins, issuer.token("three")) and not known(logins, old))


def test_last_good_keys_are_kept_while_the_issuer_is_down(issuer):
    with logins_of(issuer, at_least_s=0.05) as logins:
        wait_until(lambda: known(logins, issuer.token()))
        issuer.down = True
        before = len(issuer.requests)
        wait_until(
            lambda: refusal(logins, issuer.token("new")) and len(issuer.requests) > before + 2
        )
        assert known(logins, issuer.token())


def test_unknown_keys_make_it_look_again_once_in_a_while(issuer):
    with logins_of(issuer, at_least_s=3600.0) as logins:
        wait_until(lambda: known(logins, issuer.token()))
        reasons = {refusal(logins, issuer.token(f"k{n}")) for n in range(200)}
        assert reasons == {"unknown_signing_key"}
        assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]
    assert signing_keys._AT_LEAST_S >= 30.0


def test_nobody_comes_in_before_the_issuer_has_answered(issuer):
    issuer.down = True
    with logins_of(issuer, at_least_s=0.05) as logins:
        wait_until(lambda: len(issuer.requests) > 2)
        assert refusal(logins, issuer.token()) == "keys_unavailable"
        issuer.down = False
        wait_until(lambda: known(logins, issuer.token()))


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"issuer": "https://other.example"}, "another issuer"),
        ({"jwks_uri": "http://keys.example/"}, "without https"),
        ({"jwks_uri": "file:///etc/passwd"}, "without https"),
        ({"jwks_uri": "ftp://127.0.0.1/keys"}, "without https"),
        ({"jwks_uri": None}, "without https"),
        ({"jwks_uri": ["x"]}, "without https"),
        ({"jwks_uri": "http://[::1"}, "is none"),
    ],
)
def test_document_that_leads_astray_is_refused(issuer, document, problem):
    issuer.document = document
    with pytest.raises(IssuerFault, match=problem):
        fetch_keys(issuer.url, "RS")
    assert issuer.requests == ["/.well-known/openid-configuration"]


def test_redirect_is_not_followed(issuer):
    issuer.redirects = True
    with pytest.raises(IssuerFault):
        fetch_keys(issuer.url, "RS")
    assert issuer.requests == ["/.well-known/openid-configuration"]


def test_large_answer_is_given_up(issuer):
    issuer.document = {"padding": "x" * 600_000}
    with pytest.raises(IssuerFault):
        fetch_keys(issuer.url, "RS")


def test_token_brings_no_key_and_names_no_place(issuer):
    """Nothing is fetched from where a token points to."""
    with running_issuer() as evil, logins_of(issuer, at_least_s=3600.0) as logins:
        wait_until(lambda: known(logins, issuer.token()))
        for header in ({"jku": f"{evil.url}/keys"}, {"x5u": f"{evil.url}/keys"}):
            token = evil.token("one", header, iss=issuer.url)
            assert refusal(logins, token) == "bad_signature"
            assert refusal(logins, evil.token("evil", header)) == "unknown_signing_key"
        assert evil.requests == []


def test_page_takes_tokens_renews_them_in_place_and_ends_with_them(issuer, capfd):
    serve = ServeSettings(
        auth_mode="jwt",
        auth_issuer=issuer.url,
        auth_audience=AUDIENCE,
        auth_client_id="page",
    )
    with running_page(serve) as page:
        wait_until(lambda: page.get("/api/stats", issuer.token()).status_code == 403)
        policy = page.get("/").headers["content-security-policy"]
        assert f"connect-src 'self' {issuer.url};" in policy
        assert page.get("/api/login").json()["client_id"] == "page"
        stale = page.get("/api/sessions", issuer.token(exp=time.time() - 31))
        assert (stale.status_code, stale.json()["reason"]) == (401, "expired")
        almost_over = issuer.token(exp=time.time() - 27)

        async def watch():
            async with page.socket(almost_over) as one, page.socket(almost_over) as two:
                first = await answer(one)
                renewed = await asked(one, type="auth", token=issuer.token(role="engineer"))
                return first, renewed, await ended(two), await asked(one, type="ping")

        first, renewed, end, pong = asyncio.run(watch())

    logged = "".join(capfd.readouterr())
    assert "login_ended" in logged
    assert "expired" in logged
    assert [part for part in almost_over.split(".") if part in logged] == []
    assert (first["name"], first["role"]) == ("ann", "driver")
    assert renewed["role"] == "engineer"
    assert renewed["expiresAt"] > first["expiresAt"]
    assert end == (4401, "the login has ended")
    assert pong == {"type": "pong"}


def test_caller_of_a_token_ends_with_it(issuer):
    logins = TokenLogins(TokenRules(issuer.url, AUDIENCE))
    caller = Caller("ann", Role.DRIVER, 100.0)
    assert [logins.still_valid(caller, now_s) for now_s in (99.0, 100.0)] == [True, False]
