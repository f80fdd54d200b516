"""Vessels are as wide as what they carry."""

import numpy as np
import pytest

from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.calibre import WIDEST, calibres, neighbouring_flow
from training.insilico.arteries.tree_draft import MURRAY_EXPONENT


def tree(*, at: float = 0.0) -> ArterialTree:
    """A trunk with two branches; the first has two ends, the second one."""
    end_mm = np.array([[0, 0, 0], [10, 0, 0], [-10, 0, 0], [20, 5, 0], [20, -5, 0]], dtype=np.float64)
    parent = np.array([-1, 0, 0, 1, 1], dtype=np.int32)
    start_mm = np.where(parent[:, None] >= 0, end_mm[parent], [0.0, 0.0, 10.0])
    return ArterialTree(
        start_mm=start_mm + at,
        end_mm=end_mm + at,
        parent=parent,
        radius_mm=np.array([4.0, 3.0, 2.0, 2.0, 2.0]),
        lobe=np.array([0, 1, 2, 1, 1], dtype=np.int32),
        end=np.array([-1, -1, 0, 1, 2], dtype=np.int32),
    )


def test_equal_flow_gives_the_healthy_width() -> None:
    np.testing.assert_allclose(calibres(tree(), np.array([3.0, 3.0, 3.0])), 1.0)


def test_what_carries_half_is_narrower_by_murrays_power() -> None:
    found = calibres(tree(), np.array([1.0, 0.25, 0.25]))
    # The first branch carries 0.5 of 1.5 instead of two thirds of it: half of the usual.
    assert found[1] == pytest.approx(0.5 ** (1.0 / MURRAY_EXPONENT))
    assert found[3] == pytest.approx(found[1])
    assert found[2] == WIDEST  # twice the usual, and limited
    assert found[0] == 1.0


def test_a_vessel_without_flow_has_no_width() -> None:
    np.testing.assert_allclose(calibres(tree(), np.array([1.0, 0.0, 0.0]))[[1, 3, 4]], 0.0)


def test_veins_carry_what_the_nearest_territory_gets() -> None:
    veins = tree(at=1.0)
    np.testing.assert_allclose(neighbouring_flow(tree(), np.array([5.0, 7.0, 9.0]), veins), [5.0, 7.0, 9.0])
