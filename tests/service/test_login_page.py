"""The page asks for a login, keeps it for its tab, and names what is wrong with it."""

import psycopg
import pytest
from selenium.webdriver.common.by import By

from ingest.settings import ServeSettings
from serve.bridge.access.callers import Role
from serve.bridge.access.key_file import change_keys
from serve.bridge.access.keys import entry_of, new_key
from tests.canaries import secret
from tests.conftest import fresh_database
from tests.paths import ROOT
from tests.service.browser import running_browser
from tests.service.issuer import AUDIENCE, running_issuer
from tests.service.page import running_page
from tests.waiting import wait_until

PICTURE = ROOT / "build" / "login.png"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    with running_browser(tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


@pytest.fixture
def browser(chrome):
    """The browser, without the page of the test before, whose server is gone."""
    chrome.get("about:blank")
    chrome.get_log("browser")
    return chrome


@pytest.fixture(scope="module")
def stored(postgresql_server):
    """A store with a session of ann, and one of bea."""
    with fresh_database(postgresql_server) as database:
        with psycopg.connect(database.url, autocommit=True) as conn:
            conn.execute(
                "INSERT INTO sessions (key, user_id, driver, topic, partition, started_at)"
                " SELECT 'of-' || name, name, name, 'telemetry', 0, '2026-01-01 10:00Z'"
                "   FROM unnest(ARRAY['ann', 'bea']) AS name"
            )
            conn.execute(
                "INSERT INTO laps (session_id, lap_number, started_at, ended_at, lap_time_ms,"
                " frames, gaps, max_speed_kmh, flags)"
                " SELECT s.id, n, started_at + n * interval '10 s',"
                "        started_at + (n + 1) * interval '10 s', 10000 + n, 10, 0, 100, '{out}'"
                "   FROM sessions s, generate_series(1, 3) AS n"
            )
            conn.execute(
                "INSERT INTO telemetry (session_id, time, sequence, lap_number, lap_clock_ms,"
                " normalized_position, speed_kmh)"
                " SELECT s.id, started_at + n * interval '1 s', n, n / 10, n % 10 * 1000,"
                "        n % 10 / 10.0, 100 + n"
                "   FROM sessions s, generate_series(10, 39) AS n"
            )
        yield database.url


def one(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def texts(browser, selector):
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
    )


def type_key(browser, key):
    one(browser, "#login-key").send_keys(key)
    one(browser, "#login-form button[type=submit]").click()


def is_asked(browser):
    return one(browser, "#login").is_displayed()


def drives(browser, page):
    """Send a frame of ann's session; whether the page shows it."""
    page.deliver("of-ann", "ann", 100.0)
    return int(one(browser, "#connection").get_attribute("data-frames") or 0) > 0


def errors(browser):
    """What the console has, but for the answers 401, which it lists too."""
    severe = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    return [message for message in severe if " 401 " not in message and "503" not in message]


def test_page_without_logins_asks_for_none(browser, stored):
    with running_page(ServeSettings(), database_url=stored) as page:
        browser.get(f"http://127.0.0.1:{page.port}/#session=of-ann")
        wait_until(lambda: drives(browser, page), "the car is on the page")
        assert not is_asked(browser)
        wait_until(lambda: len(texts(browser, "#sessions li")) == 2, "sessions are listed")
        assert errors(browser) == []


def test_key_is_typed_once_and_a_wrong_one_is_named(browser, stored, tmp_path):
    file, key = tmp_path / "keys", secret(new_key())
    change_keys(file, lambda _: [entry_of("ann", Role.DRIVER, key)])
    serve = ServeSettings(auth_mode="keys", auth_keys_file=str(file))
    with running_page(serve, database_url=stored) as page:
        browser.get(f"http://127.0.0.1:{page.port}/#session=of-ann")
        wait_until(lambda: is_asked(browser), "the page asks for a key")
        type_key(browser, "nobody's")
        wait_until(lambda: "not valid" in one(browser, "#login-note").text, "it is refused")
        PICTURE.parent.mkdir(exist_ok=True)
        browser.save_screenshot(str(PICTURE))
        type_key(browser, key)
        wait_until(lambda: drives(browser, page), "the car is on the page")
        assert not is_asked(browser)
        listed = wait_until(lambda: texts(browser, "#sessions li"), "sessions are listed")
        assert len(listed) == 1
        assert key not in browser.page_source
        assert key not in browser.current_url
        browser.refresh()
        wait_until(lambda: drives(browser, page), "the login is kept")
        change_keys(file, lambda _: [])
        wait_until(lambda: is_asked(browser), "a removed key ends it")
        assert errors(browser) == []


def test_page_logs_in_at_the_issuer_by_code_and_pkce(browser, stored):
    with running_issuer() as issuer:
        serve = ServeSettings(
            auth_mode="jwt",
            auth_issuer=issuer.url,
            auth_audience=AUDIENCE,
            auth_client_id="page",
        )
        with running_page(serve, database_url=stored) as page:
            address = f"http://127.0.0.1:{page.port}/"
            browser.get(f"{address}#session=of-ann")
            wait_until(lambda: is_asked(browser), "the page offers the issuer")
            one(browser, "#login-issuer").click()
            wait_until(lambda: drives(browser, page), "the car is on the page")
            assert browser.current_url == f"{address}#session=of-ann"
            assert issuer.challenges == {}
            browser.get(f"{address}?code=code-0&state=forged")
            wait_until(lambda: "no login of this tab" in one(browser, "#login-note").text)
            assert browser.current_url == address
            assert errors(browser) == []


def test_owner_renames_hides_and_deletes_its_session_in_the_list(browser, stored, tmp_path):
    file, key = tmp_path / "keys", new_key()
    change_keys(file, lambda _: [entry_of("cem", Role.DRIVER, key)])
    serve = ServeSettings(auth_mode="keys", auth_keys_file=str(file))
    with psycopg.connect(stored) as conn:
        conn.execute(
            "INSERT INTO sessions (key, user_id, topic, partition) VALUES ('of-cem', 'cem', 't', 0)"
        )
    with running_page(serve, database_url=stored) as page:
        browser.get(f"http://127.0.0.1:{page.port}/#session=of-cem")
        wait_until(lambda: is_asked(browser), "the page asks for a key")
        type_key(browser, key)
        row = "#sessions li[data-session='of-cem']"
        wait_until(lambda: len(texts(browser, f"{row} .actions:not([hidden])")) == 1, "may change")
        press(browser, row, "rename", "Quali, wet")
        wait_until(lambda: texts(browser, f"{row} .name") == ["Quali, wet"], "it has a title")
        press(browser, row, "hide")
        wait_until(lambda: texts(browser, f"{row} .name") == ["Quali, wet (hidden)"], "hidden")
        PICTURE.parent.mkdir(exist_ok=True)
        browser.save_screenshot(str(PICTURE.with_name("actions.png")))
        press(browser, row, "show")
        wait_until(lambda: texts(browser, f"{row} .name") == ["Quali, wet"], "shown again")
        press(browser, row, "delete")
        browser.switch_to.alert.dismiss()
        assert len(texts(browser, row)) == 1
        press(browser, row, "delete")
        assert "Quali, wet" in browser.switch_to.alert.text
        browser.switch_to.alert.accept()
        wait_until(lambda: texts(browser, row) == [], "it is gone")
        assert page.get("/api/sessions/of-cem", key).status_code == 404
        assert errors(browser) == []


def press(browser, row, action, words=None):
    """Press an action of a session, and answer what the page asks."""
    offered = f"{row} [data-action={action}]"
    # A list that was on its way may show the state of before for a moment.
    wait_until(lambda: texts(browser, offered), f"{action} is offered")
    one(browser, offered).click()
    if words is not None:
        browser.switch_to.alert.send_keys(words)
        browser.switch_to.alert.accept()


def share(browser, what):
    """Share what is on the page, and return the link."""
    one(browser, f"#share-{what}").click()
    one(browser, "#share-form button[type=submit]").click()
    found = wait_until(lambda: one(browser, "#share-link").get_attribute("value"), "a link is made")
    browser.save_screenshot(str(PICTURE.with_name(f"share-{what}.png")))
    return found


def open_link(browser, link):
    browser.get("about:blank")
    browser.get(link)


def test_link_shows_its_session_or_lap_and_nothing_else_until_it_is_revoked(
    browser, stored, tmp_path
):
    file, key = tmp_path / "keys", new_key()
    change_keys(file, lambda _: [entry_of("ann", Role.ENGINEER, key)])
    serve = ServeSettings(auth_mode="keys", auth_keys_file=str(file))
    with running_page(serve, database_url=stored) as page:
        browser.get(f"http://127.0.0.1:{page.port}/#session=of-ann")
        wait_until(lambda: is_asked(browser), "the page asks for a key")
        type_key(browser, key)
        wait_until(lambda: len(texts(browser, "#laps tbody tr")) == 3, "the laps are listed")
        session = share(browser, "session")
        wait_until(lambda: len(texts(browser, "#share-list li")) == 1, "the share is listed")
        one(browser, "#share-close").click()
        one(browser, "#laps tr[data-lap='2']").click()
        wait_until(lambda: one(browser, "#share-lap").is_displayed(), "the lap is chosen")
        lap = share(browser, "lap")

        open_link(browser, session)
        wait_until(lambda: drives(browser, page), "the car is on the page")
        assert shown(browser) == (["of-ann"], 3)
        assert session.partition("=")[2] not in browser.page_source
        revoke(browser, page, key, None)
        open_link(browser, lap)
        wait_until(lambda: shown(browser) == (["of-ann"], 1), "the lap is shown alone")
        wait_until(lambda: "lap 2" in one(browser, "#reference-name").text.lower(), "its trace")
        assert one(browser, "#connection").text == "Not live"
        revoke(browser, page, key, 2)
        assert errors(browser) == []


def shown(browser):
    """The sessions that are listed, and how many laps; nothing else is offered."""
    offered = ("#login", "#share-session", "#share-lap", "#search", "#demo")
    assert [one_ for one_ in offered if one(browser, one_).is_displayed()] == []
    listed = browser.execute_script(
        "return [...document.querySelectorAll('#sessions li')].map(e => e.dataset.session)"
    )
    return listed, len(texts(browser, "#laps tbody tr"))


def revoke(browser, page, key, lap_number):
    """Revoke a share; the page that its link has opened says so, and shows nothing of it."""
    for made in page.get("/api/sessions/of-ann/shares", key).json()["shares"]:
        if made["lap_number"] == lap_number:
            page.send("DELETE", f"/api/sessions/of-ann/shares/{made['id']}", key)
    wait_until(lambda: "nothing any more" in one(browser, "#empty-title").text, "the page says so")
    assert one(browser, "#empty-text").text == "It was revoked, or has expired."
    assert texts(browser, "#sessions li") == texts(browser, "#laps tbody tr") == []
