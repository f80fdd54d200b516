"""The training cohort as numbers: how its CTs look, and how far another CT is from them.

A network says something of any CT, also of one unlike all it was trained on. A *fingerprint* holds, for each simple
statistic of the input (`domain`), the median and the usual range of the training patients. The distance of a CT in one
statistic is 0 at the median and 1 at the end of that range; its *score* is the largest distance over all statistics,
divided by the limit. So 1 is the limit, and the statistic that leads says why.

The limit is the distance that `flagged_share` of the training patients exceed when each is compared with all others.
By the same argument as in conformal prediction about that share of patients like them will be flagged. A low score does
not say that the map is right: these statistics know spacing, noise, breath, contrast medium and density, and no more.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite, log
from types import MappingProxyType
from typing import Any

from inference.calibration_document import decoded, numbered

FURTHEST = 99.0
"""Longest distance that is told; also that of a statistic which could not be measured."""


@dataclass(frozen=True, slots=True)
class UsualRange:
    """One statistic over the training patients."""

    median: float
    low: float
    """Smallest of the training patients, or further from the median where the difference would not matter."""
    high: float
    """Largest, likewise."""
    unit: str
    """UCUM."""
    is_ratio: bool = False
    """Whether differences are ratios, as with volumes, spacings and noise."""

    def __post_init__(self) -> None:
        if not all(isfinite(value) for value in (self.median, self.low, self.high)):
            raise ValueError("a range needs finite numbers")
        if not self.low < self.median < self.high or (self.is_ratio and self.low <= 0.0):
            raise ValueError(f"{self.low:g}, {self.median:g}, {self.high:g} are no range around a median")

    def distance(self, measured: float) -> float:
        """0 at the median, 1 at the end of the range, `FURTHEST` at most and for what is no number."""
        if not isfinite(measured) or (self.is_ratio and measured <= 0.0):
            return FURTHEST
        value, median, low, high = (
            log(number) if self.is_ratio else number for number in (measured, self.median, self.low, self.high)
        )
        end = high if value >= median else low
        return min((value - median) / (end - median), FURTHEST)


@dataclass(frozen=True, slots=True)
class Deviation:
    """One statistic of a CT against its range."""

    name: str
    measured: float
    low: float
    high: float
    unit: str
    distance: float
    """See `UsualRange.distance`."""


@dataclass(frozen=True, slots=True)
class DomainDistance:
    """How far a CT is from the training cohort of the network that looked at it."""

    score: float
    """Largest distance over the limit: up to 1 the CT is like those of the training."""
    deviations: tuple[Deviation, ...]
    """All statistics, the furthest first."""
    trained_on: str
    """Cohort in one ASCII sentence, saying in-silico or clinical."""
    limit: float = 1.0
    """Largest distance of a statistic that is within the domain."""

    def statement(self) -> str:
        """What the score means, in ASCII sentences for reports."""
        return (
            f"Distance of the CT from the training ({self.trained_on.rstrip('.')}): {self.score:.2f}; up to 1 its "
            "simple statistics are as in the training, which does not say that the map is right."
        )

    def sha256(self) -> str:
        """Digest of all that it says."""
        return hashlib.sha256(repr((self.score, self.limit, self.trained_on, self.deviations)).encode()).hexdigest()

    @property
    def beyond(self) -> tuple[Deviation, ...]:
        """The statistics that alone put the CT outside."""
        return tuple(deviation for deviation in self.deviations if deviation.distance > self.limit)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A training cohort; in a model bundle this is `calibration/fingerprint.json`."""

    statistics: Mapping[str, UsualRange]
    """By the name that `domain` gives a statistic."""
    limit: float
    """Largest distance that is within the domain."""
    flagged_share: float
    """Share of the training patients, 0 to 1, beyond the limit, each compared with all others."""
    patients: int
    trained_on: str
    """Cohort in one ASCII sentence, saying in-silico or clinical."""

    def __post_init__(self) -> None:
        if not self.statistics or not self.limit > 0.0 or not isfinite(self.limit) or self.patients < 1:
            raise ValueError("a fingerprint needs statistics, a positive limit and patients")

    def distance(self, statistics: Mapping[str, float]) -> DomainDistance:
        """How far a CT is from the cohort; a statistic that was not measured is as far as can be."""
        deviations = [
            Deviation(name, measured, usual.low, usual.high, usual.unit, usual.distance(measured))
            for name, usual in self.statistics.items()
            for measured in (statistics.get(name, float("nan")),)
        ]
        deviations.sort(key=lambda deviation: (-deviation.distance, deviation.name))
        return DomainDistance(deviations[0].distance / self.limit, tuple(deviations), self.trained_on, self.limit)

    def document(self) -> dict[str, Any]:
        """As JSON values; equal fingerprints give equal documents."""
        content = numbered({each.name: getattr(self, each.name) for each in fields(self)})
        return content | {"statistics": {name: asdict(usual) for name, usual in self.statistics.items()}}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Fingerprint":
        """From JSON values.

        Raises:
            InvalidModelCard: of another format, lacks a field, or holds an impossible value.
        """

        def made(content: dict[str, Any]) -> "Fingerprint":
            ranges = {name: UsualRange(**usual) for name, usual in content["statistics"].items()}
            return cls(**{**content, "statistics": MappingProxyType(ranges)})

        return decoded(document, "fingerprint", made)
