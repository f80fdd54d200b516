"""Chance that can be repeated: numbers that depend on what they are for, and on nothing else.

A draw has a name. Adding one, or asking in another order, changes no other: so a new disease leaves all other patients
as they were, and a patient can be made alone. Equal names give equal numbers on every machine.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Draws:
    """A source of named draws."""

    name: str
    """What all draws of this source have in common, such as seed, cohort and patient."""

    def of(self, what: str) -> "Draws":
        """A source of its own for one subject."""
        return Draws(f"{self.name}/{what}")

    def between(self, what: str, low: float, high: float) -> float:
        """Evenly spread over low ... high."""
        digits = hashlib.sha256(f"{self.name}:{what}".encode()).digest()
        return low + (high - low) * (int.from_bytes(digits[:6]) + 0.5) / 2.0**48

    def normal(self, what: str, mean: float, sd: float, *, cut_sd: float = 2.5) -> float:
        """Normally spread, without what lies more than `cut_sd` standard deviations from the mean."""
        tail = NormalDist().cdf(-cut_sd)
        return mean + sd * NormalDist().inv_cdf(self.between(what, tail, 1.0 - tail))

    def lognormal(self, what: str, median: float, spread: float, *, cut_sd: float = 2.5) -> float:
        """Spread so that the logarithm is normal with standard deviation `spread`."""
        return median * math.exp(self.normal(what, 0.0, spread, cut_sd=cut_sd))

    def chance(self, what: str, probability: float) -> bool:
        """True in the share `probability` of all draws."""
        return self.between(what, 0.0, 1.0) < probability

    def choice(self, what: str, weights: Mapping[T, float]) -> T:
        """One of the keys, as often as its weight says."""
        place = self.between(what, 0.0, sum(weights.values()))
        for key, weight in weights.items():
            place -= weight
            if place < 0:
                return key
        return list(weights)[-1]

    def whole(self, what: str, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return min(int(self.between(what, low, high + 1)), high)

    def generator(self, what: str) -> np.random.Generator:
        """A generator of arrays of chance (PCG64, the same numbers on every machine)."""
        digits = hashlib.sha256(f"{self.name}:{what}".encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digits[:16])))
