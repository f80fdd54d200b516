"""A day at the page with the real node behind it: a CT comes in, is looked at, decided, delivered, and rated."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from dicom_node.jobs.attempts import Case, CaseState
from dicom_node.jobs.cases import CaseFolder
from dicom_node.results.result_files import read_ct, read_result
from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.rights import PageRole
from dicom_node.web.viewer.view_facts import MAP_OPACITY, shown_table
from inference.phantom.build import varied
from tests.browser.conftest import WAIT_MS, OpenPage
from tests.browser.node_with_page import NodeWithPage, fill_in, node_with_page, thorax_of
from tests.browser.test_viewer import Shown
from tests.dicom_node.web.conftest import PASSWORD
from tests.dicom_node.web.test_web_process import running, site
from tests.finished_jobs import write_rows
from tests.peers import Orthanc, eventually, free_port, orthanc, storescu
from tests.running_node import CASE_LIMIT_S

APPROVER, VIEWER = "Ada Byron", "Vic Look"
HOSTILE = "<script>window.hit=1</script>"
HOSTILE_SHOWN = "<script>window.hit (1</script>)"
"""To DICOM, = divides a name from the same one in another script (PS3.5 6.2.1)."""
HOSTILE_ID = "<img src=x onerror=hit=1>"


@dataclass(frozen=True, slots=True)
class Day:
    """A node that holds what it makes, and the archive that it is made for."""

    served: NodeWithPage
    pacs: Orthanc
    files: Path

    def send(self, name: str, patient_id: str, number: int) -> None:
        """Send the CT of an invented patient as a scanner does."""
        files = thorax_of(name, patient_id, self.files / str(number), build=varied(number))
        told = storescu(self.served.node.address, files)
        assert told.returncode == 0, told.stderr

    def archived(self, patient_id: str) -> set[str]:
        """SOP Instance UIDs that the archive has of a patient."""
        query = {"Level": "Instance", "Query": {"PatientID": patient_id}}
        found = self.pacs.post("/tools/find", query)
        return {self.pacs.get(f"/instances/{name}")["MainDicomTags"]["SOPInstanceUID"] for name in found}

    def case(self, case_id: str) -> Case:
        return next(case for case in self.served.node.cases() if case.case_id == case_id)

    def folder(self, case_id: str) -> CaseFolder:
        return self.served.node.folder_of(self.case(case_id))

    def decisions(self, case_id: str) -> list[dict[str, Any]]:
        """What was decided, as `perfnode show` says."""
        told = self.served.node.perfnode("show", case_id, "--json")
        assert told.returncode == 0, told.stderr
        found: list[dict[str, Any]] = json.loads(told.stdout)["decisions"]
        return found

    def becomes(self, case_id: str, state: CaseState) -> None:
        """Wait until a case is in a state."""
        assert eventually(lambda: self.case(case_id).state is state, CASE_LIMIT_S), self.served.node.log()


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("day")
    with (
        orthanc(folder / "pacs") as pacs,
        node_with_page(folder / "node", [pacs.address], orders=['mode = "hold"\nverify = "none"']) as served,
    ):
        served.add_person(APPROVER, PageRole.APPROVER)
        served.add_person(VIEWER, PageRole.VIEWER)
        yield Day(served, pacs, folder / "files")


@pytest.fixture(scope="module")
def held(day: Day) -> str:
    """Id of a held case whose patient has names that are markup."""
    before = {case.case_id for case in day.served.node.cases()}
    day.send(HOSTILE, HOSTILE_ID, 3)

    def new() -> list[Case]:
        return [case for case in day.served.node.cases() if case.case_id not in before]

    assert eventually(lambda: any(case.is_finished for case in new()), CASE_LIMIT_S), day.served.node.log()
    (case,) = new()
    return case.case_id


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """A page at which nobody has signed in; it must have nothing to complain of."""
    return open_page()


def row_of(page: Page, patient_id: str) -> Locator:
    return page.locator("#cases tr", has=page.get_by_role("cell", name=patient_id, exact=True))


def watch_states(page: Page, patient_id: str) -> None:
    """Note from now on every state and step that the list shows of the case of a patient."""
    page.evaluate(
        """(patient) => {
          window.noted = [];
          const list = document.getElementById("cases");
          const said = (row, name) => row.querySelector(`[data-field=${name}]`).textContent;
          const note = () => { for (const row of list.rows) {
            if (said(row, "patient_id") === patient) window.noted.push([said(row, "state"), said(row, "doing")]);
          } };
          new MutationObserver(note).observe(list, { subtree: true, childList: true, characterData: true });
        }""",
        patient_id,
    )


def comes_in(day: Day, page: Page, name: str, patient_id: str, number: int) -> str:
    """Send a CT while the list is open; it must appear there and come to wait for a person. The id of its case."""
    expect(page.locator("#live")).to_contain_text("Live", timeout=WAIT_MS)
    watch_states(page, patient_id)
    day.send(name, patient_id, number)
    row = row_of(page, patient_id)
    expect(row.locator('[data-field="state"]')).to_have_text("HELD", timeout=WAIT_MS)
    noted = page.evaluate("window.noted")  # gone, had the page been loaded anew
    assert [noted[0][0], noted[-1][0]] == ["PROCESSING", "HELD"]
    assert len({step for state, step in noted if state == "PROCESSING"}) > 1
    return (row.get_attribute("id") or "").removeprefix("case-")


def focused(page: Page) -> str:
    """What a screen reader would call the focused element."""
    return str(
        page.evaluate("""() => { const e = document.activeElement;
          return (e.ariaLabel || e.labels?.[0]?.textContent || e.textContent || "").trim(); }""")
    )


def tab_to(page: Page, name: str) -> None:
    """Press the tab key until something of this name has the focus."""
    for _ in range(300):
        page.keyboard.press("Tab")
        if focused(page).startswith(name):
            return
    raise AssertionError(f"no way by the tab key to {name!r}")


def test_everything_is_done_by_keyboard_and_what_is_released_arrives(day: Day, page: Page) -> None:
    page.goto(day.served.address)
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type(APPROVER.lower())
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{day.served.address}/")
    case_id = comes_in(day, page, "Lindqvist^Per", "4711-1", 1)
    tab_to(page, "Lindqvist")
    page.keyboard.press("Enter")
    page.wait_for_selector('section.viewer[data-ready="all"]')
    look_by_keyboard(page)

    tab_to(page, "Release")
    page.keyboard.press("Enter")
    page.wait_for_url("**/decide/release")
    expect(page.get_by_role("heading", name="Is this what you want?")).to_be_visible()
    assert day.archived("4711-1") == set()
    assert day.case(case_id).state is CaseState.HELD
    tab_to(page, "Reason")
    page.keyboard.type("looked at on three planes")
    tab_to(page, "Release")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/cases/{case_id}#decisions")
    day.becomes(case_id, CaseState.DELIVERED)
    (decision,) = day.decisions(case_id)
    assert day.archived("4711-1") == {uid for uids in decision["objects"].values() for uid in uids} != set()

    page.keyboard.press("F5")
    rate_by_keyboard(page)
    said = page.locator("#decisions")
    expect(said).to_contain_text(f"Release by {APPROVER} (approver), {decision['at'][:10]}")
    expect(said).to_contain_text("looked at on three planes")
    expect(said).to_contain_text(f"Minor changes, 12.5 min, by {APPROVER} (approver)")
    expect(said).to_contain_text("the border at the hilum")
    tab_to(page, "Sign out")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-in")
    page.goto(f"{day.served.address}/cases/{case_id}")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def look_by_keyboard(page: Page) -> None:
    """Go through slices and planes."""
    tab_to(page, "CT and perfusion map in three planes")
    first = page.inner_text('[data-show="slice"]')
    page.keyboard.press("ArrowUp")
    expect(page.locator('[data-show="slice"]')).not_to_have_text(first)
    page.keyboard.press("2")
    expect(page.get_by_role("radio", name="Coronal")).to_be_checked()


def rate_by_keyboard(page: Page) -> None:
    """Say on the page of a delivered case that there were small changes."""
    tab_to(page, "Rate the result")
    page.keyboard.press("Enter")
    page.wait_for_url("**/rate")
    tab_to(page, "nothing")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "minor changes"
    tab_to(page, "Minutes")
    page.keyboard.type("12.5")
    tab_to(page, "In your words")
    page.keyboard.type("the border at the hilum")
    tab_to(page, "Keep the rating")
    page.keyboard.press("Enter")
    page.wait_for_url("**#decisions")


def test_the_map_lies_where_it_belongs_and_what_is_rejected_does_not_arrive(day: Day, page: Page) -> None:
    day.served.sign_in(page, APPROVER)
    case_id = comes_in(day, page, "Moreau^Jeanne", "4711-2", 2)
    page.goto(f"{day.served.address}/cases/{case_id}/viewer")
    page.wait_for_selector('section.viewer[data-ready="all"]')
    low, high = (looked_at_and_wanted(Shown(page), day.folder(case_id), share) for share in (0.1, 0.9))
    for seen, wanted in (low, high):
        assert seen == pytest.approx(wanted, abs=8)
    assert np.abs(low[0] - high[0]).max() > 20

    page.goto(f"{day.served.address}/cases/{case_id}")
    page.get_by_role("link", name="Reject").click()
    page.get_by_role("button", name="Reject").click()  # without a reason nothing is sent
    assert page.get_by_label("Reason").evaluate("field => !field.validity.valid")
    page.get_by_label("Reason").fill("planned on another series")
    page.get_by_role("button", name="Reject").click()
    page.wait_for_url(f"**/cases/{case_id}#decisions")
    day.becomes(case_id, CaseState.DISCARDED)
    page.reload()
    expect(page.locator("#decisions")).to_contain_text(f"Reject by {APPROVER} (approver)")
    expect(page.locator("#decisions")).to_contain_text("planned on another series")
    assert day.archived("4711-2") == set()
    page.get_by_role("link", name="Today").click()
    expect(row_of(page, "4711-2").locator('[data-field="state"]')).to_have_text("DISCARDED")


def looked_at_and_wanted(view: Shown, folder: CaseFolder, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Colour on the screen at a place of the lung, and what the files of the result want there.

    Args:
        view: the viewer.
        folder: of the case.
        share: of the lung has a smaller value than the place; of all such places it is the most even one.
    """
    result, hu = read_result(folder.result), read_ct(folder.ct).hu
    values = result.perfusion.values
    index = even_place(values, result.lobes.labels > 0, hu, share)
    x, y = shown_at(view, index, result.perfusion.grid.to_patient_mm(np.array(index, float)))
    seen = view.picture()[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].mean(axis=(0, 1))
    grey = 255 * np.clip((hu[index] + 1350) / 1500, 0, 1)
    colour = np.array(shown_table()[min(round(float(values[index]) / 2.0 * 255), 255)])
    return seen, MAP_OPACITY * colour + (1 - MAP_OPACITY) * grey


def even_place(values: np.ndarray, lungs: np.ndarray, hu: np.ndarray, share: float) -> tuple[int, int, int]:
    """The voxel of the lung with about this share below it whose surroundings in its slice differ least from it."""
    wanted = np.quantile(values[lungs], (share - 0.05, share + 0.05))
    unevenness = np.zeros(values.shape)
    for array, scale in ((values, 1.0), (hu, 0.002)):
        for axis in (1, 2):
            for step in (-1, 1):
                unevenness = np.maximum(unevenness, scale * np.abs(np.roll(array, step, axis) - array))
    fits = lungs & (values > wanted[0]) & (values < wanted[1])
    place = np.unravel_index(np.argmin(np.where(fits, unevenness, np.inf)), values.shape)
    return int(place[0]), int(place[1]), int(place[2])


def shown_at(view: Shown, index: tuple[int, int, int], mm: np.ndarray) -> tuple[float, float]:
    """Where in the stage a voxel lies in an axial slice; found by clicks and what they say of their position."""
    page = view.page
    page.check('[name="viewer-plane"][value="axial"]')
    for name, wanted in (("alone", True), ("lobes", False), ("regions", False)):
        page.set_checked(f'[data-control="{name}"]', wanted)
    page.fill('[data-control="slice"]', str(index[0] + 1))
    view.settle()
    box = page.locator(".viewer-stage").bounding_box()
    assert box is not None
    start, spot = (np.array([box["width"], box["height"]]) * part for part in (0.4, 0.6))
    first, at = position_after_click(view, start), position_after_click(view, spot)
    pixels_per_mm = (spot - start) / (at - first)
    for _ in range(20):
        if np.abs(mm[:2] - at).max() < 0.5:
            break
        spot = spot + (mm[:2] - at) * pixels_per_mm
        at = position_after_click(view, spot)
    assert view.position() == pytest.approx(tuple(mm), abs=0.6)
    position_after_click(view, spot + 40)  # the cross-hair away from what is looked at
    return float(spot[0]), float(spot[1])


def position_after_click(view: Shown, spot: np.ndarray) -> np.ndarray:
    """Left-right and front-back position in mm of what was clicked at."""
    view.click(float(spot[0]), float(spot[1]))
    return np.array(view.position()[:2])


def test_a_name_that_is_markup_is_shown_as_text_everywhere(day: Day, held: str, page: Page) -> None:
    day.served.sign_in(page, APPROVER)
    case = f"/cases/{held}"
    for path in ("/", case, f"{case}/viewer", f"{case}/decide/release", f"{case}/rate", f"/?q={HOSTILE_ID}"):
        page.goto(day.served.address + path)
        if path != f"{case}/viewer":
            expect(page.get_by_text(HOSTILE_SHOWN).first).to_be_visible()
            expect(page.get_by_text(HOSTILE_ID).first).to_be_visible()
        else:
            page.wait_for_selector('section.viewer[data-ready="all"]')
        assert page.evaluate("window.hit") is None, path
    for kind in (
        "summary.png",
        "summary.pdf",
    ):  # asked for and not shown: Chromium's own page round them has inline style
        answer = page.request.get(f"{day.served.address}{case}/{kind}")
        assert answer.headers["content-type"] in ("image/png", "application/pdf")
        assert answer.body()[:4] in (b"\x89PNG", b"%PDF")


def test_a_viewer_sees_no_names_and_decides_nothing(day: Day, held: str, page: Page) -> None:
    day.served.sign_in(page, VIEWER)
    case = f"/cases/{held}"
    for path in ("/", case, f"{case}/viewer"):
        page.goto(day.served.address + path)
        expect(page.get_by_text(held[:8]).first).to_be_attached()
        shown = page.content()
        for word in ("window.hit", "onerror", "Lung, planning"):
            assert word not in shown, path
    page.goto(day.served.address + case)
    for name in ("Release", "Reject", "Rate the result", "Run again"):
        assert page.get_by_role("link", name=name).count() == 0
    assert page.locator("#decisions form").count() == 0
    for action in ("decide/release", "decide/reject", "rate"):
        answer = page.request.get(f"{day.served.address}{case}/{action}")
        assert answer.status == 403
        assert "window.hit" not in answer.text()


def test_a_form_with_a_wrong_token_changes_nothing(day: Day, held: str, page: Page) -> None:
    day.served.sign_in(page, APPROVER, f"/cases/{held}/decide/release")
    page.locator('main input[name="csrf"]').evaluate("(field) => { field.value = '0'.repeat(64); }")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        page.locator("main").get_by_role("button", name="Release").click()
    assert answered.value.status == 403
    expect(page.locator("main")).to_contain_text("REQUEST_REFUSED")
    assert day.case(held).state is CaseState.HELD
    assert day.decisions(held) == []


def test_who_has_done_nothing_for_long_signs_in_and_is_back_where_they_were(page: Page, tmp_path: Path) -> None:
    write_rows(tmp_path / "data", {})
    Accounts.under(tmp_path / "data").add(APPROVER, PageRole.APPROVER, PASSWORD, "2026-11-26")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with running(site(tmp_path, port, "session_idle_minutes = 0.2")):
        page.goto(f"{address}/?state=HELD")
        fill_in(page, APPROVER)
        expect(page.locator("#live")).to_contain_text("Your session has ended.")
        page.get_by_role("link", name="Read the page anew").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        fill_in(page, APPROVER)
        page.wait_for_url(f"{address}/?state=HELD")
        expect(page.get_by_role("heading", name="Today")).to_be_visible()
