"""Holds the figures of an in-silico cohort beside the published ones, row by row."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.insilico.realism.cohort_figures import Spread, in_group, spread
from training.insilico.realism.figure import Figure
from training.insilico.realism.published import PUBLISHED, Group, Published
from training.insilico.realism.realism import PatientFigures


@dataclass(frozen=True, slots=True)
class Row:
    """One published figure and ours."""

    published: Published
    ours: Spread | None
    """None where the cohort has no patient of the group."""

    @property
    def holds(self) -> bool | None:
        """Whether ours, mean or median as was published, lies in the published range; None without ours."""
        return None if self.ours is None else self.published.holds(self.value)

    @property
    def value(self) -> float:
        """Mean or median of ours, as was published; NaN without ours."""
        if self.ours is None:
            return math.nan
        return self.ours.median if self.published.is_median else self.ours.mean

    def sentence(self) -> str:
        """For a figure of ours that is out of range: what is off, by how much."""
        if self.ours is None or self.holds:
            return ""
        low, high, unit = self.published.low, self.published.high, self.published.figure.unit
        where, limit = ("below", low) if self.value < low else ("above", high)
        return (
            f"{self.published.figure} ({self.published.group}): ours {shown(self.value)} lies {where} "
            f"{shown(limit)} {unit}."
        )


def compare(
    patients: Sequence[PatientFigures],
    controls: Sequence[PatientFigures],
    protocols: Mapping[Figure, Spread],
    published: Sequence[Published] = PUBLISHED,
) -> tuple[Row, ...]:
    """Each published figure with that of the group it speaks of.

    Args:
        patients: of the cohort.
        controls: healthy, from the same generator.
        protocols: figures of the SPECT protocols, over protocols.
        published: the rows.
    """
    rows = []
    for each in published:
        if each.group is Group.PROTOCOLS:
            ours = protocols.get(each.figure)
        else:
            ours = spread(each.figure, in_group(each.group, patients, controls))
        rows.append(Row(each, ours))
    return tuple(rows)


def shown(value: float) -> str:
    """A number to three significant digits, without an exponent; whole from 100 on."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2 if abs(value) < 1 else 1
    return f"{value:.{digits}f}"
