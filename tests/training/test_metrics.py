"""Scores of two maps, on arrays small enough to work out by hand, and beside scipy."""

import numpy as np
import pytest
from scipy import stats

from inference.anatomy import Lobe
from inference.geometry import Grid
from training.metrics import eroded, function_dice, lobe_means, pearson, rmse, spearman, ssim

EVERYWHERE = np.ones((1, 2, 3), bool)


def line(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 2, 3)


def grid(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Grid:
    return Grid.axial(shape, spacing_mm, (0.0, 0.0, 0.0), frame_of_reference_uid="2.25.1")


def test_a_monotone_map_has_rank_correlation_one_and_not_linear_correlation_one() -> None:
    one, other = line(1, 2, 3, 4, 5, 6), line(1, 4, 9, 16, 25, 1000)
    assert spearman(one, other, EVERYWHERE) == pytest.approx(1.0)
    assert pearson(one, other, EVERYWHERE) == pytest.approx(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    assert spearman(one, -other, EVERYWHERE) == pytest.approx(-1.0)


def test_ties_have_their_mean_rank_as_in_scipy() -> None:
    chance = np.random.default_rng(0)
    one = chance.integers(0, 5, (6, 7, 8)).astype(np.float32)
    other = (one + chance.integers(0, 6, one.shape)).astype(np.float32)
    mask = chance.random(one.shape) < 0.5
    expected = stats.spearmanr(one[mask], other[mask]).statistic
    assert spearman(one, other, mask) == pytest.approx(expected, abs=1e-12)


def test_only_voxels_of_the_mask_count() -> None:
    mask = EVERYWHERE.copy()
    mask[0, 1, 2] = False
    assert spearman(line(1, 2, 3, 4, 5, 0), line(1, 2, 3, 4, 5, 99), mask) == pytest.approx(1.0)


def test_a_constant_map_and_an_empty_mask_have_no_correlation() -> None:
    assert np.isnan(spearman(line(1, 1, 1, 1, 1, 1), line(1, 2, 3, 4, 5, 6), EVERYWHERE))
    assert np.isnan(pearson(line(1, 2, 3, 4, 5, 6), line(1, 2, 3, 4, 5, 6), ~EVERYWHERE))


def test_rmse_is_that_of_maps_of_mean_one() -> None:
    # 0.5 and 1.5 in turn against all 1: half a mean off everywhere, whatever the units.
    assert rmse(line(1, 3, 1, 3, 1, 3), line(7, 7, 7, 7, 7, 7), EVERYWHERE) == pytest.approx(0.5)


def test_dice_of_halves_that_share_two_of_three_voxels() -> None:
    dice = function_dice(line(1, 2, 3, 4, 5, 6), line(1, 2, 9, 3, 5, 6), EVERYWHERE, low_percent=50.0)
    assert dice.high == pytest.approx(2 / 3)  # {4, 5, 6} and {3, 5, 6} of the six voxels
    assert dice.low == pytest.approx(2 / 3)


def test_the_split_says_how_much_is_high() -> None:
    # Low are the two smallest of six: {1, 2} and {1, 4}; high are four, three of them shared.
    dice = function_dice(line(1, 2, 3, 4, 5, 6), line(1, 5, 4, 2, 6, 7), EVERYWHERE, low_percent=34.0)
    assert dice.low == pytest.approx(0.5)
    assert dice.high == pytest.approx(0.75)


def test_lobe_means_of_lobes_that_are_there() -> None:
    lobes = np.array([[[0, 1, 1], [5, 5, 0]]], np.uint8)
    assert lobe_means(line(99, 1, 2, 3, 5, 99), lobes) == {Lobe.RUL: 1.5, Lobe.LLL: 4.0}


@pytest.mark.parametrize("spacing_mm", [(2.0, 2.0, 2.0), (4.0, 2.0, 1.0)])
def test_erosion_takes_as_many_millimetres_on_any_grid(spacing_mm: tuple[float, float, float]) -> None:
    shape = tuple(int(48.0 / spacing) for spacing in spacing_mm)
    mask = np.zeros(shape, bool)
    inside = tuple(slice(int(8.0 / spacing), int(40.0 / spacing)) for spacing in spacing_mm)
    mask[inside] = True  # a cube of 32 mm
    small = eroded(mask, grid(shape, spacing_mm), margin_mm=8.0)
    for axis, spacing in enumerate(spacing_mm):
        extent = np.count_nonzero(small.any(axis=tuple(k for k in range(3) if k != axis))) * spacing
        assert extent == pytest.approx(16.0, abs=spacing)
    assert not (small & ~mask).any()


def test_the_end_of_the_grid_is_a_surface() -> None:
    mask = np.ones((9, 9, 9), bool)
    small = eroded(mask, grid((9, 9, 9), (2.0, 2.0, 2.0)), margin_mm=4.0)
    assert np.count_nonzero(small) == 5**3


def test_a_map_is_structurally_like_itself_and_not_like_noise() -> None:
    chance = np.random.default_rng(2)
    smooth = np.add.outer(np.linspace(0, 1, 20), np.add.outer(np.linspace(0, 1, 16), np.linspace(0, 1, 18)))
    mask = np.zeros(smooth.shape, bool)
    mask[3:-3, 3:-3, 3:-3] = True
    assert ssim(smooth, smooth, mask) == pytest.approx(1.0)
    assert ssim(chance.random(smooth.shape), smooth, mask) < 0.5


def test_structure_is_compared_inside_the_mask_only() -> None:
    values = np.random.default_rng(2).random((14, 15, 16))
    mask = np.zeros(values.shape, bool)
    mask[4:9, 4:9, 4:9] = mask[2:5, 2:5, 10:13] = True  # a box round both holds voxels outside
    assert ssim(np.where(mask, values, 99.0), values, mask) == pytest.approx(1.0)


def test_the_range_is_that_of_the_reference() -> None:
    """The same small error weighs less where the reference has a larger range."""
    chance = np.random.default_rng(4)
    mask = np.ones((12, 12, 12), bool)
    values, error = chance.random(mask.shape), 0.2 * chance.standard_normal(mask.shape)
    assert ssim(values + error, values, mask) == pytest.approx(ssim(10 * (values + error), 10 * values, mask))
    assert ssim(10 * values + error, 10 * values, mask) > ssim(values + error, values, mask)


def test_a_reference_without_perfusion_has_no_structure() -> None:
    assert np.isnan(ssim(line(1, 2, 3, 4, 5, 6), line(0, 0, 0, 0, 0, 0), EVERYWHERE))
