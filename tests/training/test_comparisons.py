"""What a study asks: questions that cannot be answered are refused, and the shipped study asks what it must."""

from pathlib import Path

import pytest

from training.comparisons import Aim, Comparison, Measure, contradictions
from training.recipe import read_recipe
from training.score_names import BASELINES, Score

SHIPPED = Path(__file__).parents[2] / "configs" / "study"
NAMES = {"tuned", "taught", "ceiling"}
ASKED = Comparison("tuned", "taught")


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (Comparison("tuned", "nobody"), "comparisons.1: no arm is called 'nobody'"),
        (Comparison("nobody", "taught"), "comparisons.1: no arm is called 'nobody'"),
        (Comparison("tuned", "tuned"), "comparisons.1: 'tuned' is compared with itself"),
        (ASKED, "comparisons.1: is asked twice"),
    ],
)
def test_a_comparison_that_cannot_be_made(comparison: Comparison, said: str) -> None:
    assert contradictions([ASKED, comparison], (), NAMES) == [said]


@pytest.mark.parametrize(
    ("measure", "rivals", "score", "p_below", "said"),
    [
        (Measure.VALUE, ("taught",), Score.SPEARMAN, None, "rivals: must be there exactly when"),
        (Measure.DIFFERENCE, (), Score.SPEARMAN, None, "rivals: must be there exactly when"),
        (Measure.RATIO, ("nobody",), Score.SPEARMAN, None, "no arm is called 'nobody'"),
        (Measure.VALUE, (), Score.RMSE, None, "score: 'rmse' is not one of which more is better"),
        (Measure.DIFFERENCE, ("taught", "ceiling"), Score.SPEARMAN, 0.05, "comparison with 'ceiling' is not asked"),
        (Measure.DIFFERENCE, ("taught",), Score.SSIM, 0.05, "comparison with 'taught' is not asked"),
    ],
)
def test_an_aim_that_cannot_be_told(
    measure: Measure, rivals: tuple[str, ...], score: Score, p_below: float | None, said: str
) -> None:
    wrong = Aim("it", "It is so.", "tuned", measure, 0.0, rivals, score, p_below=p_below)
    (found,) = contradictions([ASKED], [wrong], NAMES)
    assert found.startswith("aims.it: ")
    assert said in found


def test_good_questions_and_a_name_that_occurs_twice() -> None:
    good = Aim("it", "It is so.", "tuned", Measure.DIFFERENCE, 0.0, ("taught",), p_below=0.05)
    assert contradictions([ASKED], [good], NAMES) == []
    assert contradictions([ASKED], [good, good], NAMES) == ["aims: 'it' occurs twice"]


def test_the_shipped_study_asks_for_every_arm_and_trivial_predictor() -> None:
    study = read_recipe(SHIPPED).study
    rivals = {asked.rival for asked in study.comparisons if asked.arm == study.main_arm}
    assert rivals == {*study.arms, *BASELINES} - {study.main_arm}
    eroded = {asked.rival for asked in study.comparisons if asked.score is Score.SPEARMAN_ERODED}
    assert eroded == rivals


def test_the_aims_of_the_shipped_study_are_those_that_were_set() -> None:
    study = read_recipe(SHIPPED).study
    aims = {aim.name: aim for aim in study.aims}
    assert {aim.arm for aim in study.aims} == {study.main_arm}
    assert (aims["gain"].measure, aims["gain"].at_least, aims["gain"].p_below) == (Measure.RELATIVE_GAIN, 5.0, 0.01)
    assert aims["gain"].rivals == ("pretrained-only",)
    assert (aims["ceiling"].measure, aims["ceiling"].at_least) == (Measure.RATIO, 0.9)
    trivial = aims["above-trivial"]
    assert (trivial.rivals, trivial.at_least, trivial.score) == (BASELINES, 0.1, Score.SPEARMAN_ERODED)
    assert set(aims["above-peers"].rivals) == {name for name in study.arms if name.startswith("peer-")}
    assert aims["above-scratch"].rivals == ("scratch",)
    assert {(aims[name].score, aims[name].at_least) for name in ("high", "low")} == {
        (Score.DICE_HIGH_50, 0.8),
        (Score.DICE_LOW_50, 0.8),
    }
