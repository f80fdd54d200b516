"""Differences of paired values and their intervals have known answers; a patient with two pairs counts once."""

import pytest

from tests.training.retraining.made_up_pairs import pair
from training.retraining.errors import ModelsUnscored
from training.retraining.evaluation import difference_of
from training.retraining.held_out import by_patient
from training.score_names import Score


def test_with_few_patients_the_range_of_differences_is_the_interval() -> None:
    assert difference_of((1.0, 2.0, 6.0), (0.0, 0.0, 0.0)) == (3.0, 1.0, 6.0)


def test_with_enough_patients_the_interval_is_narrower_than_the_range_and_holds_the_mean() -> None:
    one = (0.8, 0.7, 0.9, 0.6, 0.75, 0.85, 0.65, 0.8)
    mean, low, high = difference_of(one, (0.5,) * len(one))
    assert mean == pytest.approx(0.25625)
    assert 0.1 < low < mean < high < 0.4
    turned = difference_of((0.5,) * len(one), one)
    assert turned[0] == pytest.approx(-mean)


def test_equal_models_differ_by_nothing() -> None:
    assert difference_of((0.3, 0.5, 0.2, 0.9, 0.4), (0.3, 0.5, 0.2, 0.9, 0.4)) == (0.0, 0.0, 0.0)


def test_a_patient_with_two_pairs_counts_once_with_their_mean() -> None:
    pairs = [pair("Pa"), pair("Pa", 2), pair("Pb")]
    scores = ({Score.SPEARMAN: value} for value in (0.2, 0.6, 0.9))
    found = {each.name: (score, {Score.SPEARMAN: 0.0}) for each, score in zip(pairs, scores, strict=True)}
    assert by_patient(("Pa", "Pb"), pairs, found, 0, Score.SPEARMAN) == pytest.approx((0.4, 0.9))
    assert by_patient(("Pb", "Pa"), pairs, found, 1, Score.SPEARMAN) == (0.0, 0.0)
    with pytest.raises(ModelsUnscored, match="Pa: rmse"):
        by_patient(("Pa", "Pb"), pairs, found, 0, Score.RMSE)
