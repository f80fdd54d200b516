"""Comparisons and aims of studies whose answers are known."""

import numpy as np
import pytest

from tests.training.scored_arms import arm
from training.comparisons import Aim, Comparison, Measure
from training.score_names import Against, Score
from training.study_statistics import AimResult, StudyStatistics, study_statistics

PATIENTS = [f"LC-{number:03d}" for number in range(1, 13)]
BASE = np.linspace(0.4, 0.6, 12)


def patients(values: np.ndarray) -> dict[str, float]:
    return dict(zip(PATIENTS, values.tolist(), strict=True))


ARMS = [
    arm("tuned", patients(BASE * 1.1), patients(BASE * 1.3)),
    arm("taught", patients(BASE)),
    arm("equal", patients(BASE * 1.2 + 0.05 * np.tile([1.0, -1.0], 6))),
    arm("ceiling", patients(BASE * 1.5)),
]
"""`tuned` is 1.2 times `taught` in every patient, mean 0.6 over both seeds."""


def answered(*comparisons: Comparison, aims: tuple[Aim, ...] = ()) -> StudyStatistics:
    return study_statistics(ARMS, comparisons, aims)


def aim(measure: Measure, at_least: float, *rivals: str, p_below: float | None = None) -> Aim:
    return Aim("it", "It is so.", "tuned", measure, at_least, rivals, p_below=p_below)


def reached(wanted: Aim, *comparisons: Comparison) -> AimResult:
    return answered(*comparisons, aims=(wanted,)).aims[0]


def test_a_comparison_is_paired_over_patients() -> None:
    (found,) = answered(Comparison("tuned", "taught")).comparisons
    assert (found.patients, found.better, found.family_size) == (12, 12, 1)
    assert (found.mean, found.rival_mean) == (pytest.approx(0.6), pytest.approx(0.5))
    assert found.difference == pytest.approx(0.1)
    assert found.low is not None
    assert found.high is not None
    assert 0.08 < found.low < 0.1 < found.high < 0.12
    assert found.relative_percent == pytest.approx(20.0)
    assert found.p == found.p_corrected == pytest.approx(2 / 2**12)


def test_only_patients_that_both_have_are_compared() -> None:
    few = arm("few", patients(BASE)).only(PATIENTS[:7])
    (found,) = study_statistics([*ARMS, few], [Comparison("tuned", "few")], ()).comparisons
    assert found.patients == 7


def test_each_family_is_corrected_alone_and_by_all_that_was_asked() -> None:
    asked = (
        Comparison("tuned", "taught"),
        Comparison("tuned", "taught", against=Against.TRUTH),
        Comparison("tuned", "equal"),
        Comparison("tuned", "nobody"),
        Comparison("tuned", "taught", family="other"),
    )
    first, _, equal, other = answered(*asked).comparisons
    assert (first.family_size, other.family_size) == (4, 1)
    assert first.p_corrected == pytest.approx(4 * first.p)
    assert other.p_corrected == other.p
    assert equal.p_corrected == pytest.approx(min(1.0, 2 * equal.p))


def test_a_gain_is_relative_and_wants_its_p() -> None:
    asked = Comparison("tuned", "taught")
    found = reached(aim(Measure.RELATIVE_GAIN, 5.0, "taught", p_below=0.01), asked)
    assert (found.met, found.value, found.best_rival) == (True, pytest.approx(20.0), "taught")
    assert found.wanted == "≥ 5 %, p < 0.01"
    assert found.got.startswith("+20.0 % (95 % CI 20.0 to 20.0), over taught, p = 0.00049")
    assert not reached(aim(Measure.RELATIVE_GAIN, 21.0, "taught"), asked).met
    assert not reached(aim(Measure.RELATIVE_GAIN, 5.0, "taught", p_below=0.0001), asked).met
    assert not reached(aim(Measure.RELATIVE_GAIN, 5.0, "taught", p_below=0.01)).met  # never tested


def test_the_p_of_another_question_is_not_taken() -> None:
    wanted = aim(Measure.RELATIVE_GAIN, 5.0, "taught", p_below=0.01)
    for other in (
        Comparison("tuned", "taught", against=Against.TRUTH),
        Comparison("tuned", "taught", Score.SSIM),
        Comparison("tuned", "equal"),
        Comparison("ceiling", "taught"),
    ):
        assert reached(wanted, other).p_corrected is None


def test_the_best_rival_counts() -> None:
    found = reached(aim(Measure.DIFFERENCE, 0.0, "taught", "equal"))
    assert found.best_rival == "equal"
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert reached(aim(Measure.DIFFERENCE, 0.09, "taught")).met


def test_more_than_nothing_is_wanted_where_nothing_is_named() -> None:
    same = study_statistics([*ARMS, arm("twin", patients(BASE * 1.2))], (), (aim(Measure.DIFFERENCE, 0.0, "tuned"),))
    assert same.aims[0].value == 0.0
    assert not same.aims[0].met
    assert same.aims[0].wanted == "> 0"


def test_a_share_of_the_ceiling_and_a_value() -> None:
    share = reached(aim(Measure.RATIO, 0.9, "ceiling"))
    assert (share.value, share.met) == (pytest.approx(0.8), False)
    assert share.got.startswith("0.800 (95 % CI 0.800 to 0.800), of ceiling")
    value = reached(aim(Measure.VALUE, 0.59))
    assert (value.value, value.met, value.best_rival) == (pytest.approx(0.6), True, None)
    assert value.low is not None
    assert value.low < 0.6


def test_an_aim_is_of_its_score_and_reference() -> None:
    truth = Aim("it", "It is so.", "tuned", Measure.VALUE, 0.29, against=Against.TRUTH)
    assert reached(truth).value == pytest.approx(0.3)
    other = Aim("it", "It is so.", "tuned", Measure.VALUE, 0.29, score=Score.SSIM)
    assert (reached(other).value, reached(other).met) == (None, False)


def test_what_has_no_scores_is_unknown_and_not_met() -> None:
    found = reached(aim(Measure.DIFFERENCE, 0.0, "taught", "nobody"))
    assert (found.met, found.value, found.got) == (False, None, "not known: no scores of nobody")


def test_every_arm_has_its_figures() -> None:
    assert set(answered().arms) == {"tuned", "taught", "equal", "ceiling"}
