"""Numbers are drawn apart from what is done with them, and what is done is what the numbers say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.augmentation import (
    ALTERATIONS,
    NO_AUGMENTATION,
    AugmentationDraw,
    AugmentationPlan,
    Batch,
    augmented,
    draw_augmentation,
)

NAMES = ("hu", "lungs")
SIDES = (21, 21, 25)
CENTRE = np.array([[10, 10, 12]])
SPACING_MM = (4.0, 5.0, 2.0)


def _still(**changes: object) -> AugmentationDraw:
    """Numbers that leave one sample as it is, but for `changes`."""
    draw = draw_augmentation(NO_AUGMENTATION, NAMES, seed=1, places=[0])
    return replace(draw, **changes)


def _volumes() -> torch.Tensor:
    """A channel with a ball, a channel of lungs, the lungs again, and the target; lungs are everything but the rim."""
    s, r, k = np.indices(SIDES, dtype=np.float32)
    lungs = np.zeros(SIDES, dtype=np.float32)
    lungs[2:-2, 2:-2, 2:-2] = 1.0
    hu = np.exp(-((s - 12) ** 2 + (r - 8) ** 2 + (k - 15) ** 2) / 3.0).astype(np.float32)
    return torch.from_numpy(np.stack([hu, lungs, lungs, lungs * (1.0 + hu)]))[None]


def _seen(draw: AugmentationDraw, volumes: torch.Tensor | None = None) -> Batch:
    volumes = _volumes() if volumes is None else volumes
    return augmented(volumes, CENTRE, draw, window=SIDES, spacing_mm=SPACING_MM)


def _centre_of_ball(batch: Batch) -> np.ndarray:
    """In voxels of the window."""
    ball = batch.channels[0, 0].numpy().astype(np.float64)
    return np.array([(ball * index).sum() / ball.sum() for index in np.indices(SIDES)])


def test_a_draw_depends_on_seed_and_place_and_on_nothing_else() -> None:
    plan = AugmentationPlan()
    together = draw_augmentation(plan, NAMES, seed=5, places=[3, 4])
    alone = draw_augmentation(plan, NAMES, seed=5, places=[4])
    assert np.array_equal(together.rotation[1:], alone.rotation)
    assert together.noise_seed[1:] == alone.noise_seed
    assert not np.array_equal(together.rotation[0], together.rotation[1])
    assert not np.array_equal(draw_augmentation(plan, NAMES, seed=6, places=[4]).scale, alone.scale)


def test_draws_keep_within_the_plan() -> None:
    plan = AugmentationPlan(rotation_degrees=6.0, scale=0.08, shift_mm=10.0)
    draw = draw_augmentation(plan, NAMES, seed=1, places=range(300))
    for values, most in ((draw.rotation, np.deg2rad(6.0)), (draw.scale - 1.0, 0.08), (draw.shift_mm, 10.0)):
        assert 0.95 * most < np.abs(values).max() <= most
        assert abs(values.mean()) < 0.1 * most
    assert draw.gain[:, 0].std() == pytest.approx(ALTERATIONS["hu"].gain, rel=0.15)
    assert (draw.gain[:, 1] == 1.0).all()
    assert not draw.offset[:, 1].any()
    assert not draw.noise[:, 1].any()


def test_nothing_drawn_changes_nothing() -> None:
    batch, volumes = _seen(_still()), _volumes()
    assert torch.allclose(batch.channels, volumes[:, :2], atol=1e-5)
    assert torch.allclose(batch.target, volumes[:, 3:], atol=1e-5)
    assert torch.equal(batch.lungs, volumes[:, 2:3] > 0.5)


def test_a_shift_moves_the_body_by_millimetres_along_each_axis() -> None:
    moved = _centre_of_ball(_seen(_still(shift_mm=np.array([[4.0, -5.0, 4.0]]))))
    assert moved - _centre_of_ball(_seen(_still())) == pytest.approx([1.0, -1.0, 2.0], abs=0.02)


def test_a_turn_about_the_slice_axis_is_one_in_millimetres_whatever_the_voxels() -> None:
    # The ball lies 2 rows (10 mm) before and 3 columns (6 mm) behind the middle: a quarter turn swaps the two.
    turned = _centre_of_ball(_seen(_still(rotation=np.array([[np.pi / 2, 0.0, 0.0]]))))
    assert turned[0] == pytest.approx(12.0, abs=0.05)
    assert np.abs(turned[1:] - CENTRE[0, 1:]) == pytest.approx([6.0 / 5.0, 10.0 / 2.0], abs=0.1)


def test_a_body_that_is_scaled_is_larger_about_the_middle_of_the_window() -> None:
    volumes = _volumes()
    ball = _seen(_still(scale=np.array([[1.25, 1.0, 1.0]])), volumes).channels[0, 0]
    assert ball.sum() == pytest.approx(1.25 * float(volumes[0, 0].sum()), rel=0.02)
    grown = _centre_of_ball(_seen(_still(scale=np.array([[1.25, 1.0, 1.0]])), volumes))
    assert grown[0] == pytest.approx(10 + 1.25 * 2, abs=0.05)


def test_the_target_at_the_edge_of_the_lungs_is_not_mixed_with_what_lies_outside() -> None:
    volumes = _volumes()
    volumes[:, 3] = 1.5 * volumes[:, 2]
    batch = _seen(_still(rotation=np.array([[0.1, 0.05, -0.08]]), shift_mm=np.array([[1.5, 2.0, 0.7]])), volumes)
    assert batch.lungs.any()
    assert batch.target[batch.lungs].numpy() == pytest.approx(1.5, abs=1e-5)
    assert not batch.target[~batch.lungs].any()


def test_gain_offset_and_noise_are_those_drawn_and_leave_what_is_nothing() -> None:
    volumes = torch.zeros((1, 4, *SIDES))
    volumes[:, :, 4:-4] = 0.5
    numbers = {"gain": np.array([[1.2, 1.0]]), "offset": np.array([[0.1, 0.0]]), "noise": np.array([[0.05, 0.0]])}
    channels = _seen(_still(**numbers, noise_seed=(3,)), volumes).channels[0]
    inside = channels[0, 4:-4].numpy()
    assert inside.mean() == pytest.approx(0.5 * 1.2 + 0.1, abs=0.005)
    assert inside.std() == pytest.approx(0.05, rel=0.1)
    assert not channels[0, :4].any()
    assert torch.allclose(channels[1], volumes[0, 1], atol=1e-6)


def test_noise_is_that_of_the_seed() -> None:
    noise = np.array([[0.05, 0.0]])
    one, again, other = (_seen(_still(noise=noise, noise_seed=(seed,))).channels for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_half_precision_around_it_costs_no_digits() -> None:
    draw = _still(shift_mm=np.array([[4.0, -5.0, 4.0]]))
    with torch.autocast("cpu", torch.bfloat16):
        channels = _seen(draw, _volumes().half()).channels
    assert channels.dtype == torch.float32
    assert torch.allclose(channels, _seen(draw).channels, atol=1e-3)
