import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dicom_node.objects import contours
from dicom_node.objects.contours import trace_contours
from inference.geometry import Grid

UNIT = {"spacing_mm": (1.0, 1.0, 1.0), "origin_mm": (0.0, 0.0, 0.0), "frame_of_reference_uid": "1.2"}


def filled(polygons, shape, *, by_winding):
    """Pixels whose centre lies in one of the (column, row) polygons, by counting the edges to the left of it."""
    covered = np.zeros(shape, dtype=bool)
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    for polygon in polygons:
        count = np.zeros(shape, dtype=int)
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if x0 == x1:
                crossed = (rows > min(y0, y1)) & (rows < max(y0, y1)) & (columns > x0)
                count += crossed * (int(np.sign(y1 - y0)) if by_winding else 1)
        covered |= (count != 0) if by_winding else (count % 2 == 1)
    return covered


def areas(polygon):
    x, y = polygon.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


masks = arrays(np.bool_, st.tuples(st.just(2), st.integers(1, 9), st.integers(1, 9)))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(masks)
def test_contours_enclose_exactly_the_mask_for_readers_that_fill_by_parity_and_by_winding(mask):
    traced = trace_contours(mask, Grid.axial(mask.shape, **UNIT))
    for k in range(len(mask)):
        polygons = [c.points_mm[:, :2] for c in traced if c.slice_index == k]
        assert np.array_equal(filled(polygons, mask.shape[1:], by_winding=False), mask[k])
        assert np.array_equal(filled(polygons, mask.shape[1:], by_winding=True), mask[k])
        assert sum(abs(areas(p)) for p in polygons) == pytest.approx(mask[k].sum())


@settings(max_examples=80, deadline=None, derandomize=True)
@given(masks)
def test_contours_are_closed_without_repeated_points_and_run_along_pixel_edges(mask):
    for contour in trace_contours(mask, Grid.axial(mask.shape, **UNIT)):
        steps = np.roll(contour.points_mm, -1, axis=0) - contour.points_mm
        assert len(contour.points_mm) >= 4
        assert (np.count_nonzero(steps, axis=1) == 1).all()
        assert (contour.points_mm[:, 2] == contour.slice_index).all()


def test_a_rectangle_has_four_points_on_its_outer_pixel_edges():
    mask = np.zeros((1, 6, 9), dtype=bool)
    mask[0, 1:4, 2:7] = True
    (contour,) = trace_contours(mask, Grid.axial(mask.shape, **UNIT))
    assert contour.points_mm[:, :2].tolist() == [[1.5, 0.5], [6.5, 0.5], [6.5, 3.5], [1.5, 3.5]]


def test_pixels_that_touch_at_a_corner_are_two_contours():
    mask = np.array([[[True, False], [False, True]]])
    assert [len(c.points_mm) for c in trace_contours(mask, Grid.axial(mask.shape, **UNIT))] == [4, 4]


def test_a_ring_with_an_island_is_one_keyhole_contour_and_one_for_the_island():
    mask = np.ones((1, 9, 9), dtype=bool)
    mask[0, 2:7, 2:7] = False
    mask[0, 4, 4] = True
    ring, island = trace_contours(mask, Grid.axial(mask.shape, **UNIT))
    assert len(ring.points_mm) == 4 + 4 + 4  # outline, hole, and the two ends of the keyhole, each twice
    assert len(island.points_mm) == 4


def test_keyholes_that_leave_one_edge_do_so_in_the_order_of_the_way():
    mask = np.ones((1, 5, 9), dtype=bool)
    mask[0, 2, 2] = mask[0, 2, 6] = False
    (contour,) = trace_contours(mask, Grid.axial(mask.shape, **UNIT))
    x, y, _ = contour.points_mm.T
    assert x[y == -0.5].tolist() == [-0.5, 1.75, 1.75, 5.75, 5.75, 8.5]


def test_an_empty_mask_has_no_contour():
    mask = np.zeros((2, 3, 3), dtype=bool)
    assert trace_contours(mask, Grid.axial(mask.shape, **UNIT)) == []


def test_a_contour_with_too_many_points_is_cut_without_losing_a_pixel():
    rng = np.random.default_rng(1)
    mask = rng.random((1, 150, 150)) < 0.75
    traced = trace_contours(mask, Grid.axial(mask.shape, **UNIT))
    assert max(len(c.points_mm) for c in traced) > contours.MOST_POINTS // 2  # it was worth cutting
    assert max(len(c.points_mm) for c in traced) <= contours.MOST_POINTS
    polygons = [c.points_mm[:, :2] for c in traced]
    assert np.array_equal(filled(polygons, mask.shape[1:], by_winding=False), mask[0])


def test_positions_follow_an_oblique_grid():
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.1, 0.0, 2.0], [0.0, 3.0, 0.0], [4.0, 0.0, -0.05]])
    affine[:3, 3] = (5.0, 6.0, 7.0)
    grid = Grid((3, 4, 4), affine, "1.2")
    mask = np.zeros(grid.shape, dtype=bool)
    mask[2, 1, 3] = True
    (contour,) = trace_contours(mask, grid)
    assert contour.points_mm.mean(axis=0) == pytest.approx(grid.to_patient_mm(np.array([2.0, 1.0, 3.0])))
