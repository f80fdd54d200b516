"""Smooth fields have the promised mean, spread and correlation, and are the same on every grid."""

import numpy as np
import pytest

from inference.geometry import Grid
from training.insilico.draws import Draws
from training.insilico.tissue.smooth_field import SmoothField

DRAWS = Draws("tests of fields")


def grid(spacing_mm: float, shape: tuple[int, int, int] = (90, 80, 80)) -> Grid:
    return Grid.axial(shape, (spacing_mm,) * 3, (-150.0, -150.0, -180.0), frame_of_reference_uid="2.25.1")


@pytest.mark.parametrize("correlation_mm", [16.0, 32.0])
def test_mean_spread_and_correlation(correlation_mm: float) -> None:
    values = SmoothField.drawn(DRAWS, "a", correlation_mm).on(grid(4.0)).astype(float)
    assert values.mean() == pytest.approx(0.0, abs=0.15)
    assert values.std() == pytest.approx(1.0, abs=0.08)
    steps = int(correlation_mm / 4.0)
    for axis in range(3):
        there = np.moveaxis(values, axis, 0)
        found = float((there[:-steps] * there[steps:]).mean()) / float((values**2).mean())
        assert found == pytest.approx(np.exp(-1.0), abs=0.12)


def test_any_grid_shows_the_same_field() -> None:
    field = SmoothField.drawn(DRAWS, "a", 24.0)
    coarse, fine = field.on(grid(8.0, (40, 36, 36))), field.on(grid(4.0))
    np.testing.assert_allclose(coarse, fine[:80:2, :72:2, :72:2], atol=1e-4)


def test_equal_draws_give_equal_fields_and_others_do_not() -> None:
    first, again, other = (SmoothField.drawn(DRAWS, what, 30.0).lattice for what in ("a", "a", "b"))
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.1


def test_beyond_the_lattice_the_field_goes_on() -> None:
    far = Grid.axial((2, 2, 200), (4.0,) * 3, (200.0, 0.0, 0.0), frame_of_reference_uid="2.25.1")
    values = SmoothField.drawn(DRAWS, "a", 30.0).on(far)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values[..., -1], values[..., -2])
