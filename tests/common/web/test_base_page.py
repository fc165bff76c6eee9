"""The page that all pages are made from, in a real browser."""

from __future__ import annotations

import pytest
from shown import TOKEN, ShownApp, served

from browser import assert_fits, axe, wait_until

REFUSED = "status of 403"


@pytest.fixture
def shown() -> ShownApp:
    return ShownApp(name="<script>document.body.textContent = 'run'</script>")


@pytest.fixture
def url(shown):
    with served(shown.app(), shown.streams) as where:
        yield where


def logged_in(visitor, url, **words):
    page = visitor.open(url, **words)
    page.fill("#token", TOKEN)
    page.click("main button")
    page.wait_for_selector("#said")
    return page


def test_a_page_lives_and_what_others_wrote_is_text(visitor, shown, url):
    page = visitor.open(url)
    page.fill("#token", "not the token")
    visitor.expects(REFUSED)
    page.click("main button")
    assert page.inner_text("[role=alert]") == "That is not the token."
    page.close()

    page = logged_in(visitor, url)
    assert page.inner_text("h1") == shown.name
    assert page.inner_text("#said") == "at first"
    page.wait_for_selector("#connection.on")
    shown.said = "<b>later</b>"
    wait_until(page, "document.querySelector('#said b')?.textContent === 'later'")  # parts are HTML
    assert "UTC" not in page.inner_text("#when")
    assert page.get_attribute("#when time", "datetime") == "2025-01-01T00:00:00+00:00"


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_everybody_can_read_it_on_a_phone_too(visitor, url, dark):
    page = visitor.open(url, dark=dark)
    axe(page)
    assert_fits(page)
    page = logged_in(visitor, url, dark=dark)
    page.wait_for_selector("#connection.on")
    axe(page)
    assert_fits(page)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(", "))) < 200) is dark


@pytest.mark.slow
def test_it_says_that_the_connection_is_lost_and_goes_on_by_itself(visitor, shown, url):
    page = logged_in(visitor, url)
    page.wait_for_selector("#connection.on")
    (name, entry), *_ = shown.sessions._entries.items()
    del shown.sessions._entries[name]  # at the next heartbeat the stream ends
    page.wait_for_selector("#connection.off")
    assert page.inner_text("#connection") == "connection lost, trying again"
    shown.sessions._entries[name] = entry
    shown.said = "back"
    wait_until(page, "document.querySelector('#said').textContent === 'back'")
    assert page.inner_text("#connection") == "live"


def test_a_page_whose_session_has_ended_leads_to_the_login(visitor, shown, url):
    page = logged_in(visitor, url)
    page.wait_for_selector("#connection.on")
    page.click("text=Log out")
    page.wait_for_selector("#token")
    assert page.url.endswith("/login")
    page.goto(f"{url}/")
    assert page.url.endswith("/login")
