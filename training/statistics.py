"""Statistics over patients: means with bootstrap intervals, paired tests, and their correction for many questions.

The patient is the unit, never the voxel: neighbouring voxels tell nearly the same, so a test over voxels would find
every difference significant. Intervals are bias-corrected and accelerated bootstrap intervals of 95 % (Efron 1987),
tests are Wilcoxon's signed-rank test on the differences of a patient, two-sided, corrected after Holm (1979).

What they do not say: patients of one fold are scored by the same network, and the networks of two folds share a part of
their training patients, so patients are not quite independent and intervals are a little too narrow.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

LEVEL = 0.95
RESAMPLES = 9999
FEWEST = 5
"""Patients below which no interval is given: a bootstrap of so few can hardly differ from its sample. Ours."""

Values = Float[np.ndarray, " patients"]
Statistic = Callable[..., Float[np.ndarray, "..."]]
"""Of one array or several along `axis`: patients come last, resamples before."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure over patients with its 95 % bootstrap interval."""

    value: float
    low: float | None
    """None with fewer than `FEWEST` patients, or where most resamples have no value."""
    high: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One score over patients."""

    patients: int
    mean: float
    sd: float | None
    """Over patients; None for one."""
    median: float
    least: float
    most: float
    low: float | None
    """Of the 95 % bootstrap interval of the mean; None with fewer than `FEWEST` patients."""
    high: float | None


def summary(values: Sequence[float]) -> Summary | None:
    """Mean, spread and interval of one number per patient; None without a patient."""
    if not values:
        return None
    numbers = np.asarray(values, dtype=np.float64)
    mean = bootstrap_interval(np.mean, numbers)
    return Summary(
        patients=numbers.size,
        mean=mean.value,
        sd=float(numbers.std(ddof=1)) if numbers.size > 1 else None,
        median=float(np.median(numbers)),
        least=float(numbers.min()),
        most=float(numbers.max()),
        low=mean.low,
        high=mean.high,
    )


def bootstrap_interval(statistic: Statistic, *samples: Values) -> Interval:
    """A statistic with its interval; patients are drawn with all their numbers together.

    The draws are the same in every call, so equal figures have equal intervals.

    Args:
        statistic: takes as many arrays as there are samples and `axis`, such as `numpy.mean`.
        samples: one number per patient each, of the same patients in the same order.
    """
    value = float(statistic(*samples, axis=-1))
    if samples[0].size < FEWEST or not np.isfinite(value):
        return Interval(value, None, None)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # a degenerate resample ends as NaN, which is looked at below
        drawn = stats.bootstrap(
            samples,
            statistic,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=LEVEL,
            method="BCa",
            rng=np.random.default_rng(0),
        )
    if np.ptp(drawn.bootstrap_distribution) == 0.0:  # such as all defects found in every patient
        return Interval(value, value, value)
    low, high = (float(end) for end in drawn.confidence_interval)
    return Interval(value, low, high) if np.isfinite(low) and np.isfinite(high) else Interval(value, None, None)


def correlation(one: Values, other: Values, axis: int = -1) -> Float[np.ndarray, "..."]:
    """Pearson's r along an axis; NaN where either is constant."""
    first, second = (part - part.mean(axis=axis, keepdims=True) for part in (one, other))
    spread = np.sqrt((first * first).sum(axis=axis) * (second * second).sum(axis=axis))
    together = (first * second).sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        r: Float[np.ndarray, "..."] = np.where(spread > 0, together / spread, np.nan)
    return r


def ratio(one: Values, other: Values, axis: int = -1) -> Float[np.ndarray, "..."]:
    """The sum of one over that of the other: how often something came true of all times it could."""
    result: Float[np.ndarray, "..."] = one.sum(axis=axis) / other.sum(axis=axis)
    return result


def wilcoxon_p(one: Values, other: Values) -> float:
    """Two-sided p of the signed-rank test of paired numbers, exact for few patients; 1 where all pairs are equal."""
    differences = one - other
    if not differences.size or not np.any(differences):
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="wilcox", alternative="two-sided").pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """The p-values of one family of tests, corrected after Holm (Scand J Statist 1979;6:65), in the order given.

    The smallest is multiplied by the number of tests, the next by one less and so on; none falls below one before it.
    """
    corrected, floor = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        floor = max(floor, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = floor
    return corrected
