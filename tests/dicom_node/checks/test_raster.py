import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.checks.raster import Outlines, rasterise
from dicom_node.objects.contours import trace_contours
from inference.geometry import Grid

SHAPE = (4, 12, 15)
SQUARE = np.array([[1.5, 2.5], [1.5, 6.5], [4.5, 6.5], [4.5, 2.5]])


def filled(polygons, slices, shape=SHAPE):
    points = np.vstack(polygons).astype(float)
    raster = rasterise(Outlines(points, np.array([len(p) for p in polygons]), np.array(slices)), shape)
    volume = np.zeros(shape, dtype=bool)
    volume[raster.box] = raster.mask
    return volume, raster


def by_ray(polygon, row, column):
    """Even-odd rule for one point, written as in a textbook: how often a ray to the left meets an edge."""
    inside = False
    for (r0, c0), (r1, c1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if (r0 <= row < r1 or r1 <= row < r0) and c0 + (row - r0) * (c1 - c0) / (r1 - r0) <= column:
            inside = not inside
    return inside


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.lists(st.tuples(st.integers(-8, 56), st.integers(-8, 68)), min_size=1, max_size=9),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_polygons_are_filled_as_a_ray_from_each_pixel_says(drawn):
    """Also with points on pixel centres, outside the image, crossing themselves and each other."""
    polygons = [np.array(points) / 4 for _, points in drawn]
    volume, _ = filled(polygons, [k for k, _ in drawn])
    expected = np.zeros(SHAPE, dtype=bool)
    for (k, _), polygon in zip(drawn, polygons, strict=True):
        for row, column in np.ndindex(SHAPE[1:]):
            expected[k, row, column] ^= by_ray(polygon, row, column)
    assert np.array_equal(volume, expected)


def test_a_polygon_fills_the_pixels_whose_centres_it_encloses():
    volume, raster = filled([SQUARE], [2])
    expected = np.zeros(SHAPE, dtype=bool)
    expected[2, 2:5, 3:7] = True
    assert np.array_equal(volume, expected)
    assert raster.voxels == 12
    assert raster.centroid() == pytest.approx([2, 3, 4.5])
    assert not raster.doubled.any()


def test_polygons_that_overlap_cancel_and_are_counted():
    volume, raster = filled([SQUARE, SQUARE + 1, SQUARE], [1, 1, 3])
    assert raster.doubled.tolist() == [6, 0, 0]
    assert np.count_nonzero(volume[1]) == 12
    assert not volume[1, 3:5, 4:7].any()
    _, raster = filled([SQUARE, SQUARE, SQUARE], [0, 0, 0])
    assert (raster.voxels, raster.doubled.tolist()) == (12, [12])


def test_what_lies_outside_the_image_is_left_away():
    volume, _ = filled([SQUARE * 10 - 30], [0])
    assert volume[0].all()
    assert not volume[1:].any()
    _, raster = filled([SQUARE + 100], [0])
    assert raster.voxels == 0


def test_nothing_drawn_is_an_empty_region():
    raster = rasterise(Outlines(np.empty((0, 2)), np.empty(0, int), np.empty(0, int)), SHAPE)
    assert raster.voxels == 0
    assert np.isnan(raster.centroid()).all()


def test_contours_of_a_speckled_mask_are_filled_to_the_same_mask():
    """Holes with islands, corners that touch, single pixels, the edge of the image."""
    mask = np.random.default_rng(3).random((6, 40, 50)) > 0.45
    grid = Grid.axial(mask.shape, (3.0, 0.9, 1.1), (-20.0, 30.0, -400.0), frame_of_reference_uid="2.25.1")
    contours = trace_contours(mask, grid)
    index = [grid.to_index(np.round(contour.points_mm, 2))[:, 1:] for contour in contours]
    volume, raster = filled(index, [contour.slice_index for contour in contours], mask.shape)
    assert np.array_equal(volume, mask)
    assert not raster.doubled.any()


def test_a_large_region_is_filled_in_a_moment():
    angles = np.linspace(0, 2 * np.pi, 250, endpoint=False)
    circle = 256 + 200 * np.column_stack([np.sin(angles), np.cos(angles)])
    outlines = Outlines(np.tile(circle, (200, 1)), np.full(200, 250), np.arange(200))
    start = time.process_time()
    raster = rasterise(outlines, (200, 512, 512))
    assert time.process_time() - start < 2.0
    assert raster.voxels == pytest.approx(200 * np.pi * 200**2, rel=0.002)
