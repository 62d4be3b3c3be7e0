"""A real browser, and a page that fails its test on anything that goes wrong in the console."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, ViewportSize, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = ViewportSize(width=1200, height=860)
PHONE = ViewportSize(width=360, height=740)


# For this package only: other tests must not find a running event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        message = f"{CHROMIUM} is not installed; the browser tests need it"
        if os.environ.get("PAYWINDOW_REQUIRE_TOOLS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    # Playwright runs an event loop in this thread as long as it is open, and Django takes that for asynchronous code.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    try:
        with sync_playwright() as playwright:
            yield playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
    finally:
        if before is None:
            del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
        else:
            os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = before


@pytest.fixture(scope="session")
def screenshot_folder(checkout_folder: Path) -> Path:
    folder = checkout_folder / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_page(
    browser: Browser, screenshot_folder: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Page]]:
    """Open pages, each of a visitor of its own. At the end a screenshot of each is kept."""
    pages: list[Page] = []
    complaints: list[str] = []

    def on_page_error(error: Error) -> None:
        complaints.append(f"exception: {error}")

    def open_one(*, viewport: ViewportSize = DESKTOP, expected_complaints: str | None = None) -> Page:
        # A browser reports every request that fails, also one that a test made fail on purpose.
        def on_console(entry: ConsoleMessage) -> None:
            is_expected = expected_complaints is not None and expected_complaints in entry.text
            if entry.type in {"error", "warning"} and not is_expected:
                complaints.append(f"{entry.type}: {entry.text}")

        page = browser.new_context(viewport=viewport).new_page()
        page.set_default_timeout(20_000)
        page.on("console", on_console)
        page.on("pageerror", on_page_error)
        pages.append(page)
        return page

    yield open_one
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", request.node.name).strip("-")
    for number, page in enumerate(pages, start=1):
        suffix = f"-{number}" if len(pages) > 1 else ""
        page.screenshot(path=screenshot_folder / f"{name}{suffix}.png", full_page=True)
        page.context.close()
    assert complaints == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()
