"""Every page for everybody: for a screen reader, without a mouse, on a narrow screen, with large letters."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, ViewportSize, expect

from dicom_node.web.access.rights import PageRole
from dicom_node.web.app import create_app
from inference.phantom.thorax import DigitalThorax
from tests.browser.browsing import served
from tests.browser.conftest import WAIT_MS, OpenPage
from tests.browser.furnished_node import furnish
from tests.browser.node_with_page import fill_in
from tests.browser.scenes import SCENES, Scene
from tests.dicom_node.web.case.stories import DELIVERED
from tests.peers import eventually
from tests.viewers.node import packages

PROBES = (Path(__file__).parent / "probes.js").read_text()
SERIOUS = ("serious", "critical")
SIZES: dict[str, ViewportSize] = {
    "desk": {"width": 1366, "height": 768},
    "enlarged": {"width": 683, "height": 384},
    "phone": {"width": 390, "height": 844},
}
"""Of screens; `enlarged` is what is left of the first when everything is shown twice as large."""
BY_SCHEME = ["color-contrast", "link-in-text-block"]
BY_SIZE = ["scrollable-region-focusable", "target-size"]


@dataclass(frozen=True, slots=True)
class Site:
    """A served page, and the cookies of somebody of each role."""

    address: str
    signed_in: dict[PageRole | None, StorageState | None]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, thorax: DigitalThorax, browser: Browser) -> Iterator[Site]:
    settings = furnish(tmp_path_factory.mktemp("furnished"), thorax)
    with served(create_app(settings)) as address:
        states: dict[PageRole | None, StorageState | None] = {None: None}
        for role in (PageRole.VIEWER, PageRole.APPROVER, PageRole.ADMINISTRATOR):
            states[role] = _sign_in(browser, address, role)
        yield Site(address, states)


def _sign_in(browser: Browser, address: str, role: PageRole) -> StorageState:
    with browser.new_context() as context:
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto(f"{address}/tools/help")
        fill_in(page, f"{role}-1")
        page.wait_for_url("**/tools/help")
        assert eventually(lambda: not context.request.get(f"{address}/api/v1/node").json()["is_filling"], 120.0), (
            "the list of cases is not read"
        )
        return context.storage_state()


@dataclass(frozen=True, slots=True)
class Shown:
    """A scene in the browser."""

    page: Page

    def probe(self, call: str) -> Any:
        return self.page.evaluate(f"() => probes.{call}")

    def violations(self, options: dict[str, Any]) -> list[str]:
        """What axe-core finds that is serious, with the element."""
        found = self.page.evaluate("options => axe.run(document, options)", options | {"resultTypes": ["violations"]})
        return [
            f"{fault['id']}: {node['target']} {node['failureSummary']}"
            for fault in found["violations"]
            if fault["impact"] in SERIOUS
            for node in fault["nodes"]
        ]

    def tabbed(self) -> list[dict[str, Any]]:
        """What the tab key reaches, from the first element of the page until it leaves it or comes round."""
        found: list[dict[str, Any]] = []
        for _ in range(600):
            now = self.probe("focused()")
            if now is None or now["number"] in [stop["number"] for stop in found[:-1]]:
                return found
            if not found or now["number"] != found[-1]["number"]:  # a field for a date is several stops
                found.append(now)
            self.page.keyboard.press("Tab")
        raise AssertionError(f"the tab key does not come round, at last: {found[-3:]}")


@pytest.fixture(params=SCENES, ids=lambda scene: scene.name)
def shown(request: pytest.FixtureRequest, site: Site, open_page: OpenPage, tmp_path: Path) -> Shown:
    scene: Scene = request.param
    page = open_page(state=site.signed_in[scene.role])
    scene.show(page, site.address, tmp_path)
    page.evaluate(PROBES)
    return Shown(page)


def test_axe_finds_nothing_serious(shown: Shown) -> None:
    shown.page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    shown.page.evaluate((packages() / "axe-core" / "axe.min.js").read_text())
    shown.page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    found = shown.violations({"preload": False, "rules": {"target-size": {"enabled": True}}})
    shown.page.emulate_media(color_scheme="light")
    found += shown.violations({"preload": False, "runOnly": BY_SCHEME})
    shown.page.set_viewport_size(SIZES["phone"])
    found += shown.violations({"preload": False, "runOnly": BY_SIZE})
    assert found == []


def test_the_tab_key_reaches_everything_in_order_and_shows_where_it_is(shown: Shown) -> None:
    wanted = shown.probe("stops()")
    shown.page.evaluate("document.querySelector('[data-stop=\"0\"]').focus()")
    stops = shown.tabbed()
    assert [stop["name"] for stop in stops] == wanted
    assert [stop["number"] for stop in stops] == list(range(len(wanted)))
    assert [stop for stop in stops if stop["faults"]] == []
    if not shown.page.locator("dialog[open]").count():
        assert stops[0]["name"].startswith("a.skip")
        leads_past_the_menu(shown.page)


def test_a_dialog_gives_the_focus_back(site: Site, open_page: OpenPage) -> None:
    page = open_page(state=site.signed_in[PageRole.ADMINISTRATOR])
    Scene("viewer", f"/cases/{DELIVERED}/viewer").show(page, site.address, Path())
    for opener, key in (('[data-control="help"]', "Enter"), (".viewer-stage", "?")):
        for closing in ("Escape", "Enter"):  # the latter on its only button
            page.focus(opener)
            page.keyboard.press(key)
            expect(page.locator("dialog[open] button")).to_be_focused()
            page.keyboard.press(closing)
            expect(page.locator(opener)).to_be_focused()


def test_an_answer_that_says_the_same_leaves_the_focus_where_it_is(site: Site, open_page: OpenPage) -> None:
    page = open_page(state=site.signed_in[PageRole.ADMINISTRATOR])
    echo = next(scene for scene in SCENES if scene.name == "echo")
    echo.show(page, site.address, Path())
    link = page.locator('[data-cell="reason"] a')
    link.focus()
    with page.expect_response("**/api/v1/echo*"):
        page.evaluate("document.querySelector('button[data-ask]').click()")
    expect(page.locator("#echo-state")).to_have_text("0 of 1 asked are there")
    expect(link).to_be_focused()


def leads_past_the_menu(page: Page) -> None:
    """The first stop of a page is a link to its content."""
    page.focus(".skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.closest('body > header') !== null")


def test_it_fits_on_every_screen(shown: Shown) -> None:
    found = []
    for name, size in SIZES.items():
        shown.page.set_viewport_size(size)
        shown.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        faults = [shown.probe(probe) for probe in ("tooWide()", "cutWords()", "highBars()")]
        faults.append(shown.probe(f"smallTargets({44 if name == 'phone' else 24})"))
        found += [f"{name}: {fault}" for part in faults for fault in part]
    assert found == []
