"""A page that lies open keeps nobody signed in: what each script asks for by itself is not taken for a person."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, Response, Route

from dicom_node.settings.config import read_settings
from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.rights import PageRole
from dicom_node.web.app import create_app
from tests.browser.browsing import NO_WEBGL, chromium, served
from tests.browser.conftest import WAIT_MS
from tests.dicom_node.web.conftest import PASSWORD, SITE
from tests.dicom_node.web.today.made_cases import WAITING, write_case
from tests.finished_jobs import write_rows

_AGAIN_MS = 300
"""So soon a browser asks again for a stream that has ended."""


class Clock:
    """Monotonic time that the test turns."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Node:
    """A served page whose sessions go by the clock of the test."""

    app: FastAPI
    address: str
    clock: Clock
    case_id: str
    """Of a case that waits to be read."""

    @property
    def idle_s(self) -> float:
        """Who does nothing for so long is signed out."""
        return float(self.app.state.node.settings.web.session_idle_s)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder, clock = tmp_path_factory.mktemp("node"), Clock()
    (folder / "site.toml").write_text(SITE)
    settings = read_settings(folder / "site.toml")
    case = write_case(settings.cases(), WAITING)
    write_rows(settings.data_dir, {f"{case.case_id}:1:read:1": None})
    Accounts.under(settings.data_dir).add("ada", PageRole.ADMINISTRATOR, PASSWORD, "2026-11-26")
    app = create_app(settings)
    with pytest.MonkeyPatch.context() as patched, served(app) as address:
        patched.setattr(app.state.sign_in.sessions, "_clock", clock)
        yield Node(app, address, clock, case.case_id)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launch:
        yield launch(*NO_WEBGL)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context()
    opened.set_default_timeout(WAIT_MS)
    yield opened
    for page in opened.pages:
        page.unroute_all(behavior="ignoreErrors")
    opened.close()


def _events_say(kind: str) -> Callable[[Page], None]:
    """Let a page hear an event again and again."""

    def prepare(page: Page) -> None:
        body = f"retry: {_AGAIN_MS}\nevent: {kind}\ndata: {{}}\n\n"
        page.route("**/api/v1/events*", lambda route: route.fulfill(content_type="text/event-stream", body=body))

    return prepare


def _asking_goes_on(page: Page) -> None:
    """Let a page hear that peers have still to answer."""

    def answer(route: Route) -> None:
        said = route.fetch()
        if said.ok and route.request.method == "GET":
            route.fulfill(response=said, json=said.json() | {"is_open": True})
        else:
            route.fulfill(response=said)

    page.route("**/api/v1/echo*", answer)


@dataclass(frozen=True)
class Script:
    """One thing that a script asks for without anybody."""

    path: str
    """Of the page."""
    asks: str
    prepare: Callable[[Page], None] = lambda page: None
    begin: str = ""
    """Button that starts it."""


SCRIPTS = {
    "the state of the node": Script("/", "/today/node", _events_say("node")),
    "the list, read anew": Script("/", "/", _events_say("reset")),
    "where a case stands": Script("/cases/{case}", "/api/v1/cases/{case}/standing"),
    "new lines of the log": Script("/tools/log", "/api/v1/log"),
    "peers that have not answered": Script("/tools/echo", "/api/v1/echo", _asking_goes_on, "Ask all"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_open_page_expires(node: Node, context: BrowserContext, name: str) -> None:
    script, page = SCRIPTS[name], context.new_page()
    asked = script.asks.format(case=node.case_id)

    def is_own(answer: Response, *, ok: bool) -> bool:
        is_asked = urlsplit(answer.url).path == asked and answer.request.method == "GET"
        return is_asked and answer.request.resource_type == "fetch" and (answer.status == 200) is ok

    sign_in(page, node)
    script.prepare(page)
    with page.expect_response(lambda answer: is_own(answer, ok=True)):
        page.goto(node.address + script.path.format(case=node.case_id))
        if script.begin:
            page.get_by_role("button", name=script.begin).click()
    with page.expect_response(lambda answer: is_own(answer, ok=True)):
        node.clock.now_s += 0.6 * node.idle_s
    with page.expect_response(lambda answer: is_own(answer, ok=False)):
        node.clock.now_s += 0.6 * node.idle_s


def test_a_browser_asks_for_the_stream_and_nothing_else(node: Node, context: BrowserContext) -> None:
    """It is how the entrance knows that nobody does anything: an `EventSource` carries no header of ours."""
    page = context.new_page()
    sign_in(page, node)
    with page.expect_request("**/api/v1/events*") as asked:
        page.goto(node.address)
    assert asked.value.all_headers()["accept"] == "text/event-stream"


def sign_in(page: Page, node: Node) -> None:
    """Sign in at the form; the first page is quiet."""
    page.goto(f"{node.address}/sign-in?next=/tools/help")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/tools/help")
