"""Scores of maps of a drawn case whose agreement is known."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest

from inference.geometry import Grid
from tests.training.drawn_cases import SHAPE, drawn_case
from training.metrics import function_dice
from training.perfusion_defects import find_defects
from training.score_names import BASELINES, CEILING, REFERENCE_MAPS, SPECT_MAP, Against, Score
from training.scores import case_scores, read_scores, reference_map, reference_scores
from training.study_case import StudyCase

PERFECT = {score: 1.0 if score.higher_is_better else 0.0 for score in Score} | {Score.CALIBRATION_SLOPE: 1.0}


@pytest.fixture(scope="module")
def case() -> StudyCase:
    return drawn_case("LC-001", seed=3, noise=0.2)


def of(values: np.ndarray, case: StudyCase, against: Against = Against.SPECT) -> dict[Score, float]:
    return case_scores(values, case).against[against].scores


@pytest.mark.parametrize("against", list(Against))
def test_the_reference_itself_scores_perfectly_in_any_unit(case: StudyCase, against: Against) -> None:
    values = case.target if against is Against.SPECT else case.truth
    assert of(750.0 * values, case, against) == pytest.approx(PERFECT, abs=1e-5)
    assert set(of(values, case, against)) == set(Score)


def test_noise_costs_every_score(case: StudyCase) -> None:
    found = of(case.truth, case)
    for score in Score:
        if score.higher_is_better:
            assert found[score] < 0.99, score
        elif score is not Score.CALIBRATION_INTERCEPT:
            assert abs(found[score] - PERFECT[score]) > 1e-4, score


def test_high_and_low_are_not_mixed_up_where_values_are_tied(case: StudyCase) -> None:
    """With many equal values the halves are not equally large, so their overlaps differ."""
    values = np.round(case.truth * 3.0).astype(np.float32)
    found = of(values, case)
    for mask, high, low in (
        (case.lungs, Score.DICE_HIGH_50, Score.DICE_LOW_50),
        (case.eroded, Score.DICE_HIGH_50_ERODED, Score.DICE_LOW_50_ERODED),
    ):
        dice = function_dice(values, case.target, mask, low_percent=50.0)
        assert abs(dice.high - dice.low) > 0.01
        assert (found[high], found[low]) == (pytest.approx(dice.high), pytest.approx(dice.low))


def test_only_the_lungs_count_and_negative_values_count_as_none(case: StudyCase) -> None:
    values = np.array(case.truth)
    values[case.lungs & (case.truth < np.median(case.truth[case.lungs]))] = 0.0
    negative = np.where(values == 0.0, -3.0, values)
    negative[~case.lungs] = 1e6
    assert case_scores(negative, case) == case_scores(values, case)


def test_whole_and_eroded_lungs_are_two_things(case: StudyCase) -> None:
    values = np.where(case.eroded, case.target, 2.0 - case.target).astype(np.float32)
    found = of(values, case)
    assert found[Score.SPEARMAN_ERODED] == pytest.approx(1.0)
    assert found[Score.PEARSON_ERODED] == pytest.approx(1.0)
    assert found[Score.RMSE_ERODED] == pytest.approx(0.0, abs=1e-6)
    assert found[Score.RMSE] > 0.1
    assert found[Score.DICE_HIGH_50_ERODED] == found[Score.DICE_LOW_50_ERODED] == 1.0
    assert found[Score.SPEARMAN] < 0.0


def test_a_map_at_half_contrast_has_a_calibration_slope_of_two(case: StudyCase) -> None:
    found = of(1.0 + 0.5 * (case.target - 1.0), case)
    assert found[Score.CALIBRATION_SLOPE] == pytest.approx(2.0, abs=1e-4)
    assert found[Score.CALIBRATION_INTERCEPT] == pytest.approx(-1.0, abs=1e-4)
    assert found[Score.SPEARMAN] == pytest.approx(1.0)


def test_lobes_are_means_in_multiples_of_both_lungs(case: StudyCase) -> None:
    values = np.where(case.lobes == 1, 3.0, 1.0).astype(np.float32)  # both lobes of the drawn case are equally large
    scores = case_scores(values, case)
    assert {name: lobe.predicted for name, lobe in scores.lobes.items()} == pytest.approx({"RUL": 1.5, "LUL": 0.5})
    assert scores.lobes["RUL"].voxels == np.count_nonzero(case.lobes == 1)
    assert scores.lobes["RUL"].spect == pytest.approx(case.target[case.lobes == 1].mean(), rel=1e-5)
    assert scores.lobes["LUL"].truth == pytest.approx(case.truth[case.lobes == 4].mean(), rel=1e-5)
    error = np.mean([abs(lobe.predicted - lobe.spect) for lobe in scores.lobes.values()])
    assert scores.against[Against.SPECT].scores[Score.LOBAR_ERROR] == pytest.approx(error)
    assert scores.against[Against.TRUTH].scores[Score.LOBAR_ERROR] != pytest.approx(error, rel=1e-6)


def test_dice_is_cut_at_the_median_and_at_the_lower_third(case: StudyCase) -> None:
    lowest = case.target < np.percentile(case.target[case.lungs], 34.0)
    values = np.where(lowest, case.target, 10.0 - case.target).astype(np.float32)  # order turned in the upper 66 %
    found = of(values, case)
    assert found[Score.DICE_HIGH_66] == found[Score.DICE_LOW_34] == 1.0
    assert found[Score.DICE_HIGH_50] < 0.9


@pytest.mark.parametrize("shown", [True, False])
def test_defects_are_those_of_the_truth(case: StudyCase, shown: bool) -> None:
    truth = np.array(case.truth)
    truth[4:9, 4:8, 2:6] = 0.1  # 80 voxels of 0.11 ml
    truth = np.where(case.lungs, truth / truth[case.lungs].mean(), 0.0).astype(np.float32)
    defects = find_defects(truth, case.lungs, case.grid)
    sick = replace(case, truth=truth, defects=defects)
    scores = case_scores(truth if shown else case.target, sick)
    assert [defect.found for defect in scores.defects.defects] == [shown]
    assert scores.defects.defects[0].truth < 0.2
    assert scores.defects.defects[0].volume_ml == pytest.approx(80 * 4.8**3 / 1000.0, rel=0.2)


def test_a_constant_map_lacks_its_correlations_and_nothing_else(case: StudyCase) -> None:
    found = of(np.ones(SHAPE, np.float32), case)
    correlations = {Score.SPEARMAN, Score.PEARSON, Score.SPEARMAN_ERODED, Score.PEARSON_ERODED}
    assert set(Score) - set(found) == correlations | {Score.CALIBRATION_SLOPE, Score.CALIBRATION_INTERCEPT}


def test_lungs_too_small_to_be_eroded_lack_what_is_eroded(case: StudyCase) -> None:
    thin = replace(case, eroded=np.zeros(SHAPE, bool))
    agreement = case_scores(case.truth, thin).against[Against.SPECT]
    assert agreement.calibration is None
    lacking = set(Score) - set(agreement.scores)
    assert lacking == {score for score in Score if score.value.endswith("eroded") or "calibration" in score.value}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda values: np.where(values > 1.2, np.nan, values), "LC-001: the mean of prediction .* nan"),
        (lambda values: np.where(values > 1.2, np.inf, values), "inf"),
        (lambda values: 0.0 * values, "no perfusion"),
        (lambda values: -values, "no perfusion"),
        (lambda values: values[1:], r"\(15, 12, 16\) voxels"),
    ],
)
def test_a_map_that_is_none_is_refused(case: StudyCase, spoil: Callable[[np.ndarray], np.ndarray], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        case_scores(spoil(case.truth), case)


def test_the_maps_of_a_case_are_scored_as_those_of_networks(case: StudyCase) -> None:
    scores = reference_scores(case)
    assert tuple(scores) == REFERENCE_MAPS
    ceiling, spect = scores[CEILING].against, scores[SPECT_MAP].against
    assert ceiling[Against.TRUTH].scores == pytest.approx(PERFECT, abs=1e-5)
    assert spect[Against.SPECT].scores == pytest.approx(PERFECT, abs=1e-5)
    assert ceiling[Against.SPECT].scores[Score.SPEARMAN] == pytest.approx(spect[Against.TRUTH].scores[Score.SPEARMAN])


def test_every_trivial_predictor_is_found_by_its_name(case: StudyCase) -> None:
    named = replace(case, baselines=np.stack([np.full(SHAPE, place + 1.0, np.float32) for place in range(4)]))
    assert [reference_map(named, name)[0, 0, 0] for name in BASELINES] == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(KeyError):
        reference_map(named, "density-shape")


def test_scores_go_through_json_unchanged(case: StudyCase) -> None:
    scores = {"LC-001": case_scores(case.baselines[0], case), "LC-002": case_scores(case.truth, case)}
    text = json.dumps({name: asdict(part) for name, part in scores.items()}, allow_nan=False)
    assert read_scores(json.loads(text)) == scores


def test_every_score_says_what_it_is() -> None:
    assert len({score.label for score in Score}) == len(Score)
    assert all(score.meaning.endswith(".") for score in Score)


def test_the_volume_of_a_voxel_is_that_of_the_grid(case: StudyCase) -> None:
    """The same voxels on a finer grid are no defect any more."""
    truth = np.array(case.truth)
    truth[4:9, 4:8, 2:6] = 0.0
    fine = Grid.axial(SHAPE, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), frame_of_reference_uid="2.25.1")
    assert case_scores(truth, case).defects.shown == 1
    assert case_scores(truth, replace(case, grid=fine)).defects.shown == 0
