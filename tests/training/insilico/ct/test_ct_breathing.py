"""Slices of a breathing patient: which states they see, and what a mean over a breath looks like."""

import numpy as np
import pytest

from inference.geometry import Grid
from training.insilico.ct.ct_breathing import STATES, breathing_slices, seen_states
from training.insilico.ct.ct_sampling import slice_weights
from training.insilico.people.breathing import Breathing, displaced

UID = "2.25.1"
BODY = Grid.axial((50, 24, 30), (6.0, 10.0, 10.0), (-145.0, -115.0, -147.0), frame_of_reference_uid=UID)
BREATHING = Breathing(
    diaphragm_mm=18.0,
    anterior_mm=3.0,
    apex_mm=120.0,
    dome_mm=-60.0,
    cage_middle_mm=(0.0, 0.0),
    cage_half_mm=(110.0, 85.0),
)
HEIGHTS = np.arange(-120.0, 121.0, 6.0)


def scan(seconds_per_slice: float, table_mm_per_s: float) -> np.ndarray:
    return seen_states(
        HEIGHTS, BREATHING, seconds_per_slice=seconds_per_slice, table_mm_per_s=table_mm_per_s, start=0.2
    )


@pytest.mark.parametrize(("seconds", "table"), [(0.01, 25.0), (0.7, 27.0), (1.6, 9.0), (20.0, 2.0)])
def test_the_time_of_each_slice_is_spent_in_some_state(seconds: float, table: float) -> None:
    seen = scan(seconds, table)
    assert seen.shape == (STATES, HEIGHTS.size)
    assert seen.min() >= 0.0
    assert seen.sum(axis=0) == pytest.approx(np.ones(HEIGHTS.size))


def test_a_fast_scan_sees_the_states_one_after_the_other_and_again_after_one_breath() -> None:
    seen = scan(0.01, 6.0)  # a slice each second, four slices a breath
    assert ((seen > 0.01).sum(axis=0) <= 2).all()
    assert seen[:, 4] == pytest.approx(seen[:, 0], abs=0.02)
    assert np.abs(seen[:, 2] - seen[:, 0]).sum() > 1.0


def test_the_mean_of_a_4dct_is_the_mean_over_a_breath_in_each_slice() -> None:
    seen = scan(20.0, 2.0)
    weights = [part.weight for part in BREATHING.phases(STATES)]
    assert seen[:, 0] == pytest.approx(seen[:, 17], abs=0.03)
    assert seen[:, 0] == pytest.approx(np.array(weights), abs=0.08)
    assert seen[0, 0] > 0.3  # most time is spent near end-expiration


@pytest.fixture(scope="module")
def stepped() -> np.ndarray:
    """Lung above, liver below the dome of the diaphragm at -60 mm."""
    z = BODY.coordinates_mm()[2]
    hu = np.where(z < -60.0, 60.0, -700.0) + np.zeros(BODY.shape)
    return hu.astype(np.float32)


def test_slices_in_one_state_show_the_body_displaced_to_it(stepped: np.ndarray) -> None:
    slices = Grid.axial((40, 24, 30), (6.0, 10.0, 10.0), (-145.0, -115.0, -120.0), frame_of_reference_uid=UID)
    weights = slice_weights(BODY, slices, 6.0)
    for state, part in enumerate(BREATHING.phases(STATES)):
        seen = np.zeros((STATES, 40))
        seen[state] = 1.0
        moved = displaced(stepped, BODY, BREATHING, part.phase)
        expected = (weights @ moved.reshape(50, -1)).reshape(40, 24, 30)
        assert breathing_slices(stepped, BODY, weights, seen, BREATHING) == pytest.approx(expected, abs=0.05)


def test_breathing_smears_the_diaphragm_and_leaves_the_apex_and_the_arms(stepped: np.ndarray) -> None:
    hu = stepped.copy()
    hu[:, :, 1] = np.where(np.arange(50)[:, None] % 2, 200.0, -1000.0)  # outside the rib cage
    hu[-5:] += np.array([90.0, -40.0, 70.0, 10.0, 50.0], np.float32)[:, np.newaxis, np.newaxis]  # above the apex
    weights = slice_weights(BODY, BODY, 6.0)
    still = (weights @ hu.reshape(50, -1)).reshape(BODY.shape)
    seen = np.repeat([[part.weight] for part in BREATHING.phases(STATES)], 50, axis=1)
    mean = breathing_slices(hu, BODY, weights, seen, BREATHING)
    assert mean[:, :, 1] == pytest.approx(still[:, :, 1], abs=0.05)
    assert mean[-3:, :, 2:] == pytest.approx(still[-3:, :, 2:], abs=0.05)
    between = (mean[:, 12, 15] > -600.0) & (mean[:, 12, 15] < -40.0)
    assert between.sum() > ((still[:, 12, 15] > -600.0) & (still[:, 12, 15] < -40.0)).sum()
