"""Defects drawn as boxes, whose volume and depth are known."""

import numpy as np
import pytest

from inference.geometry import Grid
from training.perfusion_defects import defects_shown, edge_corrected, find_defects

GRID = Grid.axial((12, 12, 12), (5.0, 5.0, 5.0), (0.0, 0.0, 0.0), frame_of_reference_uid="2.25.1")
EVERYWHERE = np.ones(GRID.shape, bool)
SMALL, LARGE, ELSEWHERE = np.s_[1:5, 1:5, 1:5], np.s_[6:11, 6:11, 6:10], np.s_[1:5, 1:5, 7:11]
"""64, 100 and 64 voxels of 0.125 ml: 8, 12.5 and 8 ml."""


def flat(*places: tuple[tuple[slice, ...], float]) -> np.ndarray:
    values = np.ones(GRID.shape, np.float32)
    for place, value in places:
        values[place] = value
    return values


def test_defects_are_numbered_from_the_largest_and_small_ones_are_none() -> None:
    values = flat((SMALL, 0.2), (LARGE, 0.3))
    values[0, 11, :] = 0.0  # 1.5 ml
    labels = find_defects(values, EVERYWHERE, GRID)
    assert (labels[LARGE] == 1).all()
    assert (labels[SMALL] == 2).all()
    assert np.count_nonzero(labels) == 164


def test_what_is_low_is_said_of_the_mean_that_is_given() -> None:
    values = flat((SMALL, 0.2))
    assert not find_defects(values, EVERYWHERE, GRID, mean=0.4).any()
    assert find_defects(values, EVERYWHERE, GRID, mean=0.5).any()


def test_lung_outside_the_mask_is_no_defect() -> None:
    lungs = EVERYWHERE.copy()
    lungs[LARGE] = False
    labels = find_defects(flat((SMALL, 0.2), (LARGE, 0.0)), lungs, GRID)
    assert labels.max() == 1
    assert not labels[LARGE].any()


def test_counts_lost_at_the_edge_come_back_and_the_mean_is_one() -> None:
    outline = np.full(GRID.shape, 0.8, np.float32)
    outline[0] = 0.4
    outline[1] = 0.001  # hardly any lung there
    perfusion = flat((LARGE, 0.25))
    corrected = edge_corrected(7.0 * perfusion * outline, outline, EVERYWHERE)
    assert corrected.mean() == pytest.approx(1.0)
    assert not corrected[1].any()
    rest = np.delete(corrected, 1, axis=0)
    assert rest / rest.max() == pytest.approx(np.delete(perfusion, 1, axis=0))


def test_without_the_correction_every_edge_would_be_a_defect() -> None:
    outline = np.ones(GRID.shape, np.float32)
    outline[:1] = 0.3
    counts = outline.copy()  # perfusion is 1 everywhere
    assert find_defects(counts, EVERYWHERE, GRID).any()
    assert not find_defects(edge_corrected(counts, outline, EVERYWHERE), EVERYWHERE, GRID).any()


def test_a_defect_is_found_from_half_of_its_volume_on() -> None:
    truth = flat((SMALL, 0.2), (LARGE, 0.3))
    defects = find_defects(truth, EVERYWHERE, GRID)
    shown = flat((np.s_[1:3, 1:5, 1:5], 0.4), (np.s_[6:8, 6:11, 6:10], 0.4))  # 4 of 8 ml, 5 of 12.5 ml
    found = defects_shown(shown, truth, defects, EVERYWHERE, GRID)
    large, small = found.defects
    assert (large.volume_ml, large.low_share, large.found) == (pytest.approx(12.5), pytest.approx(0.4), False)
    assert (small.volume_ml, small.low_share, small.found) == (pytest.approx(8.0), pytest.approx(0.5), True)
    assert small.truth == pytest.approx(0.2)
    assert small.shown == pytest.approx(0.7)
    assert small.contrast_shown == pytest.approx(0.3 / 0.8)


def test_a_map_that_is_a_little_lower_finds_nothing() -> None:
    truth = flat((LARGE, 0.1))
    found = defects_shown(flat((LARGE, 0.6)), truth, find_defects(truth, EVERYWHERE, GRID), EVERYWHERE, GRID)
    assert [defect.found for defect in found.defects] == [False]
    assert (found.shown, found.false) == (0, 0)


def test_a_defect_of_the_map_alone_is_false_and_one_that_touches_is_not() -> None:
    truth = flat((LARGE, 0.1))
    shown = flat((ELSEWHERE, 0.1), (np.s_[3:7, 6:11, 6:10], 0.1))  # the second shares 20 voxels with the defect
    found = defects_shown(shown, truth, find_defects(truth, EVERYWHERE, GRID), EVERYWHERE, GRID)
    assert (found.shown, found.false) == (2, 1)
    assert found.dice == pytest.approx(2.0 * 20 / (100 + 64 + 80))


def test_without_any_defect_there_is_no_overlap_to_speak_of() -> None:
    found = defects_shown(flat(), flat(), np.zeros(GRID.shape, np.uint8), EVERYWHERE, GRID)
    assert (found.defects, found.shown, found.false, found.dice) == ((), 0, 0, None)
