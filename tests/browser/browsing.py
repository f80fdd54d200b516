"""A real browser (Debian's Chromium) and a real server on loopback for tests of the page."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.peers import program

SOFTWARE_WEBGL = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-compositing",
)
"""WebGL 2 on a machine without a graphics processor."""
NO_WEBGL = ("--no-sandbox", "--disable-gpu", "--disable-3d-apis")
_LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The application behind a real server; its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


Launch = Callable[..., Browser]


@contextmanager
def chromium() -> Iterator[Launch]:
    """Starts browsers without a window, with flags or those for WebGL; skipped where there is none.

    Once at a time: playwright has one loop in a thread.
    """
    path = program("chromium")
    with sync_playwright() as playwright, ExitStack() as opened:

        def launch(*flags: str) -> Browser:
            browser = playwright.chromium.launch(executable_path=path, args=list(flags or SOFTWARE_WEBGL))
            opened.callback(browser.close)
            return browser

        yield launch


@dataclass(slots=True)
class Complaints:
    """What a page complained of, but that a page itself was refused, which whoever looks at it sees."""

    said: list[str] = field(default_factory=list)
    _console: list[tuple[str, str]] = field(default_factory=list)
    """Address and words."""
    _pages: set[str] = field(default_factory=set)
    """Addresses gone to."""

    def listen(self, page: Page) -> None:
        """Note errors from now on; before the page is opened."""
        page.add_init_script(_LISTEN)
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("console", lambda told: self._note(told))  # a method of a class with slots cannot be marked
        page.on("request", lambda asked: self._pages.add(asked.url) if asked.is_navigation_request() else None)

    def _note(self, told: ConsoleMessage) -> None:
        if told.type == "error":
            self._console.append((told.location["url"], told.text))

    def of(self, page: Page) -> list[str]:
        """All complaints, with what the content security policy stopped."""
        refused = "Failed to load resource"
        console = [text for url, text in self._console if not (text.startswith(refused) and url in self._pages)]
        violations = [f"policy: {violation}" for violation in page.evaluate("window.violations")]
        return self.said + [f"console: {text}" for text in console] + violations
