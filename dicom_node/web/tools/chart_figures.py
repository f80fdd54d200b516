"""Control charts as facts of the JSON API and of the table behind each picture."""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from dicom_node.commissioning.chart_picture import MOST_SHOWN, chart_verdict
from dicom_node.commissioning.control_chart import LEAST_CASES, RULES
from dicom_node.commissioning.drift import Chart, DriftReport
from dicom_node.commissioning.expected import MadeBy
from dicom_node.commissioning.figures import shown_unit
from dicom_node.commissioning.report import iso_time


@dataclass(frozen=True, slots=True)
class ChartedValue:
    """One value of a chart."""

    number: int
    """From 1, in order of time."""
    case: str
    """Id of the case, and its run."""
    at: str
    """UTC, ISO 8601."""
    value: float
    rules: list[int]
    """Numbers of Nelson's rules that it breaks."""
    is_doubtful: bool
    """Whether the limits were taken from it, and it lies beyond them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the values lie as long as nothing changes."""

    lower: float
    mean: float
    upper: float
    sigma: float
    """Standard deviation from one case to the next."""
    cases: int
    """How many first cases they were taken from."""


@dataclass(frozen=True, slots=True)
class FigureChart:
    """One figure over time."""

    name: str
    measures: str
    unit: str
    """As people write it; empty for a plain number."""
    verdict: str
    is_quiet: bool
    """Whether none of the newest values breaks a rule."""
    total: int
    """How many values there are; the newest are listed."""
    limits: Limits | None
    """None while there are too few cases to take them from."""
    values: list[ChartedValue]


@dataclass(frozen=True, slots=True)
class Maker:
    """A model with its settings, which has charts of its own."""

    key: str
    """Short, for addresses."""
    lobes: str
    perfusion: str
    rule: str
    settings_digest: str
    cases: int
    span: str
    """How many cases, and from when to when."""

    @property
    def label(self) -> str:
        """Short, for a person: without the digits of the digests."""
        return f"{self.perfusion.partition(' sha256:')[0]}, {self.lobes.partition(' sha256:')[0]}, {self.span}"


@dataclass(frozen=True, slots=True)
class RuleSaid:
    """One of Nelson's rules."""

    number: int
    sentence: str


def maker_key(made_by: MadeBy) -> str:
    """A short name of a maker, always the same."""
    return hashlib.sha256("\n".join(astuple(made_by)).encode()).hexdigest()[:12]


def maker_of(report: DriftReport) -> Maker | None:
    """Whose charts a report holds; None if there is no result."""
    if (made_by := report.made_by) is None:
        return None
    most = max((len(chart.values) for chart in report.charts), default=0)
    names = (made_by.lobes, made_by.perfusion, made_by.rule, made_by.settings_digest)
    return Maker(maker_key(made_by), *names, most, report.span)


def figure_charts(report: DriftReport) -> list[FigureChart]:
    """Every chart of a report."""
    return [_chart(chart) for chart in report.charts]


def rules_said() -> list[RuleSaid]:
    """Nelson's rules by number."""
    return [RuleSaid(number, rule.sentence) for number, rule in RULES.items()]


def _chart(chart: Chart) -> FigureChart:
    limits = None
    if (found := chart.limits) is not None:
        limits = Limits(found.lower, found.mean, found.upper, found.sigma, found.cases)
    return FigureChart(
        chart.name,
        chart.measures,
        shown_unit(chart.unit),
        chart_verdict(chart) if limits else f"{len(chart.values)} of {LEAST_CASES} cases that limits need",
        not chart.news,
        len(chart.values),
        limits,
        list(_values(chart)),
    )


def _values(chart: Chart) -> Sequence[ChartedValue]:
    broken: dict[int, list[int]] = {}
    for signal in chart.signals:
        broken.setdefault(signal.index, []).append(signal.rule)
    return [
        ChartedValue(
            index + 1,
            chart.keys[index],
            iso_time(chart.at_s[index]),
            chart.values[index],
            broken.get(index, []),
            index in chart.first_beyond,
        )
        for index in range(max(0, len(chart.values) - MOST_SHOWN), len(chart.values))
    ]
