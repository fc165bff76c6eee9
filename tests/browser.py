"""Pages in a real browser: the machine's Chromium, watched for what a page must never do.

`visitor` opens pages. When a test ends, no page may have written an error to its console, raised one, or asked a host
other than those that the test itself opened.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PHONE = 400
DESKTOP = 1280


class Visitor:
    """Somebody at a browser.

    Attributes:
        faults: what the pages did that they must not.
        hosts: `host:port` of all that was asked for.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._allowed: set[str] = set()
        self._expected: list[str] = []
        self._contexts: list[BrowserContext] = []
        self.faults: list[str] = []
        self.hosts: set[str] = set()

    def open(
        self, url: str, *, width: int = DESKTOP, dark: bool = False, context: BrowserContext | None = None
    ) -> Page:
        """A page at `url`, in a browser that knows nothing yet, or beside other pages of `context`.

        Args:
            url: whose host may be asked from now on, or `about:blank` for a page that a test fills by itself.
            width: of the window, in CSS pixels.
            dark: whether its user likes dark pages.
            context: whose cookies it has.
        """
        if context is None:
            context = self._browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme="dark" if dark else "light",
                ignore_https_errors=True,
                reduced_motion="reduce",
            )
            self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"raised: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        self._allowed.add(urlsplit(url).netloc)
        page.goto(url)
        return page

    def expects(self, text: str) -> None:
        """A console error with this text is what the test is about: a refusal, a server that goes away."""
        self._expected.append(text)

    def leave(self) -> None:
        """Closes all windows.

        Raises:
            AssertionError: a page did what it must not.
        """
        for context in self._contexts:
            context.close()
        strangers = self.hosts - self._allowed
        assert not strangers, f"asked other hosts: {sorted(strangers)}"
        faults = [fault for fault in self.faults if not any(text in fault for text in self._expected)]
        assert not faults, "\n".join(faults)

    def _console(self, message: object) -> None:
        if message.type == "error":  # type: ignore[attr-defined]
            self.faults.append(f"console: {message.text}")  # type: ignore[attr-defined]

    def _asked(self, url: str) -> None:
        if urlsplit(url).scheme not in ("data", "blob", "about"):
            self.hosts.add(urlsplit(url).netloc)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The machine's Chromium, for the tests of one module: those must not run an event loop of their own."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is installed, so no page was looked at")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[Visitor]:
    """Somebody at the browser; what their pages did is judged when the test ends."""
    visiting = Visitor(chromium)
    yield visiting
    visiting.leave()


def axe(page: Page) -> None:
    """Holds that axe-core finds nothing of a page, as it is now, that keeps people out.

    Raises:
        AssertionError: it finds something.
    """
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def assert_fits(page: Page, width: int = PHONE) -> None:
    """Holds that a page in a window of `width` CSS pixels does not scroll sideways, and leaves the window so.

    Raises:
        AssertionError: it does; what sticks out is named.
    """
    page.set_viewport_size({"width": width, "height": 900})
    inside, outside = page.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollWidth]")
    wide = page.evaluate(
        """width => [...document.querySelectorAll('body *')]
            .filter(each => each.getBoundingClientRect().right > width + 1 && !each.closest('.wide'))
            .map(each => `${each.tagName} ${each.id} ${each.className}`).slice(0, 5)""",
        width,
    )
    assert outside <= inside, f"{outside} pixels in a window of {inside}: {wide}"


def wait_until(page: Page, expression: str, seconds: float = 10.0) -> None:
    """Waits until a JavaScript expression is true; playwright's own way needs `eval`, which our pages forbid.

    Raises:
        AssertionError: it has not become so.
    """
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never so: {expression}"
        page.wait_for_timeout(50)


def picture(page: Page, path: Path) -> Path:
    """A picture of the whole page."""
    page.screenshot(path=path, full_page=True)
    return path
