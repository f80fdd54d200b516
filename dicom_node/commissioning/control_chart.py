"""Control charts of single values: limits from the first cases of a node, and Nelson's eight rules on all that follow.

A chart says that a process has changed, not that it is wrong: other patients, another scanner and another kernel move
the same figures. So a signal is a question to a physicist and stops nothing.

The packages for this on PyPI bring pandas, or have seen one release; eight rules are shorter than their adapter.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Float

LEAST_CASES: Final = 20
"""Fewest cases that limits are taken from; ours."""
_D2: Final = 1.128
"""Mean moving range of two values of a normal distribution in standard deviations
(NIST/SEMATECH e-Handbook of Statistical Methods, section 6.3.2.2, charts of individual values)."""


_ROUNDING: Final = 0.05
_TOO_WIDE: Final = 7


class TooFewCases(ValueError):
    """Limits cannot be taken from so few cases."""

    def __init__(self, cases: int, needed: int) -> None:
        self.cases = cases
        self.needed = needed
        super().__init__(f"{cases} case(s); limits need {needed}.")


@dataclass(frozen=True, slots=True)
class ControlLimits:
    """Where the values of a process lie as long as it does not change."""

    mean: float
    sigma: float
    """Standard deviation from one case to the next, above 0."""
    cases: int
    """How many cases they were taken from."""
    is_least: bool = False
    """Whether `sigma` is the least that we take, since the values hardly differ: those of one CT sent again."""

    @property
    def lower(self) -> float:
        """Three standard deviations below the mean."""
        return self.mean - 3.0 * self.sigma

    @property
    def upper(self) -> float:
        """Three standard deviations above the mean."""
        return self.mean + 3.0 * self.sigma

    @classmethod
    def of(cls, values: Sequence[float], least_sigma: float, least_cases: int = LEAST_CASES) -> "ControlLimits":
        """Take limits from the first cases of a process.

        The standard deviation comes from the mean moving range, so that a slow drift within these cases does not widen
        the limits.

        Args:
            values: finite, in order of time.
            least_sigma: a smaller one is taken as this: figures that never change would else signal at each rounding.
            least_cases: how many are needed.

        Raises:
            TooFewCases: there are fewer.
            ValueError: a value is not finite, or `least_sigma` is not above 0.
        """
        if len(values) < max(least_cases, 2):
            raise TooFewCases(len(values), max(least_cases, 2))
        found = np.asarray(values, dtype=np.float64)
        if not np.isfinite(found).all() or not least_sigma > 0.0:
            raise ValueError("limits need finite values and a least standard deviation above 0")
        moving_range = float(np.mean(np.abs(np.diff(found))))
        sigma = moving_range / _D2
        return cls(float(found.mean()), max(sigma, least_sigma), len(values), sigma < least_sigma)


@dataclass(frozen=True, slots=True)
class Signal:
    """One rule that a chart broke, at the value with which it did."""

    rule: int
    """1 to 8."""
    index: int
    """Of the value, from 0."""

    @property
    def sentence(self) -> str:
        """What the rule says."""
        return RULES[self.rule].sentence


@dataclass(frozen=True, slots=True)
class NelsonRule:
    """One pattern that chance makes seldom."""

    sentence: str
    values: int
    """How many values, up to the one that is looked at, the pattern takes."""
    is_broken: Callable[[Float[np.ndarray, " values"]], bool]
    """Told the last `values` distances from the mean in standard deviations, the newest last."""


def _same_side(z: Float[np.ndarray, " values"]) -> bool:
    return bool((z > 0.0).all() or (z < 0.0).all())


def _one_way(z: Float[np.ndarray, " values"]) -> bool:
    steps = np.diff(z)
    return bool((steps > 0.0).all() or (steps < 0.0).all())


def _alternating(z: Float[np.ndarray, " values"]) -> bool:
    steps = np.diff(z)
    return bool((steps[1:] * steps[:-1] < 0.0).all())


def _beyond(count: int, sigmas: float) -> Callable[[Float[np.ndarray, " values"]], bool]:
    """So many of the values beyond a distance on one side, the newest among them: it is what breaks the rule."""

    def is_broken(z: Float[np.ndarray, " values"]) -> bool:
        above, below = z > sigmas, z < -sigmas
        return bool((above[-1] and above.sum() >= count) or (below[-1] and below.sum() >= count))

    return is_broken


RULES: Final[Mapping[int, NelsonRule]] = MappingProxyType(
    {
        1: NelsonRule("One value lies beyond 3 standard deviations.", 1, _beyond(1, 3.0)),
        2: NelsonRule("Nine values in a row lie on the same side of the mean.", 9, _same_side),
        3: NelsonRule("Six values in a row rise, or fall.", 6, _one_way),
        4: NelsonRule("Fourteen values in a row go up and down in turn.", 14, _alternating),
        5: NelsonRule("Two of three values lie beyond 2 standard deviations on one side.", 3, _beyond(2, 2.0)),
        6: NelsonRule("Four of five values lie beyond 1 standard deviation on one side.", 5, _beyond(4, 1.0)),
        7: NelsonRule(
            "Fifteen values in a row lie within 1 standard deviation.", 15, lambda z: bool((np.abs(z) < 1.0).all())
        ),
        8: NelsonRule(
            "Eight values in a row lie beyond 1 standard deviation, on both sides.",
            8,
            lambda z: bool((np.abs(z) > 1.0).all()) and not _same_side(z),
        ),
    }
)
"""Nelson LS. The Shewhart control chart: tests for special causes. J Qual Technol 1984;16(4):237-239, by number."""


def signals(values: Sequence[float], limits: ControlLimits, rules: Sequence[int] = tuple(RULES)) -> list[Signal]:
    """Every value with which a rule is broken, in order of time, then of rule.

    Args:
        values: in order of time; one that is no number is left out, and what lies around it counts as neighbours.
        limits: of the process. Where they are the least that we take, what lies within a twentieth of a standard
            deviation (ours) of the mean counts as the mean, so that another rounding is no shift, and rule 7, which
            finds limits that are too wide, is not asked.
        rules: numbers of those that are asked.
    """
    known = [index for index, value in enumerate(values) if math.isfinite(value)]
    z = (np.array([values[index] for index in known], dtype=np.float64) - limits.mean) / limits.sigma
    if limits.is_least:
        z = np.where(np.abs(z) < _ROUNDING, 0.0, z)
        rules = [number for number in rules if number != _TOO_WIDE]
    return [
        Signal(number, index)
        for at, index in enumerate(known)
        for number in rules
        if at + 1 >= RULES[number].values and RULES[number].is_broken(z[at + 1 - RULES[number].values : at + 1])
    ]
