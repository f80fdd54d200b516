from dataclasses import replace

import numpy as np
import pytest

from dicom_node.pages.lung_views import AXIAL, CORONAL, MAP_RANGE_PERCENT, SAGITTAL, cut_views, shown_colours
from inference.anatomy import Lobe
from inference.engine import PerfusionResult
from inference.function_regions import RULES, find_function_regions
from inference.geometry import Grid
from inference.lobar import lobar_perfusion
from inference.model_card import ModelIdentity
from inference.phantom.thorax import DigitalThorax
from inference.volumes import CtVolume, LobeMap, PerfusionMap

SIZES = {CORONAL: (85.0, 80.0), SAGITTAL: (75.0, 80.0), AXIAL: (85.0, 80.0)}
PIXELS = 4
MODEL = ModelIdentity("test", "1")
STORED = {  # how the axes (slice, row, column) of a file run through a thorax with patient axes
    "HFS": (slice(None), slice(None), slice(None)),
    "descending": (slice(None, None, -1), slice(None), slice(None)),
    "HFP": (slice(None), slice(None, None, -1), slice(None, None, -1)),
    "FFS": (slice(None, None, -1), slice(None), slice(None, None, -1)),
}


def stored(thorax: DigitalThorax, order: str, values: np.ndarray | None = None) -> tuple[CtVolume, PerfusionResult]:
    """The thorax as another patient position stores it, with these values as its map."""
    values = thorax.perfusion.values if values is None else values
    step = STORED[order]
    affine = thorax.ct.grid.affine.copy()
    for axis, part in enumerate(step):
        if part.step == -1:
            affine[:3, 3] += affine[:3, axis] * (thorax.ct.grid.shape[axis] - 1)
            affine[:3, axis] *= -1
    grid = Grid(thorax.ct.grid.shape, affine, thorax.ct.grid.frame_of_reference_uid)
    lobes = LobeMap(thorax.lobes.labels[step].copy(), grid, MODEL)
    perfusion = PerfusionMap(values[step].copy(), lobes.lungs, grid, MODEL)
    regions = find_function_regions(perfusion)
    table = lobar_perfusion(perfusion, lobes, regions)
    ct = CtVolume(thorax.ct.hu[step].copy(), grid, thorax.ct.source)
    return ct, PerfusionResult(ct.source, lobes, perfusion, regions, table, ())


@pytest.mark.parametrize("order", list(STORED))
def test_lobes_lie_where_a_radiologist_looks_for_them(thorax, order):
    views, _ = cut_views(*stored(thorax, order), SIZES, PIXELS)
    coronal, sagittal, axial = (views[plane].names for plane in SIZES)
    assert coronal[Lobe.RUL][0] < coronal[Lobe.LUL][0]
    assert coronal[Lobe.RUL][1] < coronal[Lobe.RLL][1]
    assert sagittal[Lobe.RML][0] < sagittal[Lobe.RLL][0]
    assert sagittal[Lobe.RUL][1] < sagittal[Lobe.RLL][1]
    assert axial[Lobe.RLL][0] < axial[Lobe.LLL][0]
    assert axial[Lobe.RML][1] < axial[Lobe.RLL][1]


@pytest.mark.parametrize("order", ["descending", "HFP", "FFS"])
def test_pictures_do_not_depend_on_how_the_ct_is_stored(thorax, order):
    usual, scale = cut_views(*stored(thorax, "HFS"), SIZES, PIXELS)
    views, other_scale = cut_views(*stored(thorax, order), SIZES, PIXELS)
    assert other_scale == pytest.approx(scale)
    for plane, view in views.items():
        difference = np.abs(view.rgb.astype(int) - usual[plane].rgb)
        assert (difference > 3).mean() < 0.002  # pixels on a border may go to either side
        assert view.position_mm == pytest.approx(usual[plane].position_mm)
        assert view.crossing_mm == pytest.approx(usual[plane].crossing_mm)


@pytest.mark.parametrize(
    ("patient_axis", "halves"),
    [
        (0, {CORONAL: "top", SAGITTAL: "top"}),
        (1, {SAGITTAL: "right", AXIAL: "bottom"}),
        (2, {CORONAL: "right", AXIAL: "right"}),
    ],
)
def test_a_map_that_is_high_on_one_side_is_bright_on_that_side(thorax, patient_axis, halves):
    lungs = thorax.lobes.lungs
    place = np.broadcast_to(thorax.ct.grid.coordinates_mm()[2 - patient_axis], lungs.shape)
    middle = np.median(place[lungs])
    values = np.where(place > middle, 1.9, 0.1).astype(np.float32) * lungs
    ct, result = stored(thorax, "FFS", values)
    views, _ = cut_views(ct, result, SIZES, PIXELS)
    for plane, half in halves.items():
        picture = views[plane].rgb.astype(int)
        rows, columns = np.nonzero(picture[..., 0] > picture[..., 2] + 90)  # red and yellow: high
        height, width = picture.shape[:2]
        centre = {
            "top": height / 2 - rows.mean(),
            "bottom": rows.mean() - height / 2,
            "right": columns.mean() - width / 2,
        }
        assert centre[half] > 0.1 * height


def test_the_map_has_the_colours_of_its_legend(thorax):
    for percent in (30.0, 100.0, 170.0):
        values = np.full(thorax.ct.grid.shape, percent / 100, np.float32) * thorax.lobes.lungs
        ct, result = stored(thorax, "HFS", values)
        flat = CtVolume(np.full(ct.grid.shape, -845.0, np.float32), ct.grid, ct.source)  # the grey of the legend
        views, scale = cut_views(flat, result, SIZES, PIXELS)
        view = views[AXIAL]
        column, row = (int(v / scale * PIXELS) for v in view.names[Lobe.RLL])
        assert np.abs(view.rgb[row, column].astype(int) - shown_colours(np.array([percent]))[0]).max() <= 1


def test_values_beyond_the_range_have_the_last_colour_and_brightness_rises():
    low, high = MAP_RANGE_PERCENT
    assert np.array_equal(*shown_colours(np.array([high, 3 * high])))
    brightness = shown_colours(np.linspace(low, high, 21)).astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness) > 0).all()


def test_outlines_enclose_their_region_at_the_common_scale(thorax):
    ct, result = stored(thorax, "HFS")
    result = replace(result, regions=find_function_regions(result.perfusion, RULES["thirds-66-34"]))  # unequal
    view = cut_views(ct, result, SIZES, PIXELS)[0][AXIAL]
    k = round((view.position_mm - ct.grid.origin_mm[2]) / ct.grid.spacing_mm[0])
    for rings, mask in ((view.high, result.regions.high), (view.low, result.regions.low)):
        expected = np.count_nonzero(mask[k]) * ct.grid.spacing_mm[1] * ct.grid.spacing_mm[2]
        assert abs(sum(signed_area(ring) for ring in rings)) == pytest.approx(expected, rel=0.05)


def signed_area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2


def test_lungs_are_shown_whole_with_a_margin_and_cut_off_scans_are_black(thorax):
    views, scale = cut_views(*stored(thorax, "HFS"), SIZES, PIXELS)
    for plane, view in views.items():
        width, height = SIZES[plane]
        for rings in view.lobes.values():
            for x, y in (point for ring in rings for point in ring):
                assert 10 < x < width * scale - 10
                assert 10 < y < height * scale - 10
    assert (views[CORONAL].rgb[0] < 20).all()  # the scan ends 16 mm and more below the picture's edge
    inside = views[SAGITTAL].rgb.shape[0] // 2
    assert (views[SAGITTAL].rgb[inside] > 100).any()
