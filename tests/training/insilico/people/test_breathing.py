"""Breathing moves what lies above the diaphragm, by the right way, and loses nothing."""

from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import Grid
from training.insilico.people.breathing import Breathing, displaced

BREATHING = Breathing(
    diaphragm_mm=16.0,
    anterior_mm=4.0,
    apex_mm=100.0,
    dome_mm=-50.0,
    cage_middle_mm=(0.0, 0.0),
    cage_half_mm=(130.0, 90.0),
)
HELD = replace(BREATHING, held_mm=50.0)
GRID = Grid.axial((110, 52, 68), (2.5, 5.0, 5.0), (-167.5, -127.5, -150.0), frame_of_reference_uid="1.2.3")
X, Y, Z = (np.broadcast_to(p, GRID.shape) for p in GRID.coordinates_mm())
EXPIRED, INSPIRED = (BREATHING.phases(200)[k].phase for k in (0, -1))
IN_LUNG = (np.abs(np.abs(X) - 60) < 25) & (np.abs(Y) < 30)


def blob(x_mm: float, y_mm: float, z_mm: float) -> np.ndarray:
    distance = (X - x_mm) ** 2 + (Y - y_mm) ** 2 + (Z - z_mm) ** 2
    return np.exp(-distance / (2 * 9.0**2)).astype(np.float32)


def centre(volume: np.ndarray) -> np.ndarray:
    return np.array([float((p * volume).sum(dtype=np.float64) / volume.sum(dtype=np.float64)) for p in (X, Y, Z)])


def test_phase_0_gives_the_body_back_as_it_is() -> None:
    volume = blob(-60.0, 0.0, -40.0)
    assert np.array_equal(displaced(volume, GRID, BREATHING, 0.0), volume)
    assert BREATHING.inspiration(0.0) == pytest.approx(3 / 8)


def test_a_breath_goes_from_expiration_to_inspiration_and_back() -> None:
    course = np.array([BREATHING.inspiration(p) for p in np.linspace(0, 1, 2001)])
    assert (course.min(), course.max()) == pytest.approx((0.0, 1.0), abs=1e-5)
    assert course[0] == pytest.approx(course[-1])
    assert course[1] > course[0]
    assert course[:-1].mean() == pytest.approx(3 / 8, abs=1e-4)
    rises = np.array([BREATHING.rise_mm(p) for p in np.linspace(0, 1, 2001)])
    assert np.ptp(rises) == pytest.approx(16.0, abs=1e-3)
    assert rises.argmin() == course.argmax()


def test_most_time_is_spent_near_the_end_of_expiration_and_the_mean_is_phase_0() -> None:
    phases = BREATHING.phases(8)
    weights = [part.weight for part in phases]
    assert sum(weights) == pytest.approx(1.0)
    assert weights[0] == max(weights) > 0.35
    levels = [BREATHING.inspiration(part.phase) for part in phases]
    assert levels == sorted(levels)
    assert sum(part.weight * BREATHING.rise_mm(part.phase) for part in phases) == pytest.approx(0.0, abs=1e-3)
    assert sum(part.weight * HELD.rise_mm(part.phase) for part in HELD.phases(8)) == pytest.approx(50.0, abs=1e-3)
    shares = np.histogram([BREATHING.inspiration(p) for p in np.linspace(0, 1, 8000)], bins=8, range=(0, 1))[0] / 8000
    assert weights == pytest.approx(shares, abs=0.005)


@pytest.mark.parametrize("phase", [EXPIRED, INSPIRED], ids=["expired", "inspired"])
def test_what_lies_at_the_diaphragm_goes_its_whole_way(phase: float) -> None:
    for z in (-60.0, -100.0):
        moved = centre(displaced(blob(-60.0, 0.0, z), GRID, BREATHING, phase)) - (-60.0, 0.0, z)
        assert moved[2] == pytest.approx(BREATHING.rise_mm(phase), abs=0.4)
        assert moved[0] == pytest.approx(0.0, abs=0.3)


def test_the_motion_falls_to_nothing_at_the_apex() -> None:
    way = [centre(displaced(blob(-60.0, 0.0, z), GRID, BREATHING, EXPIRED))[2] - z for z in (-50.0, 0.0, 50.0, 85.0)]
    assert way == sorted(way, reverse=True)
    assert way[1] == pytest.approx(BREATHING.rise_mm(EXPIRED) * 0.74, abs=0.5)
    assert way[-1] < 0.4


def test_the_front_of_the_chest_rises_when_breathing_in() -> None:
    front, back = (centre(displaced(blob(-50.0, y, -80.0), GRID, BREATHING, INSPIRED))[1] - y for y in (-55.0, 40.0))
    assert front == pytest.approx(-4.0 * 5 / 8 * 0.8, abs=0.3)
    assert -1.0 < back < 0.0


@pytest.mark.parametrize("phase", [EXPIRED, INSPIRED], ids=["expired", "inspired"])
def test_arms_skin_spine_and_apex_stand_still(phase: float) -> None:
    volume = (X + 3 * Y + 7 * Z).astype(np.float32)
    change = np.abs(displaced(volume, GRID, BREATHING, phase) - volume)
    still = (np.hypot(X / 130, Y / 90) > 1.06) | (np.hypot(X, Y - 70) < 14) | (Z >= 100.0)
    assert change[still].max() < 1e-2
    assert change[IN_LUNG & (np.abs(Z) < 40)].min() > 10.0


@pytest.mark.parametrize("breathing", [BREATHING, HELD], ids=["free", "held"])
@pytest.mark.parametrize("phase", [EXPIRED, INSPIRED], ids=["expired", "inspired"])
def test_activity_is_neither_lost_nor_won(breathing: Breathing, phase: float) -> None:
    lung = np.clip(1.0 - (np.hypot((np.abs(X) - 60) / 45, Y / 65) - 1.0) * 4, 0, 1) * np.clip((90 - Z) / 20, 0, 1)
    lung = (lung * np.clip((Z + 60) / 20, 0, 1)).astype(np.float32)
    kept = displaced(lung, GRID, breathing, phase, keeps_sum=True)
    assert kept.sum(dtype=np.float64) == pytest.approx(lung.sum(dtype=np.float64), rel=0.004)
    plain = displaced(lung, GRID, breathing, phase)
    assert abs(plain.sum(dtype=np.float64) / lung.sum(dtype=np.float64) - 1) > 0.02
    assert plain.max() <= 1.0 + 1e-6


def test_a_body_that_holds_a_deep_breath_lies_lower_than_in_any_phase() -> None:
    assert HELD.is_held
    assert not BREATHING.is_held
    for part in HELD.phases(6):
        assert centre(displaced(blob(-60.0, 0.0, -70.0), GRID, HELD, part.phase))[2] > -70.0 + 35.0
    rising = np.diff(displaced(Z.astype(np.float32), GRID, HELD, EXPIRED)[:, IN_LUNG.any(axis=0)], axis=0)
    assert (rising >= 0).all()


def test_a_box_cut_from_the_volume_moves_like_the_whole() -> None:
    volume = blob(-60.0, 0.0, -30.0)
    box = slice(20, 90), slice(8, 44), slice(4, 60)
    part = displaced(np.ascontiguousarray(volume[box]), GRID.cropped(box), BREATHING, EXPIRED)
    whole = displaced(volume, GRID, BREATHING, EXPIRED)
    assert np.abs(part - whole[box])[8:-8, 2:-2].max() < 1e-5
