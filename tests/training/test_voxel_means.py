"""Means over coarser voxels keep totals and places, whatever the order of axes."""

import numpy as np
import pytest

from inference.errors import GridMismatch
from inference.geometry import Grid
from training.voxel_means import voxel_means

FRAME = "2.25.1"
FINE = Grid.axial((12, 10, 8), (1.5, 1.5, 1.5), (0.0, 0.0, 0.0), frame_of_reference_uid=FRAME)


def axial(shape: tuple[int, int, int], spacing_mm: float, origin_mm: tuple[float, float, float]) -> Grid:
    return Grid.axial(shape, (spacing_mm,) * 3, origin_mm, frame_of_reference_uid=FRAME)


def test_a_coarse_voxel_is_the_mean_of_the_eight_it_covers() -> None:
    values = np.arange(12 * 10 * 8, dtype=np.float32).reshape(12, 10, 8)
    means = voxel_means(values, FINE, FINE.with_spacing((3.0, 3.0, 3.0)))
    assert means == pytest.approx(values.reshape(6, 2, 5, 2, 4, 2).mean(axis=(1, 3, 5)), rel=1e-6)


def test_totals_are_kept_where_voxels_are_cut() -> None:
    values = np.random.default_rng(1).random(FINE.shape).astype(np.float32)
    onto = axial((9, 9, 9), 4.0, (-9.3, -8.1, -7.7))
    means = voxel_means(values, FINE, onto)
    assert means.sum() * 4.0**3 == pytest.approx(values.sum() * 1.5**3, rel=1e-5)


def test_a_fine_voxel_counts_by_its_part() -> None:
    # A voxel of 1.5 mm lies by two thirds (1 mm) in the first coarse voxel and by one third in the second.
    values = np.zeros(FINE.shape, np.float32)
    values[0, 0, 0] = 1.0
    onto = axial((3, 3, 3), 3.0, (-1.25, 0.75, 0.75))  # faces along x at -2.75, 0.25, 3.25
    assert voxel_means(values, FINE, onto)[0, 0, :2] == pytest.approx([1.0 / 1.5 / 8, 0.5 / 1.5 / 8], rel=1e-5)


def test_slices_from_head_to_feet_are_the_same_image() -> None:
    values = np.random.default_rng(2).random(FINE.shape).astype(np.float32)
    onto = FINE.with_spacing((3.0, 3.0, 3.0))
    turned = onto.affine.copy()
    turned[:3, 3] = onto.to_patient_mm(np.array([5.0, 0.0, 0.0]))
    turned[:3, 0] *= -1
    from_head = Grid(onto.shape, turned, FRAME)
    assert voxel_means(values, FINE, from_head)[::-1] == pytest.approx(voxel_means(values, FINE, onto), rel=1e-6)


def test_outside_of_the_image_is_nothing() -> None:
    onto = axial((1, 1, 1), 3.0, (500.0, 0.75, 0.75))
    assert voxel_means(np.ones(FINE.shape, bool), FINE, onto) == 0.0


def test_another_frame_of_reference_and_oblique_axes_are_refused() -> None:
    other = Grid(FINE.shape, FINE.affine, "2.25.2")
    with pytest.raises(GridMismatch):
        voxel_means(np.ones(FINE.shape), FINE, other)
    oblique = FINE.affine.copy()
    oblique[:3, 2], oblique[:3, 1] = (1.494, 0.13, 0.0), (-0.13, 1.494, 0.0)
    with pytest.raises(GridMismatch):
        voxel_means(np.ones(FINE.shape), FINE, Grid(FINE.shape, oblique, FRAME))
