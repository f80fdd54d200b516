import numpy as np
import pytest

from inference.errors import GridMismatch
from inference.geometry import Grid
from inference.images import Interpolation, resample, to_array, to_grid, to_image

OBLIQUE = np.array([[0.0, 0.3, 1.9, -7.0], [-0.2, 1.2, -0.4, 11.0], [-4.0, 0.1, 0.3, 5.0], [0.0, 0.0, 0.0, 1.0]])


def grid_of(affine: np.ndarray, shape: tuple[int, int, int] = (3, 4, 5)) -> Grid:
    return Grid(shape, affine, "1.2.3")


def test_a_voxel_lies_at_the_same_place_in_the_image_and_on_the_grid() -> None:
    grid = grid_of(OBLIQUE)
    image = to_image(np.zeros(grid.shape, dtype=np.float32), grid)
    for index in ((0, 0, 0), (2, 0, 0), (0, 3, 0), (0, 0, 4), (2, 1, 3)):
        point_mm = image.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(point_mm, grid.to_patient_mm(np.array(index, dtype=np.float64)), atol=1e-6)


def test_array_and_grid_survive_the_way_there_and_back() -> None:
    grid = grid_of(OBLIQUE)
    array = np.arange(60, dtype=np.int16).reshape(grid.shape)
    image = to_image(array, grid)
    assert np.array_equal(to_array(image), array)
    assert to_grid(image, frame_of_reference_uid="1.2.3").matches(grid)


def test_booleans_become_bytes() -> None:
    grid = grid_of(OBLIQUE)
    mask = np.arange(60).reshape(grid.shape) % 3 == 0
    assert to_array(to_image(mask, grid)).dtype == np.uint8
    assert np.array_equal(to_array(to_image(mask, grid)) == 1, mask)


def test_an_array_of_another_shape_is_refused() -> None:
    with pytest.raises(GridMismatch):
        to_image(np.zeros((3, 4, 6), dtype=np.float32), grid_of(OBLIQUE))


def test_a_linear_field_is_resampled_exactly_onto_a_flipped_grid() -> None:
    source = Grid.axial((6, 7, 8), (3.0, 2.0, 1.5), (-4.0, 5.0, 9.0), frame_of_reference_uid="1.2.3")
    x, y, z = source.coordinates_mm()
    field = (2 * x - y + 0.5 * z).astype(np.float32)
    affine = np.array([[0, 0, -1.0, 5.0], [0, 1.0, 0, 6.0], [-2.0, 0, 0, 22.0], [0, 0, 0, 1]])
    wanted = Grid((5, 6, 7), affine, "1.2.3")
    got = resample(field, source, wanted, interpolation=Interpolation.LINEAR, outside=-999.0)
    x, y, z = wanted.coordinates_mm()
    np.testing.assert_allclose(got, 2 * x - y + 0.5 * z, atol=1e-3)


def test_labels_stay_labels_and_outside_gets_the_named_value() -> None:
    source = Grid.axial((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    wanted = Grid.axial((4, 4, 4), (1.0, 1.0, 1.0), (-1.0, -1.0, -1.0), frame_of_reference_uid="1.2.3")
    labels = np.array([[[1, 2], [3, 4]], [[5, 1], [2, 3]]], dtype=np.uint8)
    got = resample(labels, source, wanted, interpolation=Interpolation.NEAREST, outside=9.0)
    assert got.dtype == np.uint8
    assert np.array_equal(got[1:3, 1:3, 1:3], labels)
    assert np.count_nonzero(got == 9) == 64 - 8


def test_another_frame_of_reference_is_refused() -> None:
    source = Grid.axial((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    other = Grid.axial((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.4")
    with pytest.raises(GridMismatch):
        resample(np.zeros((2, 2, 2)), source, other, interpolation=Interpolation.LINEAR, outside=0.0)
