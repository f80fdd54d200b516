"""The evaluation of a model against another on held-out patients, as the document that a promotion rests on.

Intervals are those of `training.statistics`: bootstrap over patients, 95 %. With fewer patients than that wants, the
range of the differences is given in its place, which is wider. What a model must reach is said in the recipe, before.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from inference.models.evaluation import EvaluatedModel, Evaluation, Figure
from training.retraining.held_out import HeldOutScores, score_held_out
from training.retraining.match import Match
from training.retraining.recipe import FigureRule
from training.score_names import Score
from training.statistics import FEWEST, LEVEL, bootstrap_interval
from training.store.study_store import StudyStore

UNITS = {Score.RMSE: "lung mean", Score.RMSE_ERODED: "lung mean", Score.LOBAR_ERROR: "lung mean"}


def evaluate(
    match: Match,
    store: StudyStore,
    *,
    tell: Callable[[int, int], None] = lambda done, all_pairs: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Evaluation:
    """Compare two models and judge by the rules of the recipe.

    Args:
        match: the models and the rules.
        store: of the pairs.
        tell: see `score_held_out`.
        now: the clock.

    Raises:
        TrainingError: see `score_held_out`.
    """
    scores = score_held_out(match, store, tell=tell)
    figures = tuple(_figure(rule, scores) for rule in match.recipe.evaluation.figures)
    return Evaluation(
        model=EvaluatedModel.of(match.model.identity),
        compared_with=EvaluatedModel.of(match.compared.identity),
        data=scores.data,
        data_sha256=scores.data_sha256,
        made_by=f"perfnode evaluate {version('perfusion-node')}",
        made_at=now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        method=_method(match, scores),
        confidence=LEVEL,
        patients=scores.patients,
        figures=figures,
        verdict="pass" if all(figure.passes() for figure in figures) else "fail",
    )


def _figure(rule: FigureRule, scores: HeldOutScores) -> Figure:
    one, other = scores.model[rule.score], scores.compared[rule.score]
    difference, low, high = difference_of(one, other)
    return Figure(
        name=rule.score.value,
        unit=UNITS.get(rule.score, "1"),
        better="higher" if rule.score.higher_is_better else "lower",
        needed=rule.needed,
        margin=rule.margin,
        model=one,
        compared=other,
        low=low,
        high=high,
        difference=difference,
    )


def difference_of(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, float, float]:
    """Mean difference of paired values, and the lower and upper end of its interval."""
    differences = np.array(one) - np.array(other)
    found = bootstrap_interval(np.mean, differences)
    low = float(differences.min()) if found.low is None else found.low
    high = float(differences.max()) if found.high is None else found.high
    return found.value, min(low, found.value), max(high, found.value)


def _method(match: Match, scores: HeldOutScores) -> str:
    """One sentence; printable ASCII of at most 400 letters."""
    several = len(scores.patients) >= FEWEST
    interval = "BCa bootstrap over patients" if several else "range of differences, as patients are few"
    spacing = " x ".join(f"{value:g}" for value in match.recipe.evaluation.spacing_mm)
    return (
        f"{scores.data} patients never trained on (parts {scores.held_out} by hash), maps as the node makes them "
        f"(lobes: {match.recipe.input.lobes}) against SPECT on voxels of {spacing} mm, eroded by "
        f"{match.recipe.input.spect_fwhm_mm:g} mm; interval: {interval}; 'not worse' is non-inferiority by the margin, "
        f"recipe {match.recipe.name} {match.recipe_sha256[:12]}."
    )
