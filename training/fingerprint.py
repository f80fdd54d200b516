"""From the patients of a study to the fingerprint of its training cohort (`inference.fingerprint`).

Ranges reach from the smallest to the largest value of each statistic, and at least the tolerance of its row in
`inference.domain`.
The limit comes from the same patients: each is compared with the ranges of all others, and the limit is the distance
of rank ⌈(n + 1)(1 - share)⌉ among n patients, so that about that share of patients like them lies beyond it. Fewer
patients than 1 / share have no such rank; the largest distance is taken then, and more will be flagged.
"""

from collections.abc import Mapping, Sequence
from math import ceil, isfinite

import numpy as np

from inference.domain import STATISTICS, Statistic
from inference.fingerprint import Fingerprint, UsualRange

FLAGGED_SHARE = 0.05
"""Share of patients like those of the training that may be flagged. Ours: at 0.02 CTs with a noise of 120 HU,
or at a depth of breath that no training patient had, passed for usual."""
FEWEST = 3
"""Patients without whom there is nothing to compare with."""


def fingerprint_of(
    statistics: Sequence[Mapping[str, float]], *, trained_on: str, flagged_share: float = FLAGGED_SHARE
) -> Fingerprint:
    """The fingerprint of a cohort, of the statistics that all its patients have.

    Args:
        statistics: `input_statistics` of each patient (`StudyCase.facts.input_statistics`).
        trained_on: the cohort in one ASCII sentence, saying in-silico or clinical.
        flagged_share: share of the patients that may lie beyond the limit when each is compared with all others.

    Raises:
        ValueError: fewer than three patients, no statistic that all have, or one that was measured in one or none.
    """
    if len(statistics) < FEWEST:
        raise ValueError(f"a fingerprint needs {FEWEST} patients, got {len(statistics)}")
    names = [name for name in STATISTICS if all(name in patient for patient in statistics)]
    if not names:
        raise ValueError("there is no statistic that all patients have")
    distances = np.array(
        [_largest(_ranges(names, _others(statistics, k)), patient) for k, patient in enumerate(statistics)]
    )
    rank = min(ceil((len(distances) + 1) * (1.0 - flagged_share)), len(distances))
    limit = max(float(np.sort(distances)[rank - 1]), 1.0)  # what is within every range is never beyond
    beyond = float(np.mean(distances > limit))
    return Fingerprint(_ranges(names, statistics), limit, beyond, len(statistics), trained_on)


def _others(statistics: Sequence[Mapping[str, float]], left_out: int) -> list[Mapping[str, float]]:
    return [patient for k, patient in enumerate(statistics) if k != left_out]


def _largest(ranges: Mapping[str, UsualRange], patient: Mapping[str, float]) -> float:
    """Over what could be measured."""
    return max(usual.distance(patient[name]) for name, usual in ranges.items() if isfinite(patient[name]))


def _ranges(names: Sequence[str], statistics: Sequence[Mapping[str, float]]) -> dict[str, UsualRange]:
    return {name: _range(name, STATISTICS[name], statistics) for name in names}


def _range(name: str, row: Statistic, statistics: Sequence[Mapping[str, float]]) -> UsualRange:
    values = np.array([patient[name] for patient in statistics], dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size < FEWEST - 1:  # one patient is left out in turn
        raise ValueError(f"{name} was measured in {values.size} patients only")
    median = float(np.median(values))
    low, high = float(values.min()), float(values.max())
    if row.is_ratio:
        low, high = min(low, median / row.tolerance), max(high, median * row.tolerance)
    else:
        low, high = min(low, median - row.tolerance), max(high, median + row.tolerance)
    return UsualRange(median, low, high, row.unit, row.is_ratio)
