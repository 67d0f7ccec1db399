"""The viewer page in a real browser, on a running system.

``page_url`` is the address of a system on which one session is live and has finished laps; the rest
is what a race engineer would look for on the second monitor.
"""

import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import httpx
import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.paths import ROOT
from tests.service.browser import running_browser
from tests.waiting import WITHIN_S

PICTURE = ROOT / "build" / "page.png"

# How many pixels of a canvas are drawn, and how many of them have the given colour within a little.
COUNT = """
const [canvas, colour] = arguments;
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
let drawn = 0, like = 0;
for (let i = 0; i < data.length; i += 4) {
  if (data[i + 3] < 100) continue;
  drawn += 1;
  if (colour && Math.abs(data[i] - colour[0]) + Math.abs(data[i + 1] - colour[1]) +
      Math.abs(data[i + 2] - colour[2]) < 40) like += 1;
}
return [drawn, like];
"""
THROTTLE_GREEN = [69, 207, 139]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser for all tests of this file."""
    with running_browser(tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


@pytest.fixture
def page(browser: webdriver.Chrome, page_url: str) -> webdriver.Chrome:
    """The page, showing the live session."""
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(page_url)
    until(
        browser,
        "the page is live",
        lambda: one(browser, "#connection").get_attribute("data-state") == "live",
    )
    return browser


def one(page: webdriver.Chrome, selector: str) -> WebElement:
    return page.find_element(By.CSS_SELECTOR, selector)


CURRENT = "#sessions button[aria-current=true]"
CHOSEN = "#laps tr[aria-selected=true]"


def until(page: webdriver.Chrome, what: str, holds: Callable[[], object]) -> None:
    """Wait for a fact; it is named if it never comes true."""
    waiting = WebDriverWait(page, WITHIN_S, 0.2, [StaleElementReferenceException])
    waiting.until(lambda _: holds(), f"never came true: {what}")


def pixels(page: webdriver.Chrome, canvas: str, colour: list[int] | None = None) -> tuple[int, int]:
    drawn, like = page.execute_script(COUNT, one(page, canvas), colour)
    return drawn, like


def picture_of(page: webdriver.Chrome, canvas: str) -> str:
    return sha256(
        page.execute_script("return arguments[0].toDataURL()", one(page, canvas)).encode()
    ).hexdigest()


def rows(page: webdriver.Chrome) -> list[WebElement]:
    return page.find_elements(By.CSS_SELECTOR, "#laps tbody tr")


def chosen(page: webdriver.Chrome) -> str | None:
    found = page.find_elements(By.CSS_SELECTOR, CHOSEN)
    return found[0].get_attribute("data-lap") if found else None


def test_page_opens_on_the_live_session(page: webdriver.Chrome) -> None:
    # The list is drawn anew whenever it is read: each look starts over.
    until(
        page,
        "a live session is listed",
        lambda: one(page, "#sessions li[data-live=true]").is_displayed(),
    )
    until(
        page,
        "the session is named",
        lambda: one(page, "#session-title b").text in one(page, CURRENT).text,
    )
    assert not one(page, "#empty").is_displayed()


def test_instruments_follow_the_car(page: webdriver.Chrome) -> None:
    """A car on track never has the same clock twice, and frames keep coming."""
    clocks, frames = set(), set()

    def moved() -> bool:
        clocks.add(one(page, "#lap-clock").text)
        frames.add(int(one(page, "#connection").get_attribute("data-frames") or 0))
        return min(len(clocks), len(frames)) >= 3

    until(page, "the lap clock and the frames go on", moved)
    assert one(page, "#speed").text.isdigit()
    assert one(page, "#gear").text in {"R", "N", *"12345678"}


def test_traces_are_drawn_and_grow(page: webdriver.Chrome) -> None:
    until(page, "traces are drawn", lambda: pixels(page, "#canvas-live")[0] > 200)
    until(
        page, "the throttle is green", lambda: pixels(page, "#canvas-live", THROTTLE_GREEN)[1] > 10
    )
    before = picture_of(page, "#canvas-live")
    until(page, "the traces grow", lambda: picture_of(page, "#canvas-live") != before)


def test_rolling_window_is_drawn(page: webdriver.Chrome) -> None:
    page.execute_script("document.querySelector('input[value=time]').click()")
    until(page, "the window is drawn", lambda: pixels(page, "#canvas-live", THROTTLE_GREEN)[1] > 50)


def get(page_url: str, path: str) -> Any:
    return httpx.get(page_url + path, timeout=WITHIN_S).json()


def show_session(page: webdriver.Chrome) -> None:
    page.execute_script("document.querySelector('input[value=session]').click()")
    until(page, "the session is drawn", lambda: pixels(page, OVERVIEW, THROTTLE_GREEN)[1] > 50)


OVERVIEW = "#overview-base"


def test_session_is_drawn_by_the_second_and_goes_on(page: webdriver.Chrome) -> None:
    show_session(page)
    assert not one(page, "#strips").is_displayed()
    before = picture_of(page, OVERVIEW)
    until(page, "the session goes on", lambda: picture_of(page, OVERVIEW) != before)


def test_pages_session_is_requested_once_and_then_only_what_is_new(page: webdriver.Chrome) -> None:
    show_session(page)
    asked = (
        "return performance.getEntriesByType('resource').map(e => e.name).filter(n =>"
        " n.split('?')[0].endsWith('/seconds'))"
    )
    until(page, "it has been asked for again", lambda: len(page.execute_script(asked)) >= 3)
    first, *others = page.execute_script(asked)
    assert first.endswith("/seconds")
    assert all("?since=" in name for name in others)


def test_cursor_reports_a_second_and_enter_compares_with_its_lap(page: webdriver.Chrome) -> None:
    """From the end of the session to its beginning, which is in the first lap."""
    until(
        page,
        "a best lap is listed",
        lambda: page.find_elements(By.CSS_SELECTOR, "#laps tr[data-best=true]"),
    )
    show_session(page)
    page.execute_script("document.getElementById('charts').scrollIntoView()")
    overview = one(page, "#overview")
    left = page.execute_script("return document.querySelector('#overview .strip').offsetWidth")
    ActionChains(page).move_to_element_with_offset(
        overview, left + 20 - overview.rect["width"] // 2, 40
    ).perform()
    until(page, "the cursor is told in words", lambda: "lap 1, " in one(page, "#cursor-note").text)
    assert one(page, "#overview [data-channel=speed] .value").text.isdigit()
    one(page, "#charts").send_keys(Keys.ENTER)
    until(page, "the lap is the reference", lambda: chosen(page) == "1")
    assert one(page, "#strips").is_displayed()


def test_laps_state_what_they_came_to(page: webdriver.Chrome, page_url: str) -> None:
    """Highest speed and share at full throttle, as the store sums them up; a narrow window has no
    room for them.
    """
    cells = (
        "return [...document.querySelectorAll('#laps tbody tr')].map(r => [0, 4, 5].map(i =>"
        " r.cells[i].innerText))"
    )
    until(
        page,
        "laps are summed up",
        lambda: any(top.isdigit() for _, top, _ in page.execute_script(cells)),
    )
    told = {tuple(map(int, row)) for row in page.execute_script(cells) if row[1].isdigit()}
    (key,) = [
        session["key"] for session in get(page_url, "api/sessions")["sessions"] if session["live"]
    ]
    stored = get(page_url, f"api/sessions/{key}/lap-summaries")["laps"]
    # JavaScript rounds halves up.
    rounded = {
        (
            lap["lap_number"],
            int(lap["max_speed_kmh"] + 0.5),
            int(lap["full_throttle_share"] * 100 + 0.5),
        )
        for lap in stored
    }
    assert told <= rounded
    assert one(page, "#laps tbody td:nth-child(5)").is_displayed()
    page.set_window_size(900, 700)
    try:
        until(
            page,
            "the columns are gone",
            lambda: not one(page, "#laps tbody td:nth-child(5)").is_displayed(),
        )
    finally:
        page.set_window_size(1600, 900)


def test_laps_are_listed_and_one_is_purple(page: webdriver.Chrome) -> None:
    until(
        page,
        "a best lap is listed",
        lambda: page.find_elements(By.CSS_SELECTOR, "#laps tr[data-best=true]"),
    )
    times = page.execute_script(
        "return [...document.querySelectorAll('#laps tbody tr')].map(r => r.cells[1].innerText)"
    )
    assert any(":" in time and len(time.partition(".")[2]) == 3 for time in times)
    assert one(page, "#best-lap").text.count(":") == 1


def test_best_lap_is_the_reference_until_another_is_chosen(page: webdriver.Chrome) -> None:
    """The reference is drawn under the traces, the delta is told, and Enter on a lap chooses it."""
    until(page, "a reference is chosen", lambda: chosen(page) is not None)
    until(
        page,
        "the best lap is chosen",
        lambda: one(page, CHOSEN).get_attribute("data-best") == "true",
    )
    until(page, "the delta is told", lambda: one(page, "#delta").text[:1] in "+−±")
    others = [row for row in rows(page) if row.get_attribute("data-best") != "true"]
    if not others:
        pytest.skip("the session has one lap only")
    before = picture_of(page, "#canvas-base")
    other = others[0].get_attribute("data-lap")
    others[0].send_keys(Keys.ENTER)
    until(page, "the other lap is the reference", lambda: chosen(page) == other)
    until(page, "the other lap is drawn", lambda: picture_of(page, "#canvas-base") != before)
    one(page, "#reference-best").click()
    # Not the same one as before, perhaps: the car goes on driving.
    until(
        page,
        "the best lap is chosen again",
        lambda: one(page, CHOSEN).get_attribute("data-best") == "true",
    )


def test_arrow_keys_move_a_cursor_along_the_lap(page: webdriver.Chrome) -> None:
    charts = one(page, "#charts")
    charts.send_keys(Keys.ARROW_LEFT)
    until(
        page,
        "the cursor is told in words",
        lambda: one(page, "#cursor-note").text.startswith("at "),
    )
    charts.send_keys(Keys.ESCAPE)
    until(page, "the cursor is gone", lambda: not one(page, "#cursor-note").text)


BREAK_DRAWING = """
const { prototype } = CanvasRenderingContext2D;
window.mendDrawing = () => { prototype.clearRect = clearRect; };
const { clearRect } = prototype;
prototype.clearRect = () => { throw new RangeError("a canvas that cannot be cleared"); };
"""


def test_what_cannot_be_drawn_is_shown_and_ends_nothing(page: webdriver.Chrome) -> None:
    def head() -> str:
        return one(page, "#connection").text

    page.execute_script(BREAK_DRAWING)
    until(
        page,
        "the head shows it",
        lambda: "can't be drawn: a canvas that cannot be cleared" in head(),
    )
    before = int(one(page, "#connection").get_attribute("data-frames") or 0)
    until(
        page,
        "frames go on",
        lambda: int(one(page, "#connection").get_attribute("data-frames") or 0) > before,
    )
    page.execute_script("mendDrawing()")
    until(page, "the head shows it no more", lambda: head() == "Live")
    drawn = picture_of(page, "#canvas-live")
    until(page, "the traces grow", lambda: picture_of(page, "#canvas-live") != drawn)


def test_flags_of_a_lap_are_cut_off_nowhere(page: webdriver.Chrome) -> None:
    until(page, "a lap is listed", lambda: len(rows(page)) > 0)
    worst = (
        "document.querySelector('#laps tbody tr td:last-child').textContent = 'out, in, partial,"
        " invalid';"
    )
    hidden = (
        "const list = document.querySelector('.laps .scroll'); return list.scrollWidth -"
        " list.clientWidth;"
    )
    try:
        for width in (1920, 1600, 1366, 1100, 800):
            page.set_window_size(width, 900)
            assert page.execute_script(worst + hidden) == 0, f"{width} px wide"
    finally:
        page.set_window_size(1600, 900)


def test_page_is_clean_and_has_its_picture_taken(page: webdriver.Chrome) -> None:
    """Nothing failed: no script error, no policy violation, no missing file."""
    until(page, "a reference is chosen", lambda: chosen(page) is not None)
    time.sleep(2)
    PICTURE.parent.mkdir(exist_ok=True)
    page.save_screenshot(str(PICTURE))
    errors = [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors


def test_demo_plays_without_a_session(browser: webdriver.Chrome, page_url: str) -> None:
    """The demo needs neither collector nor database; here it is started as the button does it."""
    browser.get(page_url)
    browser.execute_script("document.getElementById('demo').click()")
    until(
        browser,
        "the demo plays",
        lambda: one(browser, "#connection").get_attribute("data-state") == "demo",
    )
    until(
        browser,
        "the demo drives",
        lambda: int(one(browser, "#connection").get_attribute("data-frames") or 0) > 60,
    )
    one(browser, "#demo").click()
    until(
        browser,
        "the live session is back",
        lambda: one(browser, "#connection").get_attribute("data-state") == "live",
    )
