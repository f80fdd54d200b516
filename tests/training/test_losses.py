"""Losses inside the lungs: known values, and what they must not depend on."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from training.losses import LungLoss, huber, inner_lungs, pearson, rank_correlation, relative_to_lungs

SHAPE = (2, 1, 3, 4, 5)


def _maps(seed: int) -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed)) + 0.5


def _lungs() -> Tensor:
    lungs = torch.zeros(SHAPE, dtype=torch.bool)
    lungs[:, :, 1:, 1:3] = True
    lungs[1, :, :, :, :2] = False
    return lungs


def test_a_perfect_map_costs_nothing_whatever_its_scale() -> None:
    wanted = relative_to_lungs(_maps(1), _lungs().float())
    assert LungLoss(rank_weight=0.0)(7.0 * wanted, wanted, _lungs()) == pytest.approx(0.0, abs=1e-6)


def test_what_lies_outside_the_lungs_is_not_looked_at() -> None:
    predicted, wanted, lungs = _maps(1), relative_to_lungs(_maps(2), _lungs().float()), _lungs()
    before = LungLoss()(predicted, wanted, lungs)
    after = LungLoss()(
        torch.where(lungs, predicted, torch.tensor(9.0)), torch.where(lungs, wanted, torch.tensor(-4.0)), lungs
    )
    torch.testing.assert_close(before, after)


def test_each_patient_has_a_loss_of_its_own() -> None:
    predicted, wanted, lungs = _maps(1), _maps(2), _lungs()
    both = LungLoss()(predicted, wanted, lungs)
    assert both.shape == (2,)
    torch.testing.assert_close(LungLoss()(predicted[1:], wanted[1:], lungs[1:]), both[1:])


def test_pearson_is_that_of_torch() -> None:
    one, other, lungs = _maps(1), _maps(2), _lungs()
    got = pearson(one, other, lungs.float())
    wanted = [torch.corrcoef(torch.stack([one[k][lungs[k]], other[k][lungs[k]]]))[0, 1].item() for k in (0, 1)]
    assert got.tolist() == pytest.approx(wanted, abs=1e-5)


def test_a_constant_map_has_no_correlation_and_a_gradient() -> None:
    predicted = torch.ones(SHAPE, requires_grad=True)
    loss = LungLoss()(predicted, relative_to_lungs(_maps(2), _lungs().float()), _lungs()).sum()
    loss.backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()
    assert predicted.grad.abs().sum() > 0


def test_huber_is_quadratic_near_and_linear_far() -> None:
    lungs = torch.ones((1, 1, 1, 1, 2))
    wanted = torch.zeros_like(lungs)
    assert huber(torch.tensor([0.2, 0.4]).view_as(lungs), wanted, lungs, delta=0.5).item() == pytest.approx(0.05)
    far = huber(torch.tensor([2.5, 2.5]).view_as(lungs), wanted, lungs, delta=0.5).item()
    assert far == pytest.approx(0.5 * (2.5 - 0.25))


def test_the_weight_of_pearson_counts() -> None:
    predicted, wanted, lungs = _maps(1), relative_to_lungs(_maps(2), _lungs().float()), _lungs()
    less, more = LungLoss(0.5, 0.0)(predicted, wanted, lungs), LungLoss(0.5, 2.0)(predicted, wanted, lungs)
    torch.testing.assert_close(more - less, 2.0 * (1.0 - pearson(predicted, wanted, lungs.float())))


def test_the_inner_lungs_are_what_lies_deep_enough_along_each_axis() -> None:
    lungs = torch.zeros((1, 1, 9, 9, 9))
    lungs[..., 1:8, 1:8, 0:7] = 1.0
    inner = inner_lungs(lungs, 2)
    wanted = torch.zeros_like(lungs)
    wanted[..., 3:6, 3:6, 0:5] = 1.0  # columns touch the window, beyond which it counts as lung
    assert torch.equal(inner, wanted)


def test_ranks_of_the_wanted_map_count_and_not_its_values() -> None:
    lungs = _lungs().float()
    predicted, wanted = _maps(1), _maps(2)
    got = rank_correlation(predicted, wanted, lungs)
    torch.testing.assert_close(rank_correlation(predicted, wanted.exp(), lungs), got)
    torch.testing.assert_close(rank_correlation(3.0 * predicted + 2.0, wanted, lungs), got)
    noise = torch.where(lungs > 0, wanted, 99.0 * _maps(3))
    torch.testing.assert_close(rank_correlation(predicted, noise, lungs), got)


def test_the_rank_correlation_is_near_spearmans_for_normal_values() -> None:
    generator = torch.Generator().manual_seed(1)
    one = torch.randn((1, 1, 16, 16, 16), generator=generator)
    other = 0.7 * one + 0.7 * torch.randn(one.shape, generator=generator)
    wanted = stats.spearmanr(one.flatten(), other.flatten()).statistic
    assert rank_correlation(one, other, torch.ones_like(one)).item() == pytest.approx(wanted, abs=0.01)
    assert rank_correlation(one, one, torch.ones_like(one)).item() == pytest.approx(1.0, abs=0.002)


def test_without_inner_lungs_the_loss_is_finite() -> None:
    predicted = _maps(1).requires_grad_()
    LungLoss(inner_margin_voxels=3)(predicted, _maps(2), _lungs()).sum().backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()


def test_a_map_of_nothing_is_no_division_by_zero() -> None:
    wanted = relative_to_lungs(_maps(2), _lungs().float())
    assert all(math.isfinite(loss) for loss in LungLoss()(torch.zeros(SHAPE), wanted, _lungs()).tolist())
