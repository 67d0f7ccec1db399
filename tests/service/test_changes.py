"""Sessions are renamed, hidden and deleted by REST: by those who may, and by no foreign page."""

import asyncio

import psycopg
import pytest

from ingest.settings import ServeSettings
from serve.bridge.access.callers import Role
from serve.bridge.access.key_file import change_keys
from serve.bridge.access.keys import entry_of, new_key
from serve.bridge.live import withdrawn
from tests.conftest import fresh_database
from tests.service.owner import rows
from tests.service.page import answer, ended, running_page
from tests.waiting import wait_until

CALLERS = {
    "ann": Role.DRIVER, "bea": Role.DRIVER, "eve": Role.ENGINEER, "vic": Role.VIEWER,
    "oli": Role.OPERATOR,
}  # fmt: skip
MAKE = """
TRUNCATE sessions, deleted_sessions, judgements_due CASCADE;
INSERT INTO sessions (key, user_id, topic, partition)
SELECT 'of-' || name, name, 'telemetry', 0
  FROM unnest(ARRAY['ann', 'bea', 'vic', '']) AS name;
"""


@pytest.fixture(scope="module")
def keys():
    return {name: new_key() for name in CALLERS}


@pytest.fixture(scope="module")
def store(postgresql_server):
    with fresh_database(postgresql_server) as database:
        yield database.url


@pytest.fixture(scope="module")
def served(store, keys, tmp_path_factory):
    file = tmp_path_factory.mktemp("changes") / "keys"
    change_keys(file, lambda _: [entry_of(n, CALLERS[n], key) for n, key in keys.items()])
    serve = ServeSettings(auth_mode="keys", auth_keys_file=str(file))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(withdrawn, "_EVERY_S", 0.1)
        with running_page(serve, database_url=store) as page:
            yield page


@pytest.fixture
def page(served, store):
    with psycopg.connect(store) as conn:
        conn.execute(MAKE)
    return served


def listed(page, key):
    return {one["key"]: one for one in page.get("/api/sessions", key).json()["sessions"]}


def test_owner_renames_and_hides_its_session(page, keys):
    path, wanted = "/api/sessions/of-ann", {"title": " Quali ", "hidden": True}
    changed = page.send("PATCH", path, keys["ann"], wanted)

    assert changed.status_code == 200
    assert (changed.json()["title"], changed.json()["hidden"]) == ("Quali", True)
    assert page.get(path, keys["ann"]).json() == changed.json()
    found = {name: set(listed(page, keys[name])) for name in CALLERS}
    assert found["ann"] == {"of-ann"}
    assert found["oli"] == {"of-ann", "of-bea", "of-vic", "of-"}
    assert found["eve"] == {"of-bea", "of-vic", "of-"}
    hidden, missing = (page.get(f"/api/sessions/{k}", keys["eve"]) for k in ("of-ann", "of-non"))
    assert (hidden.status_code, hidden.text.replace("ann", "non")) == (404, missing.text)
    assert page.get("/api/sessions/of-ann/laps", keys["eve"]).status_code == 404

    assert page.send("PATCH", path, keys["ann"], {"hidden": False}).json()["title"] == "Quali"
    assert "of-ann" in listed(page, keys["eve"])


def test_deleted_session_is_gone_and_leaves_its_hash(page, keys, store, capfd):
    deleted = page.send("DELETE", "/api/sessions/of-ann", keys["ann"])

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert page.get("/api/sessions/of-ann", keys["ann"]).status_code == 404
    assert page.send("DELETE", "/api/sessions/of-ann", keys["ann"]).status_code == 404
    query = "SELECT key_hash = sha256('of-ann') FROM deleted_sessions"
    assert rows(store, query) == [(True,)]
    line = next(one for one in capfd.readouterr().out.splitlines() if "session_deleted" in one)
    assert "audit=True" in line
    assert "name=ann" in line
    assert "session=of-ann" in line


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("name", "session", "status"),
    [
        ("ann", "of-bea", 404),
        ("ann", "of-none", 404),
        ("ann", "of-", 404),
        ("vic", "of-vic", 403),
        ("vic", "of-ann", 404),
        ("eve", "of-ann", 403),
        ("eve", "of-", 403),
        ("oli", "of-ann", None),
        ("oli", "of-", None),
        (None, "of-ann", 401),
    ],
)
def test_policy_decides_who_changes_a_session(page, keys, store, method, name, session, status):
    before = rows(store, "SELECT key, title FROM sessions ORDER BY key")
    body = {"title": "mine"} if method == "PATCH" else None
    sent = page.send(method, f"/api/sessions/{session}", keys.get(name), body)

    assert sent.status_code == (status or {"PATCH": 200, "DELETE": 204}[method])
    if status:
        assert rows(store, "SELECT key, title FROM sessions ORDER BY key") == before


def test_session_says_who_may_change_it(page, keys):
    found = {n: {k for k, one in listed(page, keys[n]).items() if one["may_change"]} for n in keys}
    assert found == {
        "ann": {"of-ann"}, "bea": {"of-bea"}, "eve": set(), "vic": set(),
        "oli": {"of-ann", "of-bea", "of-vic", "of-"},
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {"title": "a\nb"},
        {"title": "x" * 101},
        {"title": "x" * 1000},
        {"title": 1},
        {"hidden": "yes"},
        {"key": "mine"},
        [],
        None,
    ],
)
def test_change_that_is_none_is_refused(page, keys, store, body):
    sent = page.send("PATCH", "/api/sessions/of-ann", keys["ann"], body)

    assert sent.status_code == 422
    query = "SELECT title, hidden FROM sessions WHERE key = 'of-ann'"
    assert rows(store, query) == [("", False)]


def test_page_of_another_site_changes_nothing(page, keys, store):
    own = f"http://127.0.0.1:{page.port}"
    for origin in ("http://evil.example", "null"):
        for method in ("PATCH", "DELETE"):
            sent = page.send(method, "/api/sessions/of-ann", keys["ann"], {}, origin=origin)
            assert sent.status_code == 403
    assert rows(store, "SELECT count(*) FROM sessions WHERE key = 'of-ann'") == [(1,)]
    changed = page.send("PATCH", "/api/sessions/of-ann", keys["ann"], {}, origin=own)
    assert changed.status_code == 200


def test_page_of_another_site_changes_nothing_where_no_login_is_needed(store, page):
    with running_page(ServeSettings(), database_url=store) as open_page:
        path = "/api/sessions/of-ann"
        foreign = open_page.send("DELETE", path, origin="http://evil.example")
        assert foreign.status_code == 403
        assert open_page.send("DELETE", path).status_code == 204


def test_viewers_of_a_deleted_session_are_closed_and_those_of_a_hidden_one_get_nothing(page, keys):
    async def watch():
        query = "?session=of-ann&session=of-bea"
        async with page.socket(keys["eve"], query) as eve, page.socket(keys["oli"], query) as oli:
            await answer(eve)
            await answer(oli)
            page.deliver("of-ann", "ann", 1.0)
            page.deliver("of-bea", "bea", 1.0)
            page.send("PATCH", "/api/sessions/of-bea", keys["bea"], {"hidden": True})
            hub = page.app.state.bridge.hub
            wait_until(lambda: "of-bea" in hub._hidden, "the replica knows what is hidden")
            assert {viewer.caller.name for viewer in hub._audience("of-bea", "bea")} == {"oli"}
            page.send("DELETE", "/api/sessions/of-ann", keys["ann"])
            ends = [await ended(eve), await ended(oli)]
            page.deliver("of-ann", "ann", 2.0)
            return ends, set(hub.sessions)

    ends, live = asyncio.run(watch())
    assert ends == [(4410, "the session was deleted")] * 2
    assert live == {"of-bea"}
