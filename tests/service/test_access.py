"""Logins as a page demands them: each caller sees its own, and others' sessions do not exist."""

import asyncio
import json
from contextlib import AsyncExitStack

import psycopg
import pytest

from ingest.settings import ServeSettings
from serve.bridge.access.admission import Admission, AdmissionLimits
from serve.bridge.access.callers import Role
from serve.bridge.access.key_file import change_keys
from serve.bridge.access.keys import entry_of, new_key
from serve.bridge.live import socket_login
from tests.conftest import fresh_database
from tests.service.page import answer, asked, ended, running_page
from tests.waiting import WITHIN_S

CALLERS = {"ann": Role.DRIVER, "bea": Role.DRIVER, "eve": Role.ENGINEER, "vic": Role.VIEWER}
OF_A_SESSION = ("", "/laps", "/laps/1", "/seconds", "/lap-summaries")
LIMITS = AdmissionLimits(handshakes_per_s=1000.0, sockets_per_caller=3, subscriptions=3)


@pytest.fixture(scope="module")
def keys():
    return {name: new_key() for name in CALLERS}


@pytest.fixture
def file(keys, key_file):
    """The file as it was, whatever the test before did to it."""
    change_keys(key_file, lambda _: [entry_of(n, CALLERS[n], key) for n, key in keys.items()])
    return key_file


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    return tmp_path_factory.mktemp("access") / "keys"


@pytest.fixture(scope="module")
def stored(postgresql_server):
    """A store with a session of each driver, and one of nobody."""
    with fresh_database(postgresql_server) as database:
        with psycopg.connect(database.url, autocommit=True) as conn:
            conn.execute(
                "INSERT INTO sessions (key, user_id, topic, partition, started_at, last_frame_at)"
                " SELECT key, owner, 'telemetry', 0, '2026-01-01 10:00Z', '2026-01-01 10:01Z'"
                "   FROM (VALUES ('of-ann', 'ann'), ('of-bea', 'bea'), ('of-nobody', ''))"
                "     AS s (key, owner)"
            )
        yield database.url


@pytest.fixture(scope="module")
def served(stored, key_file):
    serve = ServeSettings(auth_mode="keys", auth_keys_file=str(key_file))
    with running_page(serve, database_url=stored, limits=LIMITS) as page:
        yield page


@pytest.fixture
def page(served, file):
    return served


DATA = [
    "/api/sessions",
    *(f"/api/sessions/of-ann{what}" for what in OF_A_SESSION),
    "/api/stats",
]


@pytest.mark.parametrize("path", DATA)
def test_data_needs_a_login(page, path):
    none, wrong = page.get(path), page.get(path, "nobody's")
    basic = page.get(path, authorization="Basic YW5uOmFubg==")

    assert [a.status_code for a in (none, wrong, basic)] == [401] * 3
    assert [a.json()["reason"] for a in (none, wrong, basic)] == [
        "missing",
        "unknown_key",
        "missing",
    ]
    assert none.headers["www-authenticate"] == "Bearer"


def test_every_route_of_the_page_is_open_on_purpose_or_needs_a_login(page):
    """A route that somebody adds without a login is found here."""
    paths = [p.replace("{key}", "of-ann").replace("{lap_number}", "1") for p in routes(page)]
    opened = [path for path in paths if page.get(path).status_code != 401]
    assert sorted(opened) == ["/api/axes", "/api/health", "/api/login"]


def routes(page):
    return [path for path in page.app.openapi()["paths"] if path.startswith("/api/")]


def test_answers_with_data_are_kept_in_no_cache(page, keys):
    for path in DATA:
        assert page.get(path, keys["eve"]).headers["cache-control"] == "no-store"
    assert "cache-control" not in page.get("/").headers


def test_what_is_open_shows_no_data(page):
    assert page.get("/").status_code == 200
    assert page.get("/api/login").json() == {
        "mode": "keys",
        "issuer": "",
        "client_id": "",
        "audience": "",
    }
    assert page.get("/api/health").json() == {"status": "unavailable"}


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("ann", ["of-ann"]),
        ("bea", ["of-bea"]),
        ("vic", []),
        ("eve", ["of-ann", "of-bea", "of-nobody"]),
    ],
)
def test_caller_finds_the_sessions_that_it_may_read(page, keys, name, listed):
    for query in ("", "?search=of-"):
        found = page.get(f"/api/sessions{query}", keys[name]).json()["sessions"]
        assert sorted(one["key"] for one in found) == listed


@pytest.mark.parametrize("what", OF_A_SESSION)
@pytest.mark.parametrize("foreign", ["of-bea", "of-nobody"])
def test_foreign_and_missing_sessions_get_the_same_answer(page, keys, foreign, what):
    theirs = page.get(f"/api/sessions/{foreign}{what}", keys["ann"])
    missing = page.get(f"/api/sessions/missing{what}", keys["ann"])

    assert theirs.status_code == missing.status_code == 404
    assert theirs.text.replace(foreign, "missing") == missing.text
    assert page.get(f"/api/sessions/of-ann{what}", keys["ann"]).text != missing.text


@pytest.mark.parametrize(("name", "status"), [("ann", 403), ("vic", 403), ("eve", 200)])
def test_statistics_are_for_engineers(page, keys, name, status):
    assert page.get("/api/stats", keys[name]).status_code == status


def test_frames_go_to_those_who_may_read_them(page, keys):
    async def watch():
        query = "?session=live-ann&session=live-bea&userId=bea"
        async with AsyncExitStack() as open_:
            sockets = [
                await open_.enter_async_context(page.socket(keys[n], query)) for n in CALLERS
            ]
            for socket in sockets:
                await answer(socket)
            page.deliver("live-ann", "ann", 1.0)
            page.deliver("live-bea", "bea", 2.0)
            page.deliver("live-ann", "ann", 3.0)
            seen = {}
            for name, socket in zip(CALLERS, sockets, strict=True):
                await socket.send('{"type": "ping"}')
                seen[name] = await until_pong(socket)
            return seen

    seen = asyncio.run(watch())
    assert seen == {"ann": 2, "bea": 1, "eve": 3, "vic": 0}


async def until_pong(socket):
    """How many frames come before the answer to a ping, which is sent behind them."""
    count = 0
    async with asyncio.timeout(WITHIN_S):
        while isinstance(raw := await socket.recv(), bytes):
            count += 1
    assert json.loads(raw) == {"type": "pong"}
    return count


def test_foreign_and_missing_live_sessions_get_the_same_reply(page, keys):
    async def watch():
        page.deliver("live-bea", "bea", 1.0)
        async with page.socket(keys["ann"]) as socket:
            await answer(socket)
            return [
                await asked(socket, type="subscribe", session=key) for key in ("live-bea", "none")
            ]

    theirs, missing = asyncio.run(watch())
    assert theirs | {"session": "none"} == missing == {"type": "subscribed", "session": "none"}


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ('{"type": "auth", "token": "nobody\'s"}', "unknown_key"),
        ('{"type": "auth", "token": ""}', "missing"),
        ('{"type": "auth"}', "missing"),
        ('{"type": "auth", "token": {"key": 1}}', "missing"),
        ('{"type": "subscribe", "session": "live-ann"}', "missing"),
        ("nonsense", "missing"),
        (b"\x00", "missing"),
    ],
)
def test_socket_without_a_login_is_closed_with_its_code(page, first, reason):
    async def watch():
        async with page.socket(query="?session=live-ann") as socket:
            await socket.send(first)
            return await ended(socket)

    assert asyncio.run(watch()) == (4401, f"the login is refused: {reason}")


def test_silent_socket_is_closed_and_a_key_in_the_address_is_no_login(page, keys, monkeypatch):
    monkeypatch.setattr(socket_login, "LOGIN_WITHIN_S", 0.3)

    async def watch():
        async with page.socket(query=f"?token={keys['ann']}&session=live-ann") as socket:
            return await ended(socket)

    assert asyncio.run(watch()) == (4401, "the login is refused: missing")


def test_removed_key_closes_its_sockets_and_no_other(page, file, keys):
    async def watch():
        async with page.socket(keys["ann"]) as ann, page.socket(keys["eve"]) as eve:
            await answer(ann)
            await answer(eve)
            change_keys(file, lambda entries: [e for e in entries if e.name != "ann"])
            return await ended(ann), await asked(eve, type="ping")

    assert asyncio.run(watch()) == ((4401, "the login has ended"), {"type": "pong"})
    assert page.get("/api/sessions", keys["ann"]).status_code == 401


def test_login_is_renewed_in_place_and_keeps_its_name(page, keys):
    async def watch():
        async with page.socket(keys["ann"]) as socket:
            replies = [await answer(socket)]
            for token in (keys["ann"], keys["eve"], "nobody's"):
                replies.append(await asked(socket, type="auth", token=token))
            return [*replies, await asked(socket, type="ping")]

    first, again, other, wrong, pong = asyncio.run(watch())
    assert first == again
    assert first == {"type": "authenticated", "name": "ann", "role": "driver", "expiresAt": None}
    assert "a socket keeps its name" in other["error"]
    assert wrong["error"] == "the login is refused: unknown_key"
    assert pong == {"type": "pong"}


def test_name_has_so_many_sockets_and_takes_none_from_another(page, keys):
    async def watch():
        async with AsyncExitStack() as open_:
            for _ in range(LIMITS.sockets_per_caller):
                await answer(await open_.enter_async_context(page.socket(keys["ann"])))
            async with page.socket(keys["ann"]) as one_more, page.socket(keys["bea"]) as other:
                return await ended(one_more), await answer(other)

    (code, reason), reply = asyncio.run(watch())
    assert (code, reason) == (4032, "too many sockets of this name")
    assert reply["name"] == "bea"


def test_socket_has_so_many_subscriptions_by_message_and_in_the_address(page, keys):
    async def watch():
        async with page.socket(keys["ann"], "?session=a&session=b") as socket:
            replies = [await answer(socket)]
            for key in ("c", "d", "c"):
                replies.append(await asked(socket, type="subscribe", session=key))
        async with page.socket(keys["ann"], "?session=a&session=b&session=c&userId=d") as socket:
            return [reply["type"] for reply in replies], await ended(socket)

    kinds, end = asyncio.run(watch())
    assert kinds == ["authenticated", "subscribed", "error", "subscribed"]
    assert end == (4400, "at most 3 subscriptions")


def test_refused_logins_of_an_address_are_slowed_down(page, keys, monkeypatch, capfd):
    """So that they fill no log; who has a login is not slowed."""
    monkeypatch.setattr(
        page.app.state.bridge, "admission", Admission(AdmissionLimits(handshakes_per_s=1.0))
    )
    statuses = [page.get("/api/sessions", "nobody's").status_code for _ in range(20)]
    assert {401, 429} == set(statuses)
    assert "".join(capfd.readouterr()).count("login_refused") == statuses.count(401)
    assert page.get("/api/sessions", keys["ann"]).status_code == 200


def test_no_credential_is_in_a_log_or_an_answer(page, keys, capfd):
    """A distinctive key goes through login, refusal, error and renewal."""
    canary = "canary-5f1c0e7a"

    async def watch():
        seen = []
        async with page.socket(keys["ann"]) as socket:
            seen.append(await answer(socket))
            for message in ({"token": canary}, {"token": canary, "x": 1}, {"token": [canary]}):
                seen.append(await asked(socket, type="auth", **message))
        async with page.socket(canary) as socket:
            return [*seen, await ended(socket)]

    seen = asyncio.run(watch())
    answers = [page.get(path, canary) for path in DATA] + [page.get("/api/sessions", keys["ann"])]
    shown = [*(a.text + str(a.headers) for a in answers), *map(str, seen)]
    logged = "".join(capfd.readouterr())

    assert "login_refused" in logged
    assert "audit=True" in logged
    for secret in (canary, keys["ann"]):
        assert secret not in logged
        assert [text for text in shown if secret in text] == []
