"""Figures of arms whose patients have scores by hand."""

import numpy as np
import pytest

from tests.training.scored_arms import arm, scored
from training.arm_statistics import ArmScores, arm_statistics
from training.calibration import CalibrationBins
from training.score_names import Against, Score

PATIENTS = [f"LC-{number:03d}" for number in range(1, 9)]


def test_a_patient_is_the_mean_of_its_seeds_and_counts_once() -> None:
    both = arm("a", {"LC-001": 0.2, "LC-002": 0.6}, {"LC-001": 0.4, "LC-002": 0.6})
    assert both.values(Score.SPEARMAN, Against.SPECT) == pytest.approx({"LC-001": 0.3, "LC-002": 0.6})
    found = arm_statistics(both)
    assert (found.patients, found.seeds) == (2, 2)
    spearman = found.scores[Against.SPECT][Score.SPEARMAN]
    assert (spearman.patients, spearman.mean) == (2, pytest.approx(0.45))
    assert spearman.sd == pytest.approx(0.3 / 2**0.5)
    assert found.scores[Against.TRUTH][Score.SPEARMAN].mean == pytest.approx(0.225)


def test_the_spread_of_seeds_is_that_of_their_means() -> None:
    both = arm("a", {"LC-001": 0.2, "LC-002": 0.6}, {"LC-001": 0.4, "LC-002": 0.6})
    assert arm_statistics(both).seed_sd[Against.SPECT] == pytest.approx({Score.SPEARMAN: 0.1 / 2**0.5})
    assert arm_statistics(arm("a", {"LC-001": 0.2})).seed_sd[Against.SPECT] == {}


def test_a_seed_that_lacks_a_patient_is_passed_over() -> None:
    running = arm("a", {"LC-001": 0.2, "LC-002": 0.6}, {"LC-001": 0.4})
    assert running.values(Score.SPEARMAN, Against.SPECT) == pytest.approx({"LC-001": 0.3, "LC-002": 0.6})
    assert arm_statistics(running).lobes[Against.SPECT]["RUL"].patients == 1


def test_patients_without_a_score_do_not_count_for_it() -> None:
    some = ArmScores("a", ({"LC-001": scored("LC-001", None), "LC-002": scored("LC-002", 0.6)},))
    assert some.values(Score.SPEARMAN, Against.SPECT) == {"LC-002": 0.6}
    assert Score.SSIM not in arm_statistics(some).scores[Against.SPECT]


def test_some_patients_alone() -> None:
    alone = arm("a", dict.fromkeys(PATIENTS, 0.5)).only(PATIENTS[:3])
    assert alone.patients == tuple(PATIENTS[:3])


def lobes_of(*seeds: list[tuple[float, float]]) -> ArmScores:
    return ArmScores(
        "a", tuple({p: scored(p, lobe=pair) for p, pair in zip(PATIENTS, seed, strict=False)} for seed in seeds)
    )


def test_lobes_correlate_over_patients_seed_by_seed() -> None:
    """Two maps whose errors cancel in their mean are not perfect: r is that of a map, not of the mean of maps."""
    measured = np.linspace(0.5, 1.5, 8)
    error = 0.3 * np.array([1, -1, 1, 1, -1, -1, 1, -1])
    up, down = measured + error, measured - error
    found = arm_statistics(lobes_of(list(zip(up, measured, strict=True)), list(zip(down, measured, strict=True))))
    lobe = found.lobes[Against.SPECT]["RUL"]
    expected = np.mean([np.corrcoef(up, measured)[0, 1], np.corrcoef(down, measured)[0, 1]])
    assert lobe.r is not None
    assert lobe.r.value == pytest.approx(expected)
    assert lobe.r.low is not None
    assert lobe.r.low < expected < lobe.r.high
    assert lobe.bias == pytest.approx(0.0)
    assert lobe.limits_high == pytest.approx(1.96 * np.std(error, ddof=1))
    assert lobe.limits_low == pytest.approx(-1.96 * np.std(error, ddof=1))


def test_bias_is_predicted_less_measured_and_a_constant_truth_has_no_r() -> None:
    found = arm_statistics(lobes_of([(1.1 + 0.1 * k, 1.0 + 0.1 * k) for k in range(8)]))
    assert found.lobes[Against.SPECT]["RUL"].bias == pytest.approx(0.1)
    assert found.lobes[Against.TRUTH]["RUL"].r is None  # the truth of the drawn lobes is 1 for everybody
    assert found.lobes[Against.TRUTH]["RUL"].bias == pytest.approx(0.1 + 0.35)


def test_defects_are_counted_over_all_patients_and_seeds() -> None:
    one = {
        "LC-001": scored("LC-001", found=[(8.0, True), (30.0, False), (200.0, False)]),
        "LC-002": scored("LC-002", found=[(10.0, True)], false=1),
        "LC-003": scored("LC-003", false=2),
    }
    other = {**one, "LC-002": scored("LC-002", found=[(10.0, False)], false=4)}
    found = arm_statistics(ArmScores("a", (one, other))).defects
    assert (found.patients, found.defects) == (2, 4)
    assert found.found is not None
    assert found.found.value == pytest.approx((1 + 0.5) / 4)  # of all defects, not the mean of patients' shares
    assert found.contrast_shown is not None
    assert found.contrast_shown.value == pytest.approx((8.0 + 5.0) / 248.0)  # by the perfusion that is missing
    assert found.false_per_patient is not None
    assert found.false_per_patient.value == pytest.approx((0 + 2.5 + 2) / 3)
    assert [(s.from_ml, s.below_ml, s.defects, s.found) for s in found.sizes] == [
        (5.0, 20.0, 2, 0.75),
        (20.0, 100.0, 1, 0.0),
        (100.0, None, 1, 0.0),
    ]


def test_without_defects_nothing_is_said_of_finding_them() -> None:
    found = arm_statistics(arm("a", {"LC-001": 0.5})).defects
    assert (found.patients, found.defects, found.found, found.contrast_shown, found.sizes) == (0, 0, None, None, ())


def test_calibration_is_one_table_over_seeds_and_patients() -> None:
    bins = CalibrationBins((1.0,) + (0.0,) * 10, (0.1,) + (0.0,) * 10, (0.2,) + (0.0,) * 10)
    table = arm_statistics(ArmScores("a", ({"LC-001": scored("LC-001", calibration=bins)},))).calibration
    assert [(row.low, row.predicted, row.measured) for row in table[Against.SPECT]] == [(0.0, 0.1, 0.2)]
    assert table[Against.TRUTH] == ()
