"""`Grid` and `Reorientation`: nothing moves in the patient, whatever is done to the axes."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.geometry import Grid, Reorientation

AXIS_CASES = list(product(permutations(range(3)), product((1.0, -1.0), repeat=3)))
SHAPE = (3, 4, 5)


def axis_grid(permutation: tuple[int, ...], signs: tuple[float, ...]) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = 0.0
    for axis, (component, sign) in enumerate(zip(permutation, signs, strict=True)):
        affine[component, axis] = sign * (axis + 1.5)
    affine[:3, 3] = (7.0, -11.0, 13.0)
    return Grid(SHAPE, affine, "1.2.3")


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Any rotation of the axes, any spacing a scanner writes, any place."""
    quaternion = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 4)))
    if np.linalg.norm(quaternion) < 0.1:
        quaternion = np.array([1.0, 0.0, 0.0, 0.0])
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.array(draw(st.tuples(*[st.floats(0.3, 10)] * 3)))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-2000, 2000)] * 3))
    shape = draw(st.tuples(*[st.integers(1, 600)] * 3))
    return Grid(shape, affine, "1.2.3")


@given(grids(), st.tuples(*[st.floats(-10, 700)] * 3))
def test_an_index_survives_the_way_to_the_patient_and_back(grid: Grid, index: tuple[float, float, float]) -> None:
    there = grid.to_patient_mm(np.array(index))
    assert np.allclose(grid.to_index(there), index, atol=1e-6)


@given(grids())
def test_a_grid_is_rebuilt_from_its_direction_spacing_and_origin(grid: Grid) -> None:
    affine = np.eye(4)
    affine[:3, :3] = grid.direction * np.array(grid.spacing_mm)
    affine[:3, 3] = grid.origin_mm
    assert grid.matches(Grid(grid.shape, affine, grid.frame_of_reference_uid), tolerance_mm=1e-6)
    assert grid.voxel_volume_ml == pytest.approx(np.prod(grid.spacing_mm) / 1000)


@given(grids(), st.tuples(*[st.floats(0.3, 10)] * 3))
def test_another_spacing_covers_all_of_the_old_volume_from_the_same_corner(
    grid: Grid, spacing_mm: tuple[float, float, float]
) -> None:
    other = grid.with_spacing(spacing_mm)
    assert np.allclose(grid.to_patient_mm(np.full(3, -0.5)), other.to_patient_mm(np.full(3, -0.5)), atol=1e-6)
    assert (np.array(other.shape) * other.spacing_mm >= np.array(grid.shape) * grid.spacing_mm - 1e-3).all()


def test_coordinates_are_the_positions_of_all_voxels() -> None:
    grid = axis_grid((1, 2, 0), (1.0, -1.0, 1.0))
    indices = np.moveaxis(np.indices(SHAPE), 0, -1).astype(float)
    together = np.stack(np.broadcast_arrays(*grid.coordinates_mm()), axis=-1)
    assert np.allclose(together, grid.to_patient_mm(indices))


def test_a_crop_keeps_its_voxels_where_they_were() -> None:
    grid = axis_grid((2, 1, 0), (1.0, 1.0, -1.0))
    part = grid.cropped((slice(1, 3), slice(2, 4), slice(0, 5)))
    assert part.shape == (2, 2, 5)
    assert np.allclose(part.to_patient_mm(np.zeros(3)), grid.to_patient_mm(np.array([1.0, 2.0, 0.0])))


def test_grids_of_two_frames_of_reference_never_match() -> None:
    grid = axis_grid((2, 1, 0), (1.0, 1.0, 1.0))
    assert not grid.matches(Grid(grid.shape, grid.affine, "1.2.4"))


@pytest.mark.parametrize("shift_mm", [0.009, 0.011])
def test_grids_match_within_a_hundredth_of_a_millimetre(shift_mm: float) -> None:
    grid = axis_grid((2, 1, 0), (1.0, 1.0, 1.0))
    affine = grid.affine.copy()
    affine[1, 3] += shift_mm
    assert grid.matches(Grid(grid.shape, affine, "1.2.3")) == (shift_mm < 0.01)


def test_an_impossible_affine_is_refused() -> None:
    with pytest.raises(ValueError, match="invertible"):
        Grid(SHAPE, np.zeros((4, 4)), "1.2.3")


@pytest.mark.parametrize(("permutation", "signs"), AXIS_CASES)
def test_patient_axes_are_reached_and_undone_exactly_for_each_of_the_48_axis_orders(
    permutation: tuple[int, ...], signs: tuple[float, ...]
) -> None:
    grid = axis_grid(permutation, signs)
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    turn = Reorientation.to_patient_axes(grid)
    turned, turned_grid = turn.apply(array), turn.grid(grid)
    assert np.array_equal(turn.undo(turned), array)
    assert turned.shape == turned_grid.shape
    up_back_left = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert np.array_equal(np.round(turned_grid.direction), up_back_left)
    for index in ((0, 0, 0), (1, 2, 3), (2, 3, 4)):
        where = turned_grid.to_index(grid.to_patient_mm(np.array(index, dtype=float)))
        assert turned[tuple(np.round(where).astype(int))] == array[index]


@settings(max_examples=50)
@given(st.sampled_from(AXIS_CASES), st.floats(-0.3, 0.3))
def test_a_slightly_turned_grid_finds_the_same_axes(
    case: tuple[tuple[int, ...], tuple[float, ...]], angle: float
) -> None:
    grid = axis_grid(*case)
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned = Grid(grid.shape, rotation @ grid.affine, "1.2.3")
    assert Reorientation.to_patient_axes(turned) == Reorientation.to_patient_axes(grid)
