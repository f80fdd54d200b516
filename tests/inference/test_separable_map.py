"""Means and interpolation along axes: exact, in place, and the same as the slow ways."""

import numpy as np
import pytest
import torch

from inference.errors import GridMismatch
from inference.geometry import Grid, Reorientation
from inference.images import Interpolation, resample
from inference.separable_map import SeparableMap
from training.voxel_means import voxel_means

FRAME = "2.25.1"
FINE = Grid.axial((40, 45, 70), (2.5, 1.1, 0.9), (-30.0, -20.0, 5.0), frame_of_reference_uid=FRAME)
COARSE = FINE.with_spacing((4.0, 3.3, 4.8))
NOISE = np.random.default_rng(1).random(FINE.shape).astype(np.float32)


def mapped(values: np.ndarray, way: SeparableMap) -> np.ndarray:
    return way.down(way.across(torch.from_numpy(values))).numpy()


def tilted(grid: Grid) -> Grid:
    """The same grid with slices that lean, as of a gantry that was tilted."""
    affine = grid.affine.copy()
    affine[:3, 0] += (0.0, 0.3 * grid.spacing_mm[0], 0.0)
    return Grid(grid.shape, affine, FRAME)


def test_means_are_those_of_the_voxels_they_cover() -> None:
    inner = COARSE.cropped((slice(0, 20), slice(0, 14), slice(0, 12)))  # all of it within the fine grid
    means = mapped(NOISE, SeparableMap.between(FINE, inner, kind="means"))
    np.testing.assert_allclose(means, voxel_means(NOISE, FINE, inner), atol=1e-6)


def test_a_row_of_known_numbers() -> None:
    line = Grid.axial((1, 1, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), frame_of_reference_uid=FRAME)
    onto = Grid.axial((1, 1, 3), (1.0, 1.0, 1.5), (0.25, 0.0, 0.0), frame_of_reference_uid=FRAME)
    values = np.array([[[2.0, 4.0, 8.0, 16.0]]], np.float32)
    # Voxels from -0.5 to 1 mm, to 2.5, to 4; the last one reaches 0.5 mm beyond the end, where 16 goes on.
    means = mapped(values, SeparableMap.between(line, onto, kind="means"))
    assert means.ravel() == pytest.approx([(2 + 0.5 * 4) / 1.5, (0.5 * 4 + 8) / 1.5, 16.0])
    linear = mapped(values, SeparableMap.between(line, onto, kind="linear"))
    assert linear.ravel() == pytest.approx([2.5, 4 + 0.75 * 4, 16.0])


def test_linear_interpolation_is_that_of_itk() -> None:
    inner = FINE.cropped((slice(5, 30), slice(8, 38), slice(8, 58))).with_spacing((3.1, 0.7, 2.0))
    ours = mapped(NOISE, SeparableMap.between(FINE, inner, kind="linear"))
    itk = resample(NOISE, FINE, inner, interpolation=Interpolation.LINEAR, outside=0.0)
    np.testing.assert_allclose(ours, itk, atol=1e-4)


def test_a_constant_stays_constant_beyond_the_edges() -> None:
    around = Grid.axial((30, 30, 30), (5.0, 5.0, 5.0), (-80.0, -60.0, -30.0), frame_of_reference_uid=FRAME)
    for kind in ("means", "linear"):
        values = mapped(np.full(FINE.shape, 3.0, np.float32), SeparableMap.between(FINE, around, kind=kind))
        np.testing.assert_allclose(values, 3.0, rtol=1e-5)


def test_leaning_slices_are_no_hindrance() -> None:
    leaning = tilted(FINE)
    between_mm = 2.5 * np.hypot(1.0, 0.3)  # along the axis, slices lie farther apart than upright
    upright = Grid.axial(FINE.shape, (between_mm, 1.1, 0.9), FINE.origin_mm, frame_of_reference_uid=FRAME)
    means, wanted = (
        mapped(NOISE, SeparableMap.between(grid, grid.with_spacing((4.0, 3.3, 4.8)), kind="means"))
        for grid in (leaning, upright)
    )
    np.testing.assert_allclose(means, wanted, atol=1e-6)


def test_stored_axes_in_any_order_give_the_same_values() -> None:
    affine = FINE.affine[:, [2, 0, 1, 3]].copy()
    stored = Grid((70, 40, 45), affine, FRAME)
    affine = stored.affine.copy()
    affine[:3, 3] = stored.to_patient_mm(np.array([69.0, 0.0, 44.0]))
    affine[:3, 0] *= -1
    affine[:3, 2] *= -1
    stored = Grid((70, 40, 45), affine, FRAME)
    turn = Reorientation.to_patient_axes(stored)
    values = np.ascontiguousarray(NOISE.transpose(2, 0, 1)[::-1, :, ::-1])
    np.testing.assert_array_equal(turn.apply(values), NOISE)
    way = SeparableMap.between(turn.grid(stored), COARSE, kind="means").turned(turn.permutation, turn.flips)
    got = mapped(values, way).transpose(turn.permutation)
    np.testing.assert_allclose(got, mapped(NOISE, SeparableMap.between(FINE, COARSE, kind="means")), atol=1e-6)


def test_grids_that_are_not_parallel_or_lie_elsewhere_are_refused() -> None:
    with pytest.raises(GridMismatch):
        SeparableMap.between(FINE, tilted(FINE), kind="means")
    with pytest.raises(GridMismatch):
        SeparableMap.between(FINE, Grid(FINE.shape, FINE.affine, "2.25.2"), kind="linear")
