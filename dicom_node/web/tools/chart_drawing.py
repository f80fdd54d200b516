"""Where everything on a chart stands: numbers for an SVG that a template writes. Colours are the matter of the style.

Meaning never rests on colour or on a pointer: what breaks a rule is a diamond with the numbers of the rules beside it,
lines have their names and values at their ends, and the same values stand in a table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dicom_node.commissioning.chart_picture import digits
from dicom_node.web.tools.chart_figures import FigureChart
from dicom_node.web.tools.refusals import Refusals

WIDTH: Final = 760.0
HEIGHT: Final = 232.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 10.0, 640.0, 18.0, 196.0
_MARK: Final = 5.5
_LABEL_STEP: Final = 13.0
"""Labels of lines are at least so far from one another."""


@dataclass(frozen=True, slots=True)
class DrawnLine:
    """A limit, a mean, or a line that only helps the eye."""

    kind: str
    """`limit`, `mean` or `sigma`; a class of the style."""
    points: str
    """As SVG wants them."""
    label: str = ""
    label_y: float = 0.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A value that asks for a look."""

    path: str
    x: float
    label_y: float
    label: str


@dataclass(frozen=True, slots=True)
class ChartDrawing:
    """One picture."""

    title: str
    description: str
    """What it shows, for whoever does not see it."""
    curve: str
    dots: list[tuple[float, float]]
    lines: list[DrawnLine]
    marks: list[Mark]
    shaded_width: float
    """Of the part that limits were taken from; 0 for none."""
    first_label: str
    last_label: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to places."""

    count: int
    low: float
    high: float

    @classmethod
    def of(cls, count: int, shown: Sequence[float]) -> "_Scale":
        room = 0.08 * (max(shown) - min(shown)) or max(abs(shown[0]) * 0.01, 1.0)
        return cls(count, min(shown) - room, max(shown) + room)

    def x(self, index: float) -> float:
        return round(_LEFT + (index + 0.5) / self.count * (_RIGHT - _LEFT), 1)

    def y(self, value: float) -> float:
        return round(_BOTTOM - (value - self.low) / (self.high - self.low) * (_BOTTOM - _TOP), 1)

    def across(self, value: float) -> str:
        return f"{_LEFT:g},{self.y(value)} {_RIGHT:g},{self.y(value)}"


def drawn_figure(chart: FigureChart) -> ChartDrawing:
    """A control chart of at least one value."""
    values = [found.value for found in chart.values]
    limits = chart.limits
    scale = _Scale.of(len(values), [*values, *((limits.lower, limits.upper) if limits else ())])
    number = digits(scale.high - scale.low)
    lines: list[DrawnLine] = []
    shaded = 0.0
    if limits:
        helping = [limits.mean + s * limits.sigma for s in (-2, -1, 1, 2)]
        lines = [DrawnLine("sigma", scale.across(value)) for value in helping]
        named = (
            ("limit", "+3 SD", limits.upper),
            ("mean", "mean", limits.mean),
            ("limit", "\N{MINUS SIGN}3 SD", limits.lower),
        )
        lines += [
            DrawnLine(kind, scale.across(value), f"{name} {number(value)}", scale.y(value) + 4.0)
            for kind, name, value in named
        ]
        inside = limits.cases - (chart.values[0].number - 1)
        shaded = max(0.0, inside / len(values) * (_RIGHT - _LEFT))
    labels = {
        index: ",".join(map(str, found.rules)) if found.rules else "?"
        for index, found in enumerate(chart.values)
        if found.rules or found.is_doubtful
    }
    unit = f" {chart.unit}" if chart.unit else ""
    told = f"{chart.total} values, the last {number(values[-1])}{unit}. "
    if limits:
        told += f"Mean {number(limits.mean)}, limits {number(limits.lower)} to {number(limits.upper)}{unit}. "
    return ChartDrawing(
        chart.measures, f"{told}{chart.verdict}.", *_curve(scale, values), _spread(lines),
        _marks(scale, values, labels), round(shaded, 1), _dated(chart, 0), _dated(chart, -1),
    )  # fmt: skip


def drawn_refusals(refusals: Refusals) -> ChartDrawing:
    """The share of refused cases by week, with limits that follow the number of cases of each week."""
    weeks = refusals.weeks
    values = [week.share_percent for week in weeks]
    uppers = [week.upper_percent for week in weeks if week.upper_percent is not None]
    scale = _Scale.of(len(weeks), [0.0, *values, *uppers, *([] if uppers else [1.0])])
    lines: list[DrawnLine] = []
    if refusals.mean_percent is not None and uppers:
        number = digits(scale.high - scale.low)
        steps = [(scale.x(k), scale.y(w.upper_percent)) for k, w in enumerate(weeks) if w.upper_percent is not None]
        lines = [
            DrawnLine("limit", _points(steps), "upper limit", steps[-1][1] + 4.0),
            DrawnLine(
                "mean", scale.across(refusals.mean_percent), f"mean {number(refusals.mean_percent)} %",
                scale.y(refusals.mean_percent) + 4.0,
            ),
        ]  # fmt: skip
    labels = {k: "beyond" for k, week in enumerate(weeks) if week.is_beyond}
    told = f"{len(weeks)} weeks; in the last {weeks[-1].refused} of {weeks[-1].cases} cases were refused."
    return ChartDrawing(
        "cases that were refused, percent of those that came in a week", told, *_curve(scale, values), _spread(lines),
        _marks(scale, values, labels), 0.0, weeks[0].week, weeks[-1].week,
    )  # fmt: skip


def _curve(scale: _Scale, values: Sequence[float]) -> tuple[str, list[tuple[float, float]]]:
    places = [(scale.x(index), scale.y(value)) for index, value in enumerate(values)]
    return _points(places), places


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)


def _marks(scale: _Scale, values: Sequence[float], labels: Mapping[int, str]) -> list[Mark]:
    marks = []
    for index, label in labels.items():
        x, y = scale.x(index), scale.y(values[index])
        path = f"M{x - _MARK:g} {y:g}L{x:g} {y - _MARK:g}L{x + _MARK:g} {y:g}L{x:g} {y + _MARK:g}Z"
        said = "" if labels.get(index - 1) == label else label  # said at the value before; there is no room at each
        is_low = y > (_TOP + _BOTTOM) / 2
        marks.append(Mark(path, x, round(y + (17.0 if is_low else -9.0), 1), said))
    return marks


def _spread(lines: Sequence[DrawnLine]) -> list[DrawnLine]:
    """The lines with labels that do not lie on one another."""
    placed: list[float] = []
    found = []
    for line in sorted(lines, key=lambda line: line.label_y):
        y = line.label_y
        if line.label:
            y = max(y, placed[-1] + _LABEL_STEP) if placed else y
            placed.append(y)
        found.append(DrawnLine(line.kind, line.points, line.label, round(y, 1)))
    return found


def _dated(chart: FigureChart, place: int) -> str:
    found = chart.values[place]
    return f"{found.number}: {found.at[:10]}"
