"""Two models beside each other: means, paired differences with intervals, and paired tests over held-out patients.

It judges nothing: a small p says that a difference is hardly chance, not that it matters, and a large one not that two
models are equal. For that there are the margins of `evaluation`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inference.models.evaluation import EvaluatedModel
from training.retraining.evaluation import difference_of
from training.retraining.held_out import score_held_out
from training.retraining.match import Match
from training.retraining.plan import Data
from training.score_names import Score
from training.statistics import LEVEL, holm, wilcoxon_p
from training.store.study_store import StudyStore


@dataclass(frozen=True, slots=True)
class ComparedScore:
    """One score of both models."""

    score: Score
    one: tuple[float, ...]
    """By patient."""
    other: tuple[float, ...]
    difference: float
    """Mean of one minus other."""
    low: float
    high: float
    p: float
    """Wilcoxon's signed-rank test, two-sided."""
    corrected_p: float
    """After Holm, over all scores of the comparison."""


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Two models on the held-out patients of a store."""

    one: EvaluatedModel
    other: EvaluatedModel
    data: Data
    data_sha256: str
    held_out: str
    patients: tuple[str, ...]
    scores: tuple[ComparedScore, ...]

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {"format": "perfusion-node model comparison 1", "confidence": LEVEL, **asdict(self)}


def compare(
    match: Match, store: StudyStore, *, tell: Callable[[int, int], None] = lambda done, all_pairs: None
) -> ModelComparison:
    """Compare two models.

    Raises:
        TrainingError: see `score_held_out`.
    """
    found = score_held_out(match, store, tell=tell)
    chosen = tuple(found.model)
    p = [wilcoxon_p(np.array(found.model[score]), np.array(found.compared[score])) for score in chosen]
    rows = tuple(
        ComparedScore(
            score,
            found.model[score],
            found.compared[score],
            *difference_of(found.model[score], found.compared[score]),
            p=alone,
            corrected_p=corrected,
        )
        for score, alone, corrected in zip(chosen, p, holm(p), strict=True)
    )
    return ModelComparison(
        EvaluatedModel.of(match.model.identity),
        EvaluatedModel.of(match.compared.identity),
        found.data,
        found.data_sha256,
        found.held_out,
        found.patients,
        rows,
    )
