"""Batches depend on a seed and a number; every case comes in turn and lies where the node lays it."""

from collections import Counter

import numpy as np
import pytest
import torch

from inference.preprocessing import window_padding
from tests.training.drawn_cases import SHAPE, drawn_case
from training.augmentation import AugmentationPlan, Batch
from training.case_batches import CaseBatches
from training.study_case import StudyCase

CASES = tuple(drawn_case(f"LC-00{k}", seed=k) for k in range(1, 6))


def _same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("channels", "target", "lungs"))


def _who(batch: Batch, batches: CaseBatches) -> list[str]:
    """Which patients a batch without augmentation holds."""
    wholes = [batches.whole(index).target[0] for index in range(len(batches))]
    distances = [[float((seen - whole).abs().max()) for whole in wholes] for seen in batch.target]
    assert max(min(row) for row in distances) < 1e-3
    return [batches.patients[int(np.argmin(row))] for row in distances]


def test_a_batch_depends_on_its_number_and_the_seed_only() -> None:
    one, other = (CaseBatches(CASES, "cpu", SHAPE, batch_size=2, augmentation=AugmentationPlan()) for _ in range(2))
    other.batch(7, 1)
    assert _same(one.batch(3, 1), other.batch(3, 1))
    assert not _same(one.batch(3, 1), one.batch(4, 1))
    assert not _same(one.batch(3, 1), one.batch(3, 2))


def test_every_case_comes_once_before_any_comes_twice() -> None:
    batches = CaseBatches(CASES, "cpu", SHAPE, batch_size=2)
    order = [name for number in range(10) for name in _who(batches.batch(number, 4), batches)]
    for turn in range(4):
        assert Counter(order[5 * turn : 5 * turn + 5]) == Counter(batches.patients)
    assert order[:5] != order[5:10]
    assert order[:10] != [name for number in range(5) for name in _who(batches.batch(number, 5), batches)]


def test_batches_of_any_size_are_cut_from_one_sequence() -> None:
    small, large = (
        CaseBatches(CASES, "cpu", SHAPE, batch_size=size, augmentation=AugmentationPlan()) for size in (1, 3)
    )
    assert torch.equal(torch.cat([small.batch(k, 1).channels for k in (3, 4, 5)]), large.batch(1, 1).channels)


def test_a_case_that_is_smaller_than_the_window_lies_where_the_node_lays_it() -> None:
    window = (21, 16, 24)
    before = [pair[0] for pair in window_padding(SHAPE, window)]
    box = tuple(slice(a, a + n) for a, n in zip(before, SHAPE, strict=True))
    batches = CaseBatches(CASES[:1], "cpu", window, batch_size=1)
    for batch in (batches.whole(0), batches.batch(0, 1)):
        channels = batch.channels[0].numpy()
        assert channels[(slice(None), *box)] == pytest.approx(CASES[0].channels, abs=1e-3)
        assert batch.target[0, 0].numpy()[box] == pytest.approx(CASES[0].target, abs=2e-3)
        assert np.array_equal(batch.lungs[0, 0].numpy()[box], CASES[0].lungs)
        channels[(slice(None), *box)] = 0.0
        assert np.abs(channels).max() < 1e-5


def test_a_smaller_window_sees_every_part_of_a_case_and_nothing_beyond() -> None:
    batches = CaseBatches(CASES[:1], "cpu", (8, 8, 8), batch_size=32)
    whole = CASES[0].channels[0]
    parts = {whole[s : s + 8, r : r + 8, k : k + 8].tobytes(): (s, r, k) for s, r, k in np.ndindex(9, 5, 9)}
    rounded = {np.frombuffer(key, np.float32).reshape(8, 8, 8).sum().round(1): at for key, at in parts.items()}
    assert len(rounded) > 100
    found = []
    for sample in batches.batch(0, 1).channels[:, 0].numpy():
        errors = {
            at: np.abs(np.frombuffer(key, np.float32).reshape(8, 8, 8) - sample).max() for key, at in parts.items()
        }
        at = min(errors, key=lambda each: errors[each])
        assert errors[at] < 1e-3
        found.append(at)
    assert np.ptp(found, axis=0) == pytest.approx([8, 4, 8], abs=2)


def test_a_map_of_the_frame_comes_back_to_the_grid_of_the_case() -> None:
    batches = CaseBatches(CASES, "cpu", (21, 16, 24))
    back = batches.unpadded(batches.whole(2).target[0, 0], 2)
    assert back == pytest.approx(CASES[2].target, abs=2e-3)


def test_channels_come_in_the_order_asked_for() -> None:
    batches = CaseBatches(CASES, "cpu", SHAPE, channel_names=("lungs",))
    assert batches.whole(1).channels[0, 0].numpy() == pytest.approx(CASES[1].channel("lungs"))
    with pytest.raises(KeyError, match="spread"):
        CaseBatches(CASES, "cpu", SHAPE, channel_names=("hu", "spread"))


@pytest.mark.parametrize("cases", [(), (CASES[0], None)])
def test_no_case_and_cases_of_several_spacings_are_refused(cases: tuple[StudyCase | None, ...]) -> None:
    from dataclasses import replace

    grid = CASES[0].grid.with_spacing((4.8, 4.8, 4.8))
    coarse = replace(CASES[1], grid=type(grid)(grid.shape, grid.affine @ np.diag([2.0, 1.0, 1.0, 1.0]), ""))
    with pytest.raises(ValueError, match="one spacing"):
        CaseBatches([case or coarse for case in cases], "cpu", SHAPE)
