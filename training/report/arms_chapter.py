"""All arms patient by patient, and all their scores, against the SPECT and against the truth."""

from collections.abc import Sequence

from training.arm_statistics import ArmStatistics
from training.report.chapter import Chapter
from training.report.document import Folded, Heading, Picture, Row, Table, Text, Weight
from training.report.families import Family, family, in_order, label
from training.report.figures.arms import Mean, Strip, draw_arms
from training.report.first_screen import cell, mean_of
from training.report.numbers import number
from training.report.results import StudyResults
from training.score_names import CEILING, SPECT_MAP, Against, Score
from training.statistics import Summary

PICTURE = "arms.png"
_PANELS = (
    (Score.SPEARMAN, "Spearman R with the SPECT, whole lungs"),
    (Score.SPEARMAN_ERODED, "Spearman R with the SPECT, eroded lungs"),
)
_WHOLE = (
    Score.SPEARMAN,
    Score.PEARSON,
    Score.SSIM,
    Score.RMSE,
    Score.DICE_HIGH_50,
    Score.DICE_LOW_50,
    Score.DICE_HIGH_66,
    Score.DICE_LOW_34,
    Score.LOBAR_ERROR,
)
_ERODED = (
    Score.SPEARMAN_ERODED,
    Score.PEARSON_ERODED,
    Score.RMSE_ERODED,
    Score.DICE_HIGH_50_ERODED,
    Score.DICE_LOW_50_ERODED,
    Score.CALIBRATION_SLOPE,
    Score.CALIBRATION_INTERCEPT,
    Score.CALIBRATION_ERROR,
)


def arms_chapter(results: StudyResults) -> Chapter:
    """A picture of every patient in every arm, and the long tables, folded."""
    picture = Picture(
        PICTURE,
        "Each point is a patient, each large point the mean over patients with its 95 % interval. Grey: the interval "
        "of the noise ceiling. On the whole lungs nearly every map scores high, because all are blurred at the lungs' "
        "edge; on the eroded lungs only what is known of perfusion counts.",
        "Strip chart of Spearman R by arm, whole and eroded lungs; the numbers stand in the tables.",
    )
    return Chapter(
        (
            Heading("Every arm, patient by patient"),
            picture,
            Folded("All scores against the SPECT", _tables(results, Against.SPECT)),
            Folded("All scores against the truth, which real patients do not have", _tables(results, Against.TRUTH)),
            Folded("From seed to seed", (Text(_SEEDS), _seed_table(results))),
        ),
        {PICTURE: draw_arms(_strips(results), [name for _, name in _PANELS])},
    )


_SEEDS = (
    "Standard deviation of an arm's mean over patients from one seed to the next: how far chance in training alone "
    "moves a figure. A difference between arms of this size means nothing."
)


def _strips(results: StudyResults) -> list[Strip]:
    strips = []
    for name in in_order(results.arms, results.recipe):
        found = [results.statistics.arms[name].scores[Against.SPECT].get(score) for score, _ in _PANELS]
        means = tuple(_mean(each) for each in found if each is not None)
        if name == SPECT_MAP or len(means) < len(_PANELS):
            continue
        values = (results.arms[name].values(score, Against.SPECT) for score, _ in _PANELS)
        called = "noise ceiling" if name == CEILING else label(name, results.recipe)
        strips.append(Strip(called, family(name, results.recipe), tuple(tuple(v.values()) for v in values), means))
    return strips


def _mean(found: Summary) -> Mean:
    low, high = (found.mean if end is None else end for end in (found.low, found.high))
    return Mean(found.mean, low, high)


def _tables(results: StudyResults, against: Against) -> tuple[Heading | Table, ...]:
    return (
        Heading(f"Whole lungs, against the {against.value}", 3),
        _score_table(results, _WHOLE, against),
        Heading(f"Eroded lungs, against the {against.value}", 3),
        _score_table(results, _ERODED, against),
    )


def _score_table(results: StudyResults, scores: Sequence[Score], against: Against) -> Table:
    own = CEILING if against is Against.TRUTH else SPECT_MAP  # a map against itself says nothing
    rows = []
    for name in in_order(results.arms, results.recipe):
        if name == own:
            continue
        arm = results.statistics.arms[name]
        weight = Weight.FAINT if family(name, results.recipe) in (Family.CEILING, Family.BASELINE) else Weight.PLAIN
        weight = Weight.STRONG if name == results.recipe.study.main_arm else weight
        first, *others = scores
        cells = (cell(arm, first, against), *(mean_of(arm, score, against) for score in others))
        rows.append(Row((label(name, results.recipe), *cells), weight))
    names = tuple(score.label.removesuffix(", eroded") for score in scores)
    return Table(("arm", *names), tuple(rows), " ".join(f"*{score.label}*: {score.meaning}" for score in scores))


def _seed_table(results: StudyResults) -> Table:
    scores = (Score.SPEARMAN, Score.SPEARMAN_ERODED, Score.DICE_HIGH_50, Score.DICE_LOW_50)
    rows = []
    for name in in_order(results.arms, results.recipe):
        arm: ArmStatistics = results.statistics.arms[name]
        spread = arm.seed_sd[Against.SPECT]
        if spread:
            rows.append(
                Row((label(name, results.recipe), str(arm.seeds), *(number(spread.get(score), 4) for score in scores)))
            )
    return Table(("arm", "seeds", *(score.label for score in scores)), tuple(rows))
