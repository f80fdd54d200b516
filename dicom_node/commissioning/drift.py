"""Have the figures of a node's patients drifted? One control chart for each figure, of one model at a time.

Limits come from the first cases that a model and its settings made; another model or other settings begin anew. Charts
watch the patients as much as the node: a new scanner or another referrer moves them, too. So a signal is a question,
and only the newest values raise it: what was seen and answered a year ago is still on the chart, and no news.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dicom_node.commissioning.case_figures import RUN_TIME, CaseFigures
from dicom_node.commissioning.control_chart import LEAST_CASES, ControlLimits, Signal, signals
from dicom_node.commissioning.expected import MadeBy
from dicom_node.commissioning.figures import FIGURES

WATCHED: Final = ("lung_volume", "right_share", "lung_hu", "defect_share", "out_of_domain", RUN_TIME)
"""The figures of which charts are made."""
NEWEST: Final = 15
"""A signal among so many of the newest values is news; as many as the longest of Nelson's patterns."""
_LEAST_SIGMA: Final = {RUN_TIME: 1.0}
"""Where no figure has a tolerance to take it from (s); ours."""
_UNITS: Final = {RUN_TIME: "s"}


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure over time."""

    name: str
    unit: str
    keys: tuple[str, ...]
    """Case and run of each value."""
    values: tuple[float, ...]
    """In order of time."""
    limits: ControlLimits | None
    """None while there are too few cases to take them from."""
    signals: tuple[Signal, ...]

    @property
    def news(self) -> tuple[Signal, ...]:
        """Signals among the newest values."""
        return tuple(s for s in self.signals if s.index >= len(self.values) - NEWEST)


@dataclass(frozen=True, slots=True)
class DriftReport:
    """All charts of what makes results now."""

    made_by: MadeBy | None
    """Of the newest result; None if there is none."""
    charts: tuple[Chart, ...]

    @property
    def is_quiet(self) -> bool:
        """Whether no chart has news."""
        return not any(chart.news for chart in self.charts)


def drift(kept: Sequence[CaseFigures], first_cases: int = LEAST_CASES) -> DriftReport:
    """Make the charts.

    Args:
        kept: in order of time.
        first_cases: from how many the limits are taken.
    """
    if not kept:
        return DriftReport(None, ())
    made_by = kept[-1].made_by
    own = [figures for figures in kept if figures.made_by == made_by]
    return DriftReport(made_by, tuple(chart for name in WATCHED if (chart := _chart(name, own, first_cases)).values))


def _chart(name: str, kept: Sequence[CaseFigures], first_cases: int) -> Chart:
    known = [(figures.key, figures.figures[name]) for figures in kept if name in figures.figures]
    keys, values = tuple(key for key, _ in known), tuple(value for _, value in known)
    unit = _UNITS[name] if name in _UNITS else FIGURES[name].unit
    if len(values) < first_cases:
        return Chart(name, unit, keys, values, None, ())
    mean = sum(values[:first_cases]) / first_cases
    least = _LEAST_SIGMA[name] if name in _LEAST_SIGMA else FIGURES[name].tolerated(mean) / 3.0
    limits = ControlLimits.of(values[:first_cases], least, first_cases)
    after = tuple(s for s in signals(values, limits) if s.index >= first_cases)
    return Chart(name, unit, keys, values, limits, after)
