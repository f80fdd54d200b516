"""One Chromium for each file of browser tests, and pages in it that must have had nothing to complain of."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.browsing import Complaints, Launch, chromium

WAIT_MS = 240_000
"""How long a page waits for anything: other tests run beside it."""
OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """Starts browsers, with other flags where a test wants them; per file, since playwright keeps its loop running."""
    expect.set_options(timeout=WAIT_MS)
    with chromium() as starter:
        yield starter


@pytest.fixture(scope="module")
def browser(launch: Launch) -> Browser:
    """A browser that draws volumes."""
    return launch()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages, each with cookies of its own; afterwards none may have had an error or broken the policy."""
    opened: list[tuple[Page, Complaints]] = []

    def open_one(width: int = 1366, height: int = 768, state: StorageState | None = None) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, storage_state=state)
        context.set_default_timeout(WAIT_MS)
        page, complaints = context.new_page(), Complaints()
        complaints.listen(page)
        opened.append((page, complaints))
        return page

    yield open_one
    said = [complaint for page, complaints in opened for complaint in complaints.of(page)]
    for page, _ in opened:
        page.context.close()
    assert said == []
