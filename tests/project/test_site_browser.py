"""The documentation site in a real browser: Debian's chromium, headless, driven by playwright.

Where there is no chromium the tests are skipped; in CI (``CI=true``) that is a failure.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from built_site import built_site, html_pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",  # CI runs as root; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def missing(what: str) -> None:
    """Skip on a user's machine, fail in CI."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{what} is not installed, and CI must have it")
    pytest.skip(f"{what} is not installed (apt-get install chromium; pip install playwright)")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        pass


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Where the site is served, and its folder."""
    site = built_site(tmp_path_factory)
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", site
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        missing("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A tab that remembers what went wrong: messages, failed requests, requests to elsewhere."""

    def __init__(self, browser: Browser, address: str, *, scheme: Any = "light") -> None:
        self.address = address
        self.problems: list[str] = []
        self.page: Page = browser.new_page(viewport=WIDE, color_scheme=scheme)  # type: ignore[arg-type]
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self._note("error", str(error)))
        self.page.on("requestfailed", lambda request: self._note("failed", request.url))
        self.page.on("response", self._response)
        self.page.on("request", self._request)

    def _note(self, kind: str, text: str) -> None:
        self.problems.append(f"{self.page.url}: {kind}: {text}")

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self._note(message.type, message.text)

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self._note(str(response.status), response.url)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self._note("elsewhere", request.url)

    def go(self, place: str) -> None:
        """Open a page of the site, and wait until nothing more is loaded."""
        self.page.goto(self.address + place, wait_until="networkidle")

    def overflow(self) -> float:
        """By how many pixels the page is wider than the window."""
        script = "document.documentElement.scrollWidth - window.innerWidth"
        return float(self.page.evaluate(script))


def places(site: Path) -> list[str]:
    return [
        path.relative_to(site).as_posix().removesuffix("index.html") for path in html_pages(site)
    ]


@pytest.mark.long
def test_every_page_renders(browser: Browser, address: tuple[str, Path]) -> None:
    """Wide and narrow: a title, no complaint, nothing from elsewhere, nothing to scroll aside."""
    visit = Visit(browser, address[0])
    too_wide = []
    for place in places(address[1]):
        visit.page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        visit.go(place)
        assert visit.page.inner_text("h1").strip(), place
        assert visit.page.locator("article").bounding_box()["height"] > 100, place  # type: ignore[index]
        if visit.overflow() > 0:
            too_wide.append(f"{place} at {WIDE['width']}")
        visit.page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        if visit.overflow() > 0:
            too_wide.append(f"{place} at {NARROW['width']}")
    assert visit.problems == []
    assert too_wide == []
    assert len(places(address[1])) > 25


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("write_friend", "reference/rootml/"),
        ("cutflow", "guide/reading/"),
        ("RDataLoader", "guide/moving/"),
        ("MissingElementError", "errors/"),
    ],
)
def test_search_finds(browser: Browser, address: tuple[str, Path], words: str, place: str) -> None:
    visit = Visit(browser, address[0])
    visit.go("")
    visit.page.locator("input.md-search__input").click()
    visit.page.keyboard.type(words, delay=5)
    # while words are typed the list changes: wait for a section of the place, with words to mark
    link = visit.page.locator(f"a.md-search-result__link[href*='/{place}'][href*='#']").first
    link.wait_for(state="attached", timeout=20_000)
    visit.page.goto(str(link.evaluate("link => link.href")))
    visit.page.locator("article mark").first.wait_for(state="attached", timeout=20_000)
    assert visit.problems == []


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("FAQ", "guide/faq/"),
        ("GPU", "guide/faq/"),
        ("early stopping", "guide/recipes/"),
        ("ROC", "guide/plots/"),
        ("pandas", "guide/faq/"),
        ("shuffle", "guide/tuning/"),
        ("install", "install/"),
        ("negative weights", "guide/bdt/"),
        ("systematics", "guide/ratios/"),
        ("friend tree", "guide/reading/"),
        ("checkpoint", "guide/recipes/"),
        ("dask", "guide/dask/"),
        ("jagged", "guide/batches/"),
    ],
)
def test_search_shows_the_right_page_first(
    browser: Browser, address: tuple[str, Path], words: str, place: str
) -> None:
    visit = Visit(browser, address[0])
    visit.go("")
    visit.page.locator("input.md-search__input").click()
    visit.page.keyboard.type(words, delay=5)
    from playwright.sync_api import expect

    first = visit.page.locator("li.md-search-result__item a.md-search-result__link").first
    expect(first).to_have_attribute("href", re.compile(re.escape(place)), timeout=20_000)


def test_dark_mode_is_dark_and_readable(browser: Browser, address: tuple[str, Path]) -> None:
    """By the system's choice; the picture of the architecture follows."""
    light, dark = (Visit(browser, address[0], scheme=scheme) for scheme in ("light", "dark"))
    for visit in (light, dark):
        visit.go("design/")
    background = [luminance(visit, "body", "backgroundColor") for visit in (light, dark)]
    assert background[0] > 0.9
    assert background[1] < 0.2
    for element, style in (("article p", "color"), ("svg.architecture text", "fill")):
        text = [luminance(visit, element, style) for visit in (light, dark)]
        assert text[0] < 0.35, element
        assert text[1] > 0.5, element
    assert light.problems + dark.problems == []


def luminance(visit: Visit, element: str, style: str) -> float:
    """From 0 (black) to 1 (white), as a browser computes the colour of an element."""
    script = f"getComputedStyle(document.querySelector('{element}')).{style}"
    color = visit.page.evaluate(
        f"""() => {{
            const context = document.createElement('canvas').getContext('2d');
            context.fillStyle = getComputedStyle(document.body).backgroundColor;
            context.fillRect(0, 0, 1, 1);
            context.fillStyle = {script};
            context.fillRect(0, 0, 1, 1);
            return Array.from(context.getImageData(0, 0, 1, 1).data);
        }}"""
    )
    red, green, blue, _ = color
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


def test_menu_opens_on_a_narrow_screen(browser: Browser, address: tuple[str, Path]) -> None:
    visit = Visit(browser, address[0])
    visit.page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    visit.go("guide/batches/")
    entry = visit.page.locator(".md-nav--primary a", has_text="Morphing").first
    assert not entry.is_visible() or entry.bounding_box()["x"] < 0  # type: ignore[index]
    visit.page.locator("label.md-header__button[for='__drawer']").first.click()
    entry.wait_for(state="visible")
    entry.click()
    visit.page.wait_for_url("**/guide/morphing/")
    assert visit.problems == []
