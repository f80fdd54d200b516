from collections.abc import Iterator
from dataclasses import replace

import matplotlib.style
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from inference.geometry import Grid
from inference.volumes import CtVolume, SeriesReference
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.pages.page_panel import CLOSED
from training.insilico.pages.page_sheet import SETTINGS
from training.insilico.pages.page_views import PIXEL_MM, View, lost_perfusion, views_through
from training.insilico.pages.pictures import Shown, drawn, written
from training.insilico.patient import Truth

GRID = Grid.axial((30, 26, 34), (6.0, 5.0, 4.0), (-70.0, 40.0, -300.0), frame_of_reference_uid="2.25.1")
LANDMARK = (22, 8, 25)
"""Slice, row, column: high, in front and to the left."""


def truth() -> Truth:
    """Two blocks of lung; a harmless large lesion on the right, a small one that takes all perfusion on the left."""
    lobes = np.zeros(GRID.shape, np.uint8)
    lobes[4:26, 4:22, 3:14] = 3
    lobes[4:26, 4:22, 19:31] = 4
    perfusion = np.where(lobes > 0, 1.0, 0.0).astype(np.float32)
    masks = {name: np.zeros(GRID.shape, bool) for name in ("fibrosis", "tumour")}
    masks["fibrosis"][4:14, 4:22, 3:14] = True
    masks["tumour"][LANDMARK] = True
    masks["tumour"][20:24, 7:10, 24:27] = True
    perfusion[masks["fibrosis"]] = 0.99
    perfusion[masks["tumour"]] = 0.0
    return Truth(GRID, lobes, perfusion, np.zeros(GRID.shape, np.float32), lobes.astype(np.int32) - 1, masks)


def record() -> dict:
    lobes = {
        name: {"volume_ml": 100.0 + k, "share_of_perfusion": 0.2, "mean_perfusion": None if k == 1 else 1.0 + k / 100}
        for k, name in enumerate(("RUL", "RML", "RLL", "LUL", "LLL"))
    }
    return {
        "diseases": [{"name": "tumour", "diameter_mm": 23.4}, {"name": "embolism", "arteries": []}],
        "truth": {"lobes": lobes, "disease_volume_ml": {"fibrosis": 11.0, "tumour": 22.0}},
        "person": {"age_years": 71.25},
    }


def shown() -> Shown:
    source = SeriesReference("2.25.2", "2.25.3", "2.25.1", tuple(f"2.25.{k}" for k in range(9, 39)))
    ct = CtVolume(np.full(GRID.shape, -800.0, np.float32), GRID, source)
    return Shown("LC-001  lung-cancer", record(), ct, truth(), truth().perfusion * np.float32(2.0), GRID)


@pytest.fixture(scope="module")
def page() -> Iterator[Figure]:
    with matplotlib.style.context(["default", SETTINGS]):
        yield drawn(shown())


def words(page: Figure) -> list[str]:
    return [text.get_text() for text in page.texts]


def pictures(page: Figure) -> list[Axes]:
    return [axes for axes in page.axes if axes.images and len(axes.texts) == 4]


def test_the_page_says_that_nobody_is_shown(page: Figure) -> None:
    assert "IN SILICO – NO PATIENT" in words(page)
    assert any("never comparable with clinical" in text for text in words(page))


def test_cuts_go_through_the_disease_that_costs_most_perfusion_not_through_the_largest() -> None:
    views, name = views_through(truth())
    assert lost_perfusion(truth())["tumour"] > lost_perfusion(truth())["fibrosis"] > 0.0
    x, y, z = GRID.to_patient_mm(np.array(LANDMARK, dtype=float))
    assert name == "tumour"
    for view, place in zip(views, (y, x, z), strict=True):
        assert abs(view.at_mm - place) <= 6.0


def test_without_disease_they_go_through_the_right_lung() -> None:
    views, name = views_through(replace(truth(), diseases={}))
    x = {view.name: view.at_mm for view in views}["sagittal"]
    assert name == ""
    assert truth().lobes[15, 12, round(float(GRID.to_index(np.array([x, 100.0, -200.0]))[2]))] == 3


def test_of_disease_in_both_lungs_they_show_the_lung_that_has_more() -> None:
    both = np.zeros(GRID.shape, bool)
    both[10:20, 4:22, 12:14] = True
    both[10:20, 4:22, 19:24] = True
    seen = truth()
    seen.perfusion[both] = 0.0
    views, name = views_through(replace(seen, diseases={"emphysema": both}))
    column = GRID.to_index(np.array([{view.name: view.at_mm for view in views}["sagittal"], 100.0, -200.0]))[2]
    assert (name, round(float(column))) == ("emphysema", 21)


def test_a_landmark_is_in_each_cut_where_the_axes_of_the_picture_say() -> None:
    """A reader takes the patient's directions from the letters and the position from the axes: both must be right."""
    spot = np.zeros(GRID.shape, np.float32)
    spot[LANDMARK] = 1.0
    place = GRID.to_patient_mm(np.array(LANDMARK, dtype=float))
    views, _ = views_through(truth())
    for view in views:
        picture = replace(view, at_mm=float(place[view.axis])).of(spot, GRID, outside=0.0)
        row, column = np.unravel_index(np.argmax(picture), picture.shape)
        left, right, bottom, top = view.extent
        across = left + (column + 0.5) * (right - left) / picture.shape[1]
        down = top + (row + 0.5) * (bottom - top) / picture.shape[0]
        assert picture.max() > 0.9
        assert np.abs(np.array([across, down]) - place[list(view.components)]).max() <= PIXEL_MM


def test_letters_name_the_directions_that_the_axes_run_to(page: Figure) -> None:
    towards = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "H": (2, 1), "F": (2, -1)}
    views, _ = views_through(truth())
    for view in views:
        left, right, bottom, top = view.extent
        signs = (-1, 1) if right > left else (1, -1)
        ends = [(view.components[0], sign) for sign in signs]
        ends += [(view.components[1], 1 if top > bottom else -1), (view.components[1], -1 if top > bottom else 1)]
        assert [towards[letter] for letter in view.letters] == ends


def test_the_columns_show_ct_lobes_truth_and_spect_of_three_cuts(page: Figure) -> None:
    axes = pictures(page)
    assert len(axes) == 12
    middles = [np.asarray(each.images[0].get_array()) for each in axes]
    for k in range(3):
        ct, lobes, true, spect = middles[k], middles[3 + k], middles[6 + k], middles[9 + k]
        inside = true > 0.5
        np.testing.assert_allclose(ct[inside], -800.0)
        np.testing.assert_allclose(lobes[inside], -800.0)
        np.testing.assert_allclose(spect, 2.0 * true, rtol=1e-5)
        assert true.min() < 0.01
    assert [text for text in words(page) if text in ("CT", "lobes", "true perfusion", "SPECT", "arteries")] == [
        "CT", "lobes", "true perfusion", "SPECT", "arteries",
    ]  # fmt: skip


def test_truth_and_spect_have_one_colour_scale_with_its_unit(page: Figure) -> None:
    scales = {each.images[0].get_clim() for each in pictures(page)[6:]}
    assert scales == {(0.0, 2.0)}
    assert "relative to the mean of both lungs (= 1.0)" in words(page)
    assert {"0.0", "1.0", "≥ 2.0"} <= set(words(page))


def test_all_pictures_have_the_scale_of_the_ruler(page: Figure) -> None:
    views, _ = views_through(truth())
    length = next(axes for axes in page.axes if axes.patches and axes.get_position().y1 < 0.5).get_position().width
    for axes, view in zip(pictures(page), views * 4, strict=True):
        assert axes.get_position().width / view.width_mm == pytest.approx(length / 50.0)
    assert "50 mm" in words(page)


def test_the_panel_tells_the_numbers_of_the_record(page: Figure) -> None:
    said = words(page)
    assert {"100", "104", "20.0", "1.04", "–", "22", "11", "71.2"} <= set(said)
    assert {"tumour", "fibrosis", "embolism", "diameter mm 23.4", "arteries none"} <= set(said)
    assert "0.00" in said, "perfusion in the tumour"
    assert "0.99" in said, "perfusion in the fibrosis"


def test_a_narrowed_artery_is_red_and_the_others_have_the_colour_of_their_lobe() -> None:
    tree = ArterialTree(
        start_mm=np.array([[0.0, 60.0, -200.0]] * 3),
        end_mm=np.array([[0.0, 60.0, -180.0], [-30.0, 60.0, -180.0], [30.0, 60.0, -220.0]]),
        parent=np.array([-1, 0, 0], np.int32),
        radius_mm=np.array([10.0, 3.0, 3.0]),
        lobe=np.array([0, 3, 4], np.int32),
        end=np.array([-1, 0, 1], np.int32),
    )
    seen = shown()
    with matplotlib.style.context(["default", SETTINGS]):
        figure = drawn(replace(seen, truth=replace(seen.truth, arteries=tree, lumen=np.array([1.0, 0.2, 1.0]))))
    (lines,) = [each for axes in figure.axes for each in axes.collections if len(axes.images) == 0 and axes.collections]
    assert [to_hex(colour) for colour in lines.get_colors()] == ["#c8ccd2", "#e69f00", CLOSED]
    widths = lines.get_linewidths()
    assert widths[0] / widths[1] == pytest.approx(10.0 / 3.0)


def test_a_view_knows_its_size() -> None:
    view = View("axial", 2, 0.0, (-10.0, -20.0), (30.0, 50.0), ("R", "L", "A", "P"))
    assert (view.width_mm, view.height_mm, view.extent) == (40.0, 70.0, (-10.0, 30.0, 50.0, -20.0))


def test_equal_patients_have_equal_pages(page: Figure) -> None:
    with matplotlib.style.context(["default", SETTINGS]):
        pages = [written(figure) for figure in (page, drawn(shown()), drawn(replace(shown(), title="LC-002")))]
    assert pages[0] == pages[1]
    assert pages[0] != pages[2]
