"""The body comes onto the voxels of the SPECT whole, and where it belongs."""

import numpy as np
import pytest

from inference.geometry import Grid
from training.insilico.spect.spect_field import MARGIN_MM, Box, SpectField, averaged_onto

FRAME = "2.25.1"
FINE = Grid.axial((40, 30, 36), (1.5, 1.5, 1.5), (-27.0, -22.0, -30.0), frame_of_reference_uid=FRAME)
COARSE = Grid.axial((24, 20, 22), (4.4, 4.4, 4.4), (-50.0, -45.0, -55.0), frame_of_reference_uid=FRAME)


def test_nothing_is_lost() -> None:
    values = np.random.default_rng(1).random(FINE.shape, dtype=np.float32)
    onto = averaged_onto(values, FINE, COARSE)
    before, after = values.sum(dtype=np.float64) * 1.5**3, onto.sum(dtype=np.float64) * 4.4**3
    assert after == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shift_by_a_voxel_of_the_body_is_what_moving_the_body_gives(axis: int) -> None:
    values = np.zeros(FINE.shape, np.float32)
    values[12:20, 8:20, 10:25] = np.random.default_rng(3).random((8, 12, 15), dtype=np.float32)
    shift = [0.0, 0.0, 0.0]
    shift[2 - axis] = 1.5
    moved = averaged_onto(values, FINE, COARSE, tuple(shift))  # type: ignore[arg-type]
    assert moved == pytest.approx(averaged_onto(np.roll(values, 1, axis), FINE, COARSE), abs=1e-6)


def test_a_shift_by_a_part_of_a_voxel_is_exact() -> None:
    whole = Grid.axial((8, 8, 8), (4.4, 4.4, 4.4), (-15.4, -15.4, -15.4), frame_of_reference_uid=FRAME)
    values = np.zeros(whole.shape, np.float32)
    values[4, 4, 4] = 1.0
    moved = averaged_onto(values, whole, whole, (1.1, -0.44, 2.2))
    expected = np.zeros(whole.shape)
    for z, up in ((4, 0.5), (5, 0.5)):
        for y, back in ((4, 0.9), (3, 0.1)):
            for x, left in ((4, 0.75), (5, 0.25)):
                expected[z, y, x] = up * back * left
    assert moved == pytest.approx(expected, abs=1e-6)


def test_each_voxel_is_weighted_by_the_part_of_it_that_is_inside() -> None:
    line = Grid.axial((1, 1, 3), (2.0, 2.0, 2.0), (1.0, 0.0, 0.0), frame_of_reference_uid=FRAME)
    onto = Grid.axial((1, 1, 2), (2.0, 2.0, 3.0), (1.5, 0.0, 0.0), frame_of_reference_uid=FRAME)
    mean = averaged_onto(np.array([[[3.0, 6.0, 12.0]]], np.float32), line, onto)
    assert mean.ravel() == pytest.approx([(2 * 3.0 + 6.0) / 3.0, (6.0 + 2 * 12.0) / 3.0])


def test_a_grid_that_is_not_axial_is_refused() -> None:
    turned = Grid(FINE.shape, np.diag([1.5, 1.5, 1.5, 1.0]), FRAME)
    with pytest.raises(ValueError, match="axial"):
        averaged_onto(np.zeros(FINE.shape, np.float32), turned, COARSE)


LUNGS = Box((-120.0, 140.0), (-80.0, 70.0), (-80.0, 100.0))
PATIENT = Box((-150.0, 170.0), (-100.0, 90.0), (-80.0, 100.0))


def test_the_field_holds_the_lungs_and_its_wide_one_the_patient_round_one_axis() -> None:
    field = SpectField.around(LUNGS, PATIENT, 4.8, matrix=128, frame=FRAME)
    for grid, inside, margin in ((field.grid, LUNGS, MARGIN_MM), (field.wide, PATIENT, 0.0)):
        box = Box.of(np.ones(grid.shape, dtype=bool), grid)
        for held, holding in zip((inside.x, inside.y), box.sides, strict=True):
            assert holding[0] <= held[0] - margin
            assert holding[1] >= held[1] + margin
            assert sum(holding) == pytest.approx(sum(PATIENT.x if held is inside.x else PATIENT.y))
        assert box.z[0] <= -80.0 - MARGIN_MM
        assert box.z[1] >= 100.0 + MARGIN_MM
        assert grid.shape[1] == grid.shape[2]
    # The voxels of one are voxels of the other.
    first = field.wide.to_index(np.array(field.grid.origin_mm))
    assert first == pytest.approx(np.round(first), abs=1e-9)
    assert field.grid.shape[0] == field.wide.shape[0]
    assert field.grid.shape[1] < field.wide.shape[1]


def test_no_field_is_wider_than_the_camera() -> None:
    wide = Box((-400.0, 400.0), (-100.0, 90.0), (0.0, 100.0))
    field = SpectField.around(wide, wide, 4.8, matrix=128, frame=FRAME)
    assert field.grid.shape[1:] == field.wide.shape[1:] == (128, 128)


def test_the_finer_grid_covers_the_same_space() -> None:
    field = SpectField.around(LUNGS, PATIENT, 9.6, matrix=64, frame=FRAME)
    values = np.random.default_rng(2).random(field.finer.shape, dtype=np.float32)
    assert field.mean_of(values) == pytest.approx(averaged_onto(values, field.finer, field.grid), abs=1e-6)


def test_a_box_reaches_from_face_to_face() -> None:
    mask = np.zeros(FINE.shape, dtype=bool)
    mask[3:6, 10, 5:8] = True
    box = Box.of(mask, FINE)
    assert box.z == pytest.approx((-30.0 + 2.5 * 1.5, -30.0 + 5.5 * 1.5))
    assert box.y == pytest.approx((-22.0 + 9.5 * 1.5, -22.0 + 10.5 * 1.5))
    assert box.x == pytest.approx((-27.0 + 4.5 * 1.5, -27.0 + 7.5 * 1.5))
