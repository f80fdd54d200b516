"""The viewer in a real browser: colours at the right place of the patient, however the series was stored."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from dicom_node.settings.config import NodeSettings, read_settings
from dicom_node.web.access.rights import PageRole
from dicom_node.web.app import create_app
from dicom_node.web.viewer import volumes
from dicom_node.web.viewer.view_facts import MAP_OPACITY, shown_table
from tests.browser.browsing import NO_WEBGL, Complaints, Launch, served
from tests.browser.conftest import WAIT_MS, OpenPage
from tests.dicom_node.web.conftest import SITE, Everybody
from tests.dicom_node.web.viewer.view_cases import (
    BONE_MM,
    COLD,
    COLD_MM,
    HOT,
    HOT_MM,
    LUNG_HU,
    PATIENT,
    STORED,
    USUAL,
    begin_case,
    write_case,
    write_held,
)

LETTERS = {
    "axial": "Axial: R left, L right, A top, P bottom.",
    "coronal": "Coronal: R left, L right, H top, F bottom.",
    "sagittal": "Sagittal: A left, P right, H top, F bottom.",
}
AXES = {"axial": 0, "coronal": 1, "sagittal": 2}
Mm = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Node:
    """A served page."""

    address: str
    settings: NodeSettings
    cases: dict[str, str]
    """Ids of the cases by how they were stored; `unread` has no CT, `plain` no result."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    (folder / "site.toml").write_text(SITE)
    settings = read_settings(folder / "site.toml")
    cases = {stored: write_case(settings, stored) for stored in STORED}
    cases |= {"unread": begin_case(settings), "plain": write_case(settings)}
    cases["plain"].result.unlink()
    write_held(settings.data_dir, *cases.values())
    with served(create_app(settings, people=Everybody(PageRole.VIEWER))) as address:
        yield Node(address, settings, {name: case.case_id for name, case in cases.items()})


Open = Callable[..., "Shown"]


@pytest.fixture
def opened(node: Node, open_page: OpenPage) -> Open:
    """Opens the viewer of a case."""

    def open_case(stored: str = "HFS", width: int = 1366, height: int = 768) -> Shown:
        page = open_page(width, height)
        page.goto(f"{node.address}/cases/{node.cases[stored]}/viewer")
        page.wait_for_selector('section.viewer[data-ready="all"]')
        return Shown(page)

    return open_case


@dataclass(frozen=True, slots=True)
class Shown:
    """A viewer that shows a case."""

    page: Page

    def press(self, *keys: str) -> None:
        self.page.focus(".viewer-stage")
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def text(self, name: str) -> str:
        return self.page.inner_text(f'[data-show="{name}"]')

    def hidden_text(self, name: str) -> str:
        return self.page.text_content(f'[data-show="{name}"]') or ""

    def look_at(self, plane: str, mm: Mm) -> None:
        """One plane alone, without marks, at the slice through a point."""
        self.page.check(f'[name="viewer-plane"][value="{plane}"]')
        for name, wanted in (("alone", True), ("lobes", False), ("regions", False)):
            self.page.set_checked(f'[data-control="{name}"]', wanted)
        index = round(float(PATIENT.to_index(np.array(mm))[AXES[plane]]))
        self.page.fill('[data-control="slice"]', str(index + 1))
        self.settle()

    def picture(self) -> np.ndarray:
        box = self.page.locator(".viewer-stage").bounding_box()
        assert box is not None
        png = self.page.screenshot(clip=box)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)

    def middle_of(self, colour: tuple[float, ...]) -> tuple[float, float] | None:
        """Where a colour is in the stage: x and y of the middle of all such pixels, None if there are few."""
        rows, columns = np.nonzero(np.abs(self.picture() - colour).max(axis=-1) <= 5)
        return (float(columns.mean()), float(rows.mean())) if len(rows) > 300 else None

    def click(self, x: float, y: float) -> None:
        self.page.locator(".viewer-stage").click(position={"x": x, "y": y})
        self.settle()

    def position(self) -> Mm:
        x, y, z = (float(part) for part in self.text("position").removesuffix(" mm").replace("−", "-").split(","))
        return x, y, z


def shown(percent: float, opacity: float = MAP_OPACITY) -> tuple[float, ...]:
    """The colour of the map over lung in the lung window."""
    grey = 255 * (LUNG_HU + 1350) / 1500
    colour = shown_table()[min(round(percent / 200 * 255), 255)]
    return tuple(opacity * part + (1 - opacity) * grey for part in colour)


@pytest.mark.parametrize("stored", STORED)
def test_each_corner_is_shown_where_it_is_in_every_plane(opened: Open, stored: str) -> None:
    view = opened(stored)
    for plane in AXES:
        for mm, percent, lobe in ((HOT_MM, 100 * HOT, "Lung_RUL"), (COLD_MM, 100 * COLD, "Lung_LLL")):
            view.look_at(plane, mm)
            assert view.hidden_text("letters") == LETTERS[plane]
            spot, lungs = view.middle_of(shown(percent)), view.middle_of(shown(100 * USUAL))
            assert spot is not None, (plane, mm)
            assert lungs is not None
            is_hot = mm is HOT_MM
            assert (spot[1] < lungs[1]) is is_hot  # the hot corner is in front and up, the cold one behind and below
            assert (spot[0] < lungs[0]) is is_hot  # and at the patient's right, or in front
            view.click(*spot)
            assert view.position() == pytest.approx(mm, abs=4.1)
            assert view.text("perfusion") == f"{percent:.0f} % of lung mean"
            assert view.text("lobe") == lobe
            assert view.text("hu") == "−800 HU"


@pytest.mark.parametrize("stored", ["HFS", "FFS", "HFDR"])
def test_the_bone_of_the_left_side_is_at_the_left_side(opened: Open, stored: str) -> None:
    view = opened(stored)
    view.page.select_option('[data-control="preset"]', "bone")
    for plane in ("axial", "coronal"):
        view.look_at(plane, BONE_MM)
        view.press("o")
        spot = view.middle_of((255 * (900 + 500) / 1800,) * 3)
        assert spot is not None
        assert spot[0] > 0.5 * view.picture().shape[1]  # where L stands
        view.click(*spot)
        assert view.position() == pytest.approx(BONE_MM, abs=4.1)
        assert view.text("hu") == "900 HU"
        view.press("o")


def test_the_threshold_hides_what_lies_below_it(opened: Open) -> None:
    view = opened()
    view.look_at("axial", COLD_MM)
    assert view.middle_of(shown(100 * COLD)) is not None
    view.press(*["]"] * 10)
    assert view.text("threshold") == "50 %"
    assert view.middle_of(shown(100 * COLD)) is None
    assert view.middle_of(shown(0, 0.0)) is not None  # bare lung there
    assert view.middle_of(shown(100 * USUAL)) is not None
    view.press(*["["] * 10)
    assert view.middle_of(shown(100 * COLD)) is not None


def test_map_and_opacity_follow_keys(opened: Open) -> None:
    view = opened()
    view.look_at("axial", HOT_MM)
    view.press("+", "+")
    assert view.text("opacity") == "70 %"
    assert view.middle_of(shown(100 * HOT, 0.7)) is not None
    view.press("-", "-", "-", "-")
    assert view.middle_of(shown(100 * HOT, 0.5)) is not None
    view.press("o")
    assert view.middle_of(shown(100 * HOT, 0.5)) is None
    view.press("O")
    assert view.middle_of(shown(100 * HOT, 0.5)) is not None


def test_keys_move_slices_and_planes(opened: Open) -> None:
    view = opened()
    first = view.text("slice")
    number = int(first.split()[0])
    view.press("ArrowUp")
    assert view.text("slice") == f"{number + 1} of 40"
    assert view.position()[2] == pytest.approx(-310 + 4 * number)
    view.press("ArrowLeft", "ArrowDown")
    assert view.text("slice") == f"{number - 1} of 40"
    view.press("Home")
    assert view.text("slice") == "1 of 40"
    view.press("PageUp")
    assert view.text("slice") == "11 of 40"
    view.press("End", "ArrowUp")
    assert view.text("slice") == "40 of 40"
    view.press("2")
    assert view.page.is_checked('[name="viewer-plane"][value="coronal"]')
    assert view.hidden_text("letters").startswith(LETTERS["coronal"])
    assert view.text("slice").endswith("of 64")
    view.press("3", "Shift+ArrowRight", "Shift+ArrowUp")
    assert view.hidden_text("letters").startswith(LETTERS["sagittal"])
    view.press("m")
    assert view.hidden_text("letters") == LETTERS["sagittal"]
    view.press("r")
    assert view.text("slice") == first
    assert view.hidden_text("letters") == " ".join(LETTERS.values())


def test_the_slices_that_keys_go_to_are_the_ones_drawn(opened: Open) -> None:
    view = opened()
    view.look_at("axial", HOT_MM)
    assert view.middle_of(shown(100 * HOT)) is not None
    view.press(*["ArrowDown"] * 5)  # the hot corner ends four slices below its middle
    assert view.middle_of(shown(100 * HOT)) is None
    view.press("ArrowUp")
    assert view.middle_of(shown(100 * HOT)) is not None


def test_help_opens_and_closes_by_keys(opened: Open) -> None:
    view = opened()
    view.press("?")
    assert view.page.is_visible(".viewer-help")
    view.page.keyboard.press("Escape")
    assert view.page.is_hidden(".viewer-help")


def test_every_control_is_reached_by_the_tab_key_and_has_a_name(opened: Open) -> None:
    view = opened()
    wanted = view.page.locator(".viewer [data-control]:visible").count()
    view.page.focus('[name="viewer-plane"]:checked')
    seen = set()
    for _ in range(40):
        view.page.keyboard.press("Tab")
        seen.add(view.page.evaluate("document.activeElement.dataset.control ?? document.activeElement.className"))
    assert len(seen & {"alone", "slice", "map", "opacity", "threshold", "lobes", "regions"}) == 7
    assert "viewer-stage" in seen
    assert len([name for name in seen if name]) >= wanted
    for control in view.page.locator(".viewer input, .viewer select, .viewer button").all():
        assert control.evaluate("e => (e.labels?.[0] ?? e).textContent.trim()")


def test_wheel_drag_and_double_click(opened: Open) -> None:
    view = opened()
    box = view.page.locator(".viewer-stage").bounding_box()
    assert box is not None
    x, y = box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"]
    number = int(view.text("slice").split()[0])
    view.page.mouse.move(x, y)
    view.page.mouse.wheel(0, -100)
    view.settle()
    assert view.text("slice") == f"{number + 1} of 40"
    before = view.page.input_value('[data-control="width"]'), view.page.input_value('[data-control="level"]')
    view.page.mouse.down(button="right")
    view.page.mouse.move(x + 50, y + 25)
    view.page.mouse.up(button="right")
    view.settle()
    after = view.page.input_value('[data-control="width"]'), view.page.input_value('[data-control="level"]')
    assert (before, after) == (("1500", "-600"), ("1700", "-500"))
    assert view.page.input_value('[data-control="preset"]') == "own"
    view.page.mouse.dblclick(x, y)
    view.settle()
    assert view.hidden_text("letters") == LETTERS["axial"]
    view.page.mouse.down()
    view.settle()
    start = view.position()
    view.page.mouse.move(x + 60, y)
    view.page.mouse.up()
    view.settle()
    assert view.position()[0] > start[0]  # to the right of the screen is the patient's left


def test_linked_planes_show_the_same_point(opened: Open) -> None:
    view = opened()
    view.page.fill('[data-control="slice"]', "9")
    view.press("2")
    view.page.fill('[data-control="slice"]', "45")
    view.press("1")
    assert view.text("slice") == "9 of 40"
    assert view.position()[1:] == (12.0, -278.0)


def test_outlines_are_drawn_and_taken_away(opened: Open) -> None:
    view = opened()
    view.look_at("axial", HOT_MM)
    bare = view.picture()
    view.press("f")
    high = view.picture()
    view.press("l")
    both = view.picture()
    for less, more in ((bare, high), (high, both)):
        changed = (less != more).any(axis=-1)
        assert 100 < np.count_nonzero(changed) < 0.05 * changed.size
    white = np.argwhere(((high > 235).all(axis=-1)) & (bare != high).any(axis=-1))
    spot = view.middle_of(shown(100 * HOT))
    assert spot is not None
    assert white.mean(axis=0)[::-1] == pytest.approx(spot, abs=6)  # the white line goes round the hot corner


def test_the_corner_says_how_far_it_may_be_trusted(opened: Open) -> None:
    view = opened()
    corner = view.page.inner_text(".viewer-corner")
    for words in ("RESEARCH", "stand-in-map 3", "FLAG: Lung reaches the first slice", "not released"):
        assert words in corner
    assert view.text("unit") == "% of lung mean"
    assert view.page.inner_text('[data-show="ticks"]').split("\n") == ["≥ 200", "150", "100", "50", "0"]


def test_a_coarse_volume_says_so_until_the_whole_one_is_asked_for(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "COARSE_VOXELS", 25_000)
    view = opened("HFP")
    view.look_at("axial", HOT_MM)
    assert view.text("perfusion").startswith("≈ ")
    assert view.middle_of(shown(100 * HOT)) is not None
    view.page.click('[data-control="whole"]')
    view.page.wait_for_selector('[data-control="whole"]', state="hidden")
    expect(view.page.locator('[data-show="resolution"]')).to_have_text("", timeout=WAIT_MS)
    view.settle()
    assert not view.text("hu").startswith("≈")
    spot = view.middle_of(shown(100 * HOT))
    assert spot is not None
    view.click(*spot)
    assert view.position() == pytest.approx(HOT_MM, abs=4.1)


def test_a_case_without_a_result_shows_its_ct(opened: Open) -> None:
    view = opened("plain")
    assert "no result" in view.page.inner_text(".viewer-corner")
    assert view.page.is_hidden('[data-control="opacity"]')
    view.press("o", "l", "ArrowUp")
    assert view.text("hu").endswith(" HU")


def test_a_case_that_was_not_read_says_so_calmly(node: Node, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{node.address}/cases/{node.cases['unread']}/viewer")
    page.wait_for_selector('section.viewer[data-failed="NO_CT"]', timeout=WAIT_MS)
    assert "has not been read yet" in page.inner_text(".viewer-message")
    page.close()


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844)])
def test_it_fits_the_screen(opened: Open, width: int, height: int) -> None:
    page = opened("HFS", width, height).page
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    box = page.locator(".viewer-stage").bounding_box()
    assert box is not None
    assert box["width"] > 0.8 * width - 100
    assert box["y"] + box["height"] <= height


def test_a_browser_that_cannot_draw_volumes_gets_pictures(node: Node, launch: Launch) -> None:
    page, complaints = launch(*NO_WEBGL).new_page(), Complaints()
    complaints.listen(page)
    page.goto(f"{node.address}/cases/{node.cases['FFS']}/viewer")
    page.wait_for_selector('section.viewer[data-ready="all"]', timeout=WAIT_MS)
    assert "cannot draw volumes" in page.inner_text(".viewer-message")
    before = page.get_attribute('[data-part="picture"]', "src")
    with page.expect_response(lambda answer: ".png" in answer.url and answer.status == 200):
        page.fill('[data-control="slice"]', "9")
    assert page.get_attribute('[data-part="picture"]', "src") != before
    with page.expect_response(lambda answer: "/coronal/" in answer.url and answer.status == 200):
        page.focus(".viewer-stage")
        page.keyboard.press("2")
    assert page.evaluate("document.querySelector('[data-part=\"picture\"]').naturalWidth") > 0
    assert complaints.of(page) == []
