"""What the comparisons of a model in shadow add up to: median and range of each figure, for each pair of models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Final

from dicom_node.shadow.comparisons import CaseComparison
from inference.map_comparison import MapComparison

Figure = Callable[[MapComparison], float | None]
FIGURES: Final[Mapping[str, Figure]] = MappingProxyType(
    {
        "mean difference, % of the lung mean": lambda found: found.mean_difference_percent,
        "mean absolute difference, % of the lung mean": lambda found: found.mean_absolute_difference_percent,
        "Spearman correlation": lambda found: found.spearman,
        "Dice of high-functional lung": lambda found: found.dice_high,
        "Dice of low-functional lung": lambda found: found.dice_low,
        "largest difference of a lobe's share, percentage points": lambda found: max(
            map(abs, found.lobar_percent_points.values()), default=None
        ),
    }
)
"""What is summed up, by its name for people."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Middle and range of a figure over the cases that have it."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class PairSummary:
    """All cases that one candidate looked at beside one model in use."""

    candidate: str
    in_use: str
    """Empty where the candidate did not get so far as to be compared."""
    cases: int
    without_a_map: int
    figures: dict[str, Spread | None]
    """By name, see `FIGURES`; None where no case has the figure."""


def summaries(cases: Sequence[CaseComparison]) -> list[PairSummary]:
    """One summary for each pair of models, in order of the first case."""
    together: dict[tuple[str, str], list[CaseComparison]] = {}
    for case in cases:
        together.setdefault((case.candidate, case.in_use), []).append(case)
    return [
        PairSummary(
            candidate,
            in_use,
            len(some),
            sum(case.figures is None for case in some),
            {name: _spread(some, figure) for name, figure in FIGURES.items()},
        )
        for (candidate, in_use), some in together.items()
    ]


def _spread(cases: Sequence[CaseComparison], figure: Figure) -> Spread | None:
    values = [value for case in cases if case.figures is not None and (value := figure(case.figures)) is not None]
    return Spread(median(values), min(values), max(values)) if values else None
