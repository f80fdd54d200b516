"""Have the figures of a node's patients drifted? One control chart for each figure, of one model at a time.

Limits come from the first cases that a model and its settings made; another model or other settings begin anew, and one
that comes back after a rollback goes on with its own. Charts watch the patients as much as the node: a new scanner or
another referrer moves them, too. So a signal is a question, and only the newest values raise it: what was seen and
answered a year ago is still on the chart, and no news.

The self-tests have charts of their own. There the patient is always the digital thorax, so what moves is the node.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final

from dicom_node.commissioning.case_figures import RUN_TIME, CaseFigures
from dicom_node.commissioning.control_chart import LEAST_CASES, RULES, ControlLimits, Signal, signals
from dicom_node.commissioning.expected import MadeBy
from dicom_node.commissioning.figures import FIGURES, FigureKind
from dicom_node.commissioning.report import iso_time
from inference.anatomy import Lobe

_RUN_TIME: Final = FigureKind("time from arrival to checked objects, waiting included", "s", 3.0)
CHARTED: Final[Mapping[str, FigureKind]] = MappingProxyType(
    {
        "lung_volume": FIGURES["lung_volume"],
        **{f"volume_{lobe.name}": FIGURES[f"volume_{lobe.name}"] for lobe in Lobe},
        "right_share": FIGURES["right_share"],
        "lung_hu": FIGURES["lung_hu"],
        "defect_share": FIGURES["defect_share"],
        "out_of_domain": FIGURES["out_of_domain"],
        RUN_TIME: _RUN_TIME,
    }
)
"""The figures of which charts are made. A third of the tolerance is the least standard deviation of a chart."""
NEWEST: Final = 15
"""A signal among so many of the newest values is news; as many as the longest of Nelson's patterns."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure over time."""

    name: str
    unit: str
    """UCUM."""
    keys: tuple[str, ...]
    """Case and run of each value."""
    at_s: tuple[float, ...]
    """Unix time of each."""
    values: tuple[float, ...]
    """In order of time."""
    limits: ControlLimits | None
    """None while there are too few cases to take them from."""
    first_beyond: tuple[int, ...]
    """Which of the first cases lie beyond the limits that were taken from them: not a basis to trust unseen."""
    signals: tuple[Signal, ...]
    """Of all values after those that limits were taken from."""

    @property
    def news(self) -> tuple[Signal, ...]:
        """Signals among the newest values."""
        return tuple(s for s in self.signals if s.index >= len(self.values) - NEWEST)

    @property
    def measures(self) -> str:
        """What the figure is, in words."""
        return CHARTED[self.name].measures

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        limits = None
        if (found := self.limits) is not None:
            limits = {**asdict(found), "lower": found.lower, "upper": found.upper}
        news = sorted({s.rule for s in self.news})
        return {**asdict(self), "measures": self.measures, "limits": limits, "news": news}


@dataclass(frozen=True, slots=True)
class DriftReport:
    """All charts of one maker of results."""

    made_by: MadeBy | None
    """None if there is no result yet."""
    charts: tuple[Chart, ...]

    @property
    def is_quiet(self) -> bool:
        """Whether no chart has news."""
        return not any(chart.news for chart in self.charts)

    @property
    def span(self) -> str:
        """How many cases, and from when to when."""
        if not self.charts:
            return "no case"
        times = [at_s for chart in self.charts for at_s in chart.at_s]
        most = max(len(chart.values) for chart in self.charts)
        return f"{most} case(s) from {iso_time(min(times))[:10]} to {iso_time(max(times))[:10]}"

    def news_by_figure(self) -> dict[str, list[int]]:
        """Numbers of the rules that the newest values of each figure broke; empty lists for quiet ones."""
        return {chart.name: sorted({s.rule for s in chart.news}) for chart in self.charts}

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        made_by = asdict(self.made_by) if self.made_by is not None else None
        return {"made_by": made_by, "quiet": self.is_quiet, "charts": [chart.fields() for chart in self.charts]}


def drift(
    kept: Sequence[CaseFigures], first_cases: int = LEAST_CASES, rules: Sequence[int] = tuple(RULES)
) -> DriftReport:
    """Make the charts of what made the newest result.

    Args:
        kept: in order of time.
        first_cases: from how many the limits are taken.
        rules: numbers of Nelson's rules that are asked.
    """
    periods = drift_of_each(kept, first_cases, rules)
    return periods[0] if periods else DriftReport(None, ())


def drift_of_each(
    kept: Sequence[CaseFigures], first_cases: int = LEAST_CASES, rules: Sequence[int] = tuple(RULES)
) -> tuple[DriftReport, ...]:
    """Make the charts of everything that ever made results, what made the newest first; the arguments are `drift`'s."""
    makers = list(dict.fromkeys(figures.made_by for figures in reversed(kept)))
    return tuple(_report(maker, kept, first_cases, rules) for maker in makers)


def _report(maker: MadeBy, kept: Sequence[CaseFigures], first_cases: int, rules: Sequence[int]) -> DriftReport:
    # A case that was made anew by the same maker is one patient, not two.
    last_of_case = {figures.key.partition(":")[0]: figures for figures in kept if figures.made_by == maker}
    own = [figures for figures in kept if last_of_case.get(figures.key.partition(":")[0]) is figures]
    charts = (_chart(name, own, first_cases, rules) for name in CHARTED)
    return DriftReport(maker, tuple(chart for chart in charts if chart.values))


def _chart(name: str, kept: Sequence[CaseFigures], first_cases: int, rules: Sequence[int]) -> Chart:
    known = [figures for figures in kept if math.isfinite(figures.figures.get(name, math.nan))]
    keys, times = tuple(figures.key for figures in known), tuple(figures.at_s for figures in known)
    values, unit = tuple(figures.figures[name] for figures in known), CHARTED[name].unit
    if len(values) < first_cases:
        return Chart(name, unit, keys, times, values, None, (), ())
    mean = sum(values[:first_cases]) / first_cases
    limits = ControlLimits.of(values[:first_cases], CHARTED[name].tolerated(mean) / 3.0, first_cases)
    beyond = tuple(s.index for s in signals(values[:first_cases], limits, [1]))
    after = tuple(s for s in signals(values, limits, rules) if s.index >= first_cases)
    return Chart(name, unit, keys, times, values, limits, beyond, after)
