"""Every page that the operator's page has, in the state in which a person meets it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect

from dicom_node.web.access.rights import PageRole
from tests.dicom_node.web.case import stories
from tests.small_ct import small_ct, write_file

Step = Callable[[Page, Path], None]
"""What a person does there; the folder is for files."""


def _nothing(page: Page, folder: Path) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Scene:
    """One page."""

    name: str
    path: str
    role: PageRole | None = PageRole.ADMINISTRATOR
    """Of who is signed in; None for nobody."""
    step: Step = _nothing
    status: int = 200
    """Of HTTP, before the step."""

    def show(self, page: Page, address: str, folder: Path) -> None:
        """Go there, and wait until all of it is shown."""
        answer = page.goto(address + self.path)
        assert answer is not None
        assert answer.status == self.status
        if page.locator("section.viewer").count():
            page.wait_for_selector('section.viewer[data-ready="all"]')
        if page.locator("#live").count():
            expect(page.locator("#live")).to_contain_text("Live")
        self.step(page, folder)


def _mistype(page: Page, folder: Path) -> None:
    page.get_by_label("Name").fill("nobody")
    page.get_by_label("Password").fill("a wrong one")
    page.get_by_role("button", name="Sign in").press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()


def _ask_for_help(page: Page, folder: Path) -> None:
    page.get_by_role("button", name="Help").press("Enter")
    expect(page.get_by_role("heading", name="Keys and mouse")).to_be_in_viewport()


def _be_overtaken(page: Page, folder: Path) -> None:
    page.locator('[name="version"]').evaluate("field => { field.value = 'of-then'; }")
    page.get_by_label("Reason").fill("no tumour")
    page.get_by_role("button", name="Reject").press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()


def _try_rules(page: Page, folder: Path) -> None:
    page.get_by_label("DICOM files").set_input_files(write_file(folder, small_ct()))
    page.get_by_role("button", name="Try", exact=True).press("Enter")
    expect(page.locator("#trial-result table").first).to_be_visible()


def _ask_peers(page: Page, folder: Path) -> None:
    page.get_by_role("button", name="Ask all").press("Enter")
    expect(page.locator("#echo-state")).to_have_text("0 of 1 asked are there")


def _look_up(page: Page, folder: Path) -> None:
    page.get_by_label("or case").fill(stories.DELIVERED)
    page.get_by_role("button", name="Show messages").press("Enter")
    expect(page.get_by_role("heading", name="messages")).to_be_visible()


def _decide_on_series(page: Page, folder: Path) -> None:
    page.get_by_role("link", name="Decide…").press("Enter")
    expect(page.get_by_label("Reason")).to_be_visible()


SCENES = (
    Scene("sign-in", "/sign-in", None),
    Scene("sign-in-refused", "/sign-in", None, _mistype),
    Scene("today", "/"),
    Scene("today-of-viewer", "/", PageRole.VIEWER),
    Scene("today-searched", "/?q=Ottilie&state=HELD"),
    Scene("case-delivered", f"/cases/{stories.DELIVERED}"),
    Scene("case-failed-of-viewer", f"/cases/{stories.FAILED}", PageRole.VIEWER),
    Scene("case-held", f"/cases/{stories.HELD}", PageRole.APPROVER),
    Scene("case-rejected", f"/cases/{stories.REJECTED}"),
    Scene("case-under-way", f"/cases/{stories.HALF_DONE}"),
    Scene("viewer", f"/cases/{stories.DELIVERED}/viewer"),
    Scene("viewer-help", f"/cases/{stories.DELIVERED}/viewer", step=_ask_for_help),
    Scene("release", f"/cases/{stories.HELD}/decide/release"),
    Scene("run-again", f"/cases/{stories.HELD}/decide/rerun"),
    Scene("priority", f"/cases/{stories.HALF_DONE}/decide/priority"),
    Scene("reject-overtaken", f"/cases/{stories.HELD}/decide/reject", step=_be_overtaken),
    Scene("rating", f"/cases/{stories.DELIVERED}/rate"),
    Scene("series", "/", step=_decide_on_series),
    Scene("rules", "/tools/rules", step=_try_rules),
    Scene("echo", "/tools/echo", step=_ask_peers),
    Scene("charts", "/tools/charts"),
    Scene("models", "/tools/models"),
    Scene("shadow", "/tools/models/shadow"),
    Scene("model-unknown", "/tools/models/nothing", status=404),
    Scene("audit", "/tools/audit", step=_look_up),
    Scene("configuration", "/tools/configuration"),
    Scene("log", "/tools/log"),
    Scene("help", "/tools/help"),
    Scene("not-found", "/nowhere", status=404),
    Scene("case-absent", "/cases/0000000000000009", status=404),
    Scene("not-allowed", "/tools/log", PageRole.VIEWER, status=403),
)
