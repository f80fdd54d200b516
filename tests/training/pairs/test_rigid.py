"""Rigid movements compose, invert and know their size."""

import numpy as np
import pytest

from tests.training.pairs.hospital_files import turned
from training.pairs.rigid import Rigid


def test_the_angle_and_the_shift_are_those_it_was_made_with() -> None:
    movement = turned((0, 0, 37.5), (3.0, 0.0, 4.0), about_mm=(10.0, 20.0, 30.0))
    assert movement.angle_deg == pytest.approx(37.5)
    assert movement.shift_mm(np.array([10.0, 20.0, 30.0])) == pytest.approx(5.0)
    assert turned((170.0, 0, 0), (0, 0, 0)).angle_deg == pytest.approx(170.0)


def test_there_and_back_is_no_movement_and_order_matters() -> None:
    one, other = turned((10, 20, 30), (1, 2, 3)), turned((-5, 0, 40), (-7, 8, 9))
    assert one.inverse.after(one).matrix == pytest.approx(np.eye(4), abs=1e-12)
    point = np.array([[1.0, 2.0, 3.0]])
    assert one.after(other).moved_mm(point) == pytest.approx(one.moved_mm(other.moved_mm(point)))


@pytest.mark.parametrize("diagonal", [(2, 2, 2), (-1, 1, 1), (1, 1, np.nan)])
def test_what_scales_or_mirrors_is_not_rigid(diagonal: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"rigid|homogeneous"):
        Rigid(np.diag([*diagonal, 1.0]))
