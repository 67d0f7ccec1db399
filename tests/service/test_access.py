"""Logins as a page demands them: each caller sees its own, and others' sessions do not exist."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ingest.settings import ServeSettings
from serve.bridge.access.admission import Admission, AdmissionLimits
from serve.bridge.access.callers import Role
from serve.bridge.access.key_file import change_keys
from serve.bridge.access.keys import entry_of, new_key
from serve.bridge.live import socket_login
from tests.canaries import secret
from tests.conftest import fresh_database
from tests.service.page import answer, asked, ended, running_page
from tests.waiting import WITHIN_S, wait_until

CALLERS = {"ann": Role.DRIVER, "bea": Role.DRIVER, "eve": Role.ENGINEER, "vic": Role.VIEWER}
OF_A_SESSION = ("", "/laps", "/laps/1", "/seconds", "/lap-summaries")
LIMITS = AdmissionLimits(
    handshakes_per_s=1000.0, sockets_per_caller=3, subscriptions=3, sockets_per_link=2
)


@pytest.fixture(scope="module")
def keys():
    return {name: secret(new_key()) for name in CALLERS}


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
            conn.execute(
                "INSERT INTO laps (session_id, lap_number, started_at, ended_at, lap_time_ms,"
                " frames, gaps, max_speed_kmh)"
                " SELECT s.id, n, started_at + n * interval '10 s',"
                "        started_at + (n + 1) * interval '10 s', 10000 + n, 5, 0, 100 + n"
                "   FROM sessions s, generate_series(1, 3) AS n"
            )
            conn.execute(
                "INSERT INTO telemetry (session_id, time, sequence, lap_number, lap_clock_ms,"
                " normalized_position, speed_kmh)"
                " SELECT s.id, started_at + n * interval '2 s', n, n / 5, 0, 0.5, n"
                "   FROM sessions s, generate_series(5, 22) AS n"
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
    opened = [
        path for verb, path in routes(page) if page.send(verb, path, body={}).status_code != 401
    ]
    assert sorted(opened) == ["/api/axes", "/api/health", "/api/login"]


NAMES = {"{key}": "of-ann", "{lap_number}": "1", "{share_id}": "1"}


def routes(page):
    """Every verb and path of the page, of ann's session."""
    found = []
    for path, verbs in page.app.openapi()["paths"].items():
        for name, value in NAMES.items():
            path = path.replace(name, value)
        assert "{" not in path
        found += [(verb.upper(), path) for verb in verbs]
    return found


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


def test_page_is_of_sessions_that_may_be_read(page, keys):
    """Those of others are not counted, wherever they are in the list."""
    answer = page.get("/api/sessions?limit=1", keys["ann"]).json()
    assert [one["key"] for one in answer["sessions"]] == ["of-ann"]
    assert answer["older"] is None


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
    for one in (canary, keys["ann"]):
        assert one not in logged
        assert [text for text in shown if one in text] == []


# --- shares
# --------------------------------------------------------------------------------------------------

OF_ANN = "/api/sessions/of-ann"
SHARES = f"{OF_ANN}/shares"


@pytest.fixture
def shared(page, keys, stored):
    """Makes shares, as ann by default; none is left for the next test."""

    def make(key="of-ann", name="ann", **body):
        made = page.send("POST", f"/api/sessions/{key}/shares", keys[name], body)
        assert made.status_code == 201, made.text
        return made.json()

    yield make
    with psycopg.connect(stored) as conn:
        conn.execute("DELETE FROM shares")
    page.app.state.shares.refresh()


# What each reads: of ann's session, of its laps 1 and 2, and of what else there is.
READS = {
    "": "session lap -",
    "/laps": "session lap -",
    "/laps/1": "session - -",
    "/laps/2": "session lap -",
    "/laps/4": "session - -",  # the lap in progress
    "/laps/9": "- - -",
    "/seconds": "session - -",
    "/lap-summaries": "session lap -",
}
BY = ("link", "user")


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("what", READS)
def test_share_shows_its_session_or_lap_and_nothing_else(page, keys, shared, what, by):
    with_whom = {} if by == "link" else {"users": ["bea"]}
    readable = READS[what].split()
    for part, number in (("session", None), ("lap", 2)):
        made = shared(lap_number=number, **with_whom)
        credential = made["token"] or keys["bea"]
        found = page.get(OF_ANN + what, credential)
        missing = page.get(f"/api/sessions/missing{what}", credential)
        foreign = page.get(f"/api/sessions/of-nobody{what}", credential)
        assert (found.status_code == 200) is (part in readable), found.text
        assert missing.status_code == foreign.status_code == 404
        assert foreign.text.replace("of-nobody", "missing") == missing.text
        page.send("DELETE", f"{SHARES}/{made['id']}", keys["ann"])


def test_lap_that_is_not_shared_is_like_one_that_does_not_exist(page, keys, shared):
    token = shared(lap_number=2)["token"]
    other, missing = (page.get(f"{OF_ANN}/laps/{n}", token).text for n in (1, 9))
    assert other.replace("lap 1", "lap 9") == missing


@pytest.mark.parametrize("by", BY)
def test_lap_has_its_own_times_and_frames_only(page, keys, shared, by):
    page.deliver("of-ann", "ann", 1.0)
    made = shared(lap_number=2, **({} if by == "link" else {"users": ["bea"]}))
    credential = made["token"] or keys["bea"]
    session = page.get(OF_ANN, credential).json()
    laps = page.get(f"{OF_ANN}/laps", credential).json()
    sums = page.get(f"{OF_ANN}/lap-summaries", credential).json()["laps"]
    trace = page.get(f"{OF_ANN}/laps/2", credential).json()["columns"]

    assert (session["live"], session["frames"]) == (False, 5)
    assert session["started_at"] == "2026-01-01T10:00:20Z"
    assert session["last_frame_at"] == "2026-01-01T10:00:30Z"
    assert [lap["lap_number"] for lap in laps["laps"]] == [2]
    assert laps["open_lap"] is laps["open_lap_started_at"] is None
    assert [one["lap_number"] for one in sums] == [2]
    assert trace["speed_kmh"] == [10.0, 11.0, 12.0, 13.0, 14.0]


def test_guest_may_do_nothing_but_read(page, keys, shared):
    """Whatever route is added, a guest reads a session's and changes nothing."""
    token = shared()["token"]
    found = {(verb, path): page.send(verb, path, token, {}) for verb, path in routes(page)}
    refused = {place: one.status_code for place, one in found.items() if one.status_code >= 400}
    allowed = [path for verb, path in found if (verb, path) not in refused]

    assert all(verb == "GET" for verb, path in found if (verb, path) not in refused)
    assert all(p.startswith(OF_ANN) or p == "/api/sessions" or p in OPEN for p in allowed)
    assert {place: refused[place] for place in FORBIDDEN} == dict.fromkeys(FORBIDDEN, 403)
    assert [one["key"] for one in found["GET", "/api/sessions"].json()["sessions"]] == ["of-ann"]


OPEN = ("/api/axes", "/api/login")
FORBIDDEN = [
    ("GET", "/api/stats"),
    ("GET", SHARES),
    ("POST", SHARES),
    ("DELETE", f"{SHARES}/1"),
]


@pytest.mark.parametrize(
    ("name", "key", "status"),
    [
        ("ann", "of-ann", 201),
        ("eve", "of-ann", 201),
        ("eve", "of-nobody", 201),
        ("ann", "of-bea", 404),
        ("ann", "missing", 404),
        ("vic", "of-ann", 404),
    ],
)
def test_sessions_are_shared_by_their_owner_or_an_engineer(page, keys, shared, name, key, status):
    made = page.send("POST", f"/api/sessions/{key}/shares", keys[name], {})
    listed = page.get(f"/api/sessions/{key}/shares", keys[name])
    assert made.status_code == status, made.text
    assert listed.status_code == (200 if status == 201 else 404)


def test_named_user_reads_and_may_not_share_on(page, keys, shared, capfd):
    shared(users=["bea", "bea", "vic"])
    listed = page.get("/api/sessions", keys["bea"]).json()["sessions"]
    assert sorted(one["key"] for one in listed) == ["of-ann", "of-bea"]
    assert page.get("/api/sessions?search=of-a", keys["vic"]).json()["sessions"] != []
    for verb, path in FORBIDDEN:
        assert page.send(verb, path, keys["bea"], {}).status_code == 403
    assert "".join(capfd.readouterr()).count("share_refused") == 3


def test_list_has_what_is_shared_with_whom_and_no_token(page, keys, shared):
    token = shared(lap_number=3)["token"]
    shared(users=["bea"], expires_at="2999-01-01T00:00:00Z", name="eve")
    answer = page.get(SHARES, keys["ann"])
    for_bea, by_link = answer.json()["shares"]

    assert token not in answer.text
    assert (for_bea["users"], for_bea["made_by"]) == (["bea"], "eve")
    assert for_bea["expires_at"] == "2999-01-01T00:00:00Z"
    assert (by_link["users"], by_link["made_by"], by_link["lap_number"]) == ([], "ann", 3)
    assert by_link["expires_at"] is by_link["revoked_at"] is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"lap_number": 9}, 404),
        ({"lap_number": 4}, 404),  # in progress
        ({"lap_number": -1}, 422),
        ({"lap_number": 2**31}, 422),
        ({"lap_number": "2; DROP"}, 422),
        ({"users": [""]}, 422),
        ({"users": ["a\0"]}, 422),
        ({"users": "bea"}, 422),
        ({"users": ["b"] * 51}, 422),
        ({"expires_at": "2026-01-01T00:00:00Z"}, 422),
        ({"expires_at": "2999-01-01T00:00:00"}, 422),
        ({"token": "mine"}, 422),
        ([], 422),
        ({"users": ["b" * 20_000]}, 413),
    ],
)
def test_odd_share_is_refused(page, keys, shared, body, status):
    assert page.send("POST", SHARES, keys["ann"], body).status_code == status
    assert page.get(SHARES, keys["ann"]).json() == {"shares": []}


def test_share_of_another_session_is_not_revoked_here(page, keys, shared):
    made = shared("of-bea", "bea")
    for number in (made["id"], 10**12):
        assert page.send("DELETE", f"{SHARES}/{number}", keys["ann"]).status_code == 404
    assert page.get("/api/sessions/of-bea", made["token"]).status_code == 200


def test_link_that_ended_or_never_was_gets_the_same_refusal(page, keys, shared):
    soon = datetime.now(UTC) + timedelta(seconds=1)
    revoked, expired = shared(), shared(expires_at=soon.isoformat())
    assert page.get(OF_ANN, revoked["token"]).status_code == 200
    page.send("DELETE", f"{SHARES}/{revoked['id']}", keys["ann"])
    again = page.send("DELETE", f"{SHARES}/{revoked['id']}", keys["ann"])
    wait_until(lambda: page.get(OF_ANN, expired["token"]).status_code == 401, "it expires")
    tokens = (revoked["token"], expired["token"], "purplelink_" + "a" * 43)
    answers = [page.get(OF_ANN, token) for token in tokens]

    assert again.json()["revoked_at"] is not None
    assert {one.status_code for one in answers} == {401}
    assert {one.json()["reason"] for one in answers} == {"unknown_link"}


def test_share_that_ends_closes_its_sockets_and_no_other(page, keys, shared, stored):
    """Revoked in the store, as another replica does it; with its session; by its time."""

    async def watch():
        ends = []
        for change in ENDINGS:
            token = shared()["token"]
            async with page.socket(token) as guest, page.socket(keys["ann"]) as ann:
                replies = [await answer(guest), await answer(ann)]
                with psycopg.connect(stored) as conn:
                    conn.execute(change)
                ends.append(await ended(guest))
                assert await asked(ann, type="ping") == {"type": "pong"}
        return replies[0], ends

    reply, ends = asyncio.run(watch())
    assert (reply["role"], reply["name"][:5], reply["expiresAt"]) == ("guest", "link-", None)
    assert ends == [(4401, "the login has ended")] * len(ENDINGS)


ENDINGS = (
    "UPDATE shares SET revoked_at = now()",
    "DELETE FROM shares",
)


def test_link_that_expires_closes_its_socket(page, keys, shared):
    soon = datetime.now(UTC) + timedelta(seconds=2)

    async def watch():
        async with page.socket(shared(expires_at=soon.isoformat())["token"]) as guest:
            return await answer(guest), await ended(guest)

    reply, end = asyncio.run(watch())
    assert reply["expiresAt"] == pytest.approx(soon.timestamp())
    assert end == (4401, "the login has ended")


def test_frames_go_to_guests_of_a_session_and_to_named_users(page, keys, shared):
    """Not to those of a lap, nor another session of the owner's."""
    session, lap = shared()["token"], shared(lap_number=2)["token"]
    shared(users=["bea"])
    shared(users=["vic"], lap_number=2)
    query = "?session=of-ann&session=live-ann&userId=ann"

    async def watch():
        async with AsyncExitStack() as open_:
            seen = []
            for credential in (session, lap, keys["bea"], keys["vic"]):
                socket = await open_.enter_async_context(page.socket(credential, query))
                await answer(socket)
                seen.append(socket)
            page.deliver("of-ann", "ann", 1.0)
            page.deliver("live-ann", "ann", 2.0)
            page.deliver("of-ann", "cem", 3.0)
            for socket in seen:
                await socket.send('{"type": "ping"}')
            return [await until_pong(socket) for socket in seen]

    assert asyncio.run(watch()) == [1, 0, 1, 0]


def test_named_user_watches_until_the_share_is_revoked(page, keys, shared):
    async def watch():
        async with page.socket(keys["bea"], "?session=of-ann") as bea:
            await answer(bea)
            made = shared(users=["bea"])
            await frames_come(page, bea)
            page.send("DELETE", f"{SHARES}/{made['id']}", keys["ann"])
            await frames_end(page, bea)

    asyncio.run(watch())


async def frames_come(page, socket):
    async with asyncio.timeout(WITHIN_S):
        while await seen_of_one(page, socket) == 0:
            await asyncio.sleep(0.1)


async def frames_end(page, socket):
    async with asyncio.timeout(WITHIN_S):
        while await seen_of_one(page, socket) > 0:
            await asyncio.sleep(0.1)


async def seen_of_one(page, socket):
    page.deliver("of-ann", "ann", 1.0)
    await socket.send('{"type": "ping"}')
    return await until_pong(socket)


def test_guest_has_no_demo_and_stays_a_guest(page, keys, shared):
    async def watch():
        async with page.socket(shared()["token"]) as guest:
            await answer(guest)
            return [
                await asked(guest, type="start_demo"),
                await asked(guest, type="auth", token=keys["ann"]),
                await asked(guest, type="auth", token=shared()["token"]),
            ]

    demo, login, other = asyncio.run(watch())
    assert demo["error"] == "a link shows its session, and no demo"
    assert "a socket keeps its name" in login["error"]
    assert "a socket keeps its name" in other["error"]


def test_guests_of_a_link_are_bounded_together(page, keys, shared):
    token = shared()["token"]

    async def watch():
        async with AsyncExitStack() as open_:
            for _ in range(LIMITS.sockets_per_link):
                await answer(await open_.enter_async_context(page.socket(token)))
            async with page.socket(token) as one_more:
                return await ended(one_more)

    assert asyncio.run(watch()) == (4032, "too many sockets of this name")


def test_no_token_of_a_link_is_in_a_log_or_another_answer(page, keys, shared, capfd):
    async def watch(token):
        async with page.socket(token) as socket:
            seen = [await answer(socket), await asked(socket, type="auth", token=token + "x")]
        async with page.socket(token + "x") as socket:
            return [*seen, await ended(socket)]

    made = shared()
    token = made["token"]
    seen = asyncio.run(watch(token))
    answers = [page.get(path, token) for path in (*DATA, SHARES)]
    answers += [page.get(path, token + "x") for path in DATA]
    answers += [page.send("DELETE", f"{SHARES}/{made['id']}", keys["ann"]), page.get(OF_ANN, token)]
    shown = [*(a.text + str(a.headers) for a in answers), *map(str, seen)]
    logged = "".join(capfd.readouterr())

    assert [text for text in shown if token in text] == []
    assert token not in logged
    for event in ("share_made", "link_used", "share_revoked", "login_refused"):
        assert event in logged
    assert logged.count("link_used") == 2  # by a socket and by requests
