"""Coverage on exchangeable data, whose answer is known: rank / (n + 1)."""

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.geometry import Grid
from inference.uncertainty import ConformalInterval, uncertainty_of
from training.conformal import HeldOutErrors, calibrated, held_out_errors

GRID = Grid.axial((1, 1, 10), (5.0, 5.0, 5.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2")
LUNGS = np.ones(GRID.shape, dtype=bool)
LOBES = np.array([[[Lobe.RUL] * 5 + [Lobe.LUL] * 5]], dtype=np.uint8)


def errors(patient: str, error: float, *regions: str) -> HeldOutErrors:
    return HeldOutErrors(patient, error, dict.fromkeys(regions or ("Lung_RUL",), error))


def fold(*of_patients: float, number: int = 0) -> list[HeldOutErrors]:
    return [errors(f"LC-{number}{k:02d}", error) for k, error in enumerate(of_patients)]


def calibrate(*folds: list[HeldOutErrors], **options: float) -> ConformalInterval:
    return calibrated(folds, mean_spreads=[0.1], calibrated_on="Nobody.", **options)  # type: ignore[arg-type]


def test_the_half_width_is_the_error_of_the_conformal_rank() -> None:
    """Of 19 patients the 18th error is exceeded by 10 % of new ones; of 11 the largest by 8 %."""
    found = calibrate(fold(*np.arange(1.0, 20.0)), fold(*np.arange(1.0, 12.0), number=1))
    assert found.voxels == (18.0, 11.0)
    assert found.regions["Lung_RUL"] == (18.0, 11.0)
    assert found.level == 0.9
    assert found.patients == (19, 11)


def test_few_patients_get_the_largest_error_and_a_lower_level() -> None:
    found = calibrate(fold(0.3, 0.1, 0.2), fold(0.6, 0.5, number=1))
    assert found.level == pytest.approx(2 / 3)
    assert found.voxels == (0.3, 0.6)


def test_a_region_that_a_fold_never_saw_gets_no_interval() -> None:
    first = [errors("LC-1", 0.1, "Lung_RUL", "Lung_RML"), errors("LC-2", 0.2, "Lung_RUL")]
    second = [errors("LC-3", 0.1, "Lung_RUL"), errors("LC-4", 0.2, "Lung_RUL")]
    assert set(calibrate(first, second).regions) == {"Lung_RUL"}


def test_a_patient_in_two_folds_and_an_empty_fold_are_mistakes() -> None:
    with pytest.raises(ValueError, match="twice"):
        calibrate(fold(0.1), fold(0.2))
    with pytest.raises(ValueError, match="not seen"):
        calibrate(fold(0.1), [])


def test_errors_are_of_relative_maps_and_rank_over_voxels() -> None:
    spect = np.full(GRID.shape, 50.0)
    prediction = np.full(GRID.shape, 2.0)
    prediction[..., :5] = 6.0  # mean 4: 1.5 in the right lung, 0.5 in the left
    found = held_out_errors("LC-1", prediction, spect, LUNGS, LOBES)
    assert found.voxels == pytest.approx(0.5)
    assert found.regions == pytest.approx({"Lung_RUL": 0.5, "Lung_R": 0.5, "Lung_LUL": 0.5, "Lung_L": 0.5})
    prediction = np.full(GRID.shape, 1.0)
    prediction[..., 9] = 11.0  # one voxel of ten is wrong: within the tenth that may be
    assert held_out_errors("LC-1", prediction, spect, LUNGS, LOBES).voxels == pytest.approx(0.5)
    assert held_out_errors("LC-1", prediction, spect, LUNGS, LOBES, voxel_share=1.0).voxels == pytest.approx(4.5)


def test_intervals_of_one_network_cover_new_patients_as_often_as_promised() -> None:
    """10 patients at 90 %: the 10th error, which 10 of 11 patients do not exceed, whatever the errors are like."""
    random = np.random.default_rng(11)
    held = np.abs(random.standard_t(3, size=(3000, 11)))
    inside = [new <= calibrate(fold(*known)).voxels[0] for *known, new in held]
    assert np.mean(inside) == pytest.approx(10 / 11, abs=0.017)


def test_the_interval_of_an_ensemble_covers_new_patients_and_their_voxels() -> None:
    """Three networks with errors of their own, and one that all share: spread alone knows nothing of it."""
    random = np.random.default_rng(12)
    covered, within_spread = [], []
    for _ in range(100):
        bias = random.normal(0.0, 0.05, size=3)
        folds = [[_held_out(random, bias[k], f"LC-{k}-{n}") for n in range(11)] for k in range(3)]
        interval = calibrate(*folds)
        truth, maps = _patient(random, bias)
        known = uncertainty_of(maps, LUNGS, LOBES, GRID, interval)
        covered.append(np.mean((known.lower <= truth) & (truth <= known.upper)) >= interval.voxel_share)
        within_spread.append(np.mean(np.abs(maps.mean(axis=0) - truth) <= 2.0 * known.spread) >= interval.voxel_share)
    assert np.mean(covered) >= 0.9
    assert np.mean(within_spread) < 0.5


def _patient(random: np.random.Generator, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What SPECT shows, and what each network says of it."""
    truth = 1.0 + 0.3 * random.normal(size=GRID.shape)
    shared = 0.3 * random.normal(size=GRID.shape)
    own = 0.05 * random.normal(size=(len(bias), *GRID.shape))
    return truth, truth + shared + own + bias[:, None, None, None]


def _held_out(random: np.random.Generator, bias: float, patient: str) -> HeldOutErrors:
    truth, maps = _patient(random, np.array([bias]))
    error = np.sort(np.abs(maps[0] - truth).ravel())
    return HeldOutErrors(patient, float(error[8]), {})
