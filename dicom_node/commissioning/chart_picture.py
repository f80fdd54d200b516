"""One control chart as a picture: the values in order, the limits, where these come from, and what broke a rule.

Dark ink on white, so that it can be printed and read on a dim screen; what broke a rule differs in shape and in words,
not in colour alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dicom_node.commissioning.drift import Chart
from dicom_node.commissioning.figures import shown_unit
from dicom_node.commissioning.report import iso_time
from dicom_node.pages.sheet import Sheet, Stroke, TextStyle, shortened

MOST_SHOWN: Final = 200
"""Values on a picture; of more the newest, so that each can be told from the next."""
INK, SOFT, GOOD, BAD = "#16202a", "#4a5560", "#1f6b3a", "#a11212"
_FIRST, _CURVE = "#e9edf1", "#1f4e79"
_NAME, _LABEL = TextStyle(10.0, INK, bold=True), TextStyle(7.5, SOFT)
_RULE_LABEL = TextStyle(7.5, BAD, bold=True, halo="#ffffff")
_MEAN, _LIMIT, _SIGMA = Stroke(INK, 0.9), Stroke(BAD, 0.9, (5.0, 2.5)), Stroke("#9aa5b0", 0.5, (1.5, 2.0))
_ROOM_LEFT_MM, _ROOM_RIGHT_MM, _ROOM_ABOVE_MM, _ROOM_BELOW_MM = 2.0, 34.0, 9.0, 6.5
_POINT_MM, _MARK_MM = 0.9, 1.5


@dataclass(frozen=True, slots=True)
class Frame:
    """A rectangle on a sheet, mm."""

    left: float
    top: float
    width: float
    height: float


def chart_verdict(chart: Chart) -> str:
    """What a chart says, in a few words."""
    if chart.limits is None:
        return f"{len(chart.values)} case(s): too few for limits"
    if not chart.news:
        return "quiet"
    rules = sorted({signal.rule for signal in chart.news})
    return f"LOOK: rule {', '.join(map(str, rules))}"


def draw_chart(sheet: Sheet, chart: Chart, frame: Frame) -> None:
    """Draw a chart into a frame.

    Args:
        sheet: where.
        chart: of at least one value.
        frame: whole place that it may take, with its labels.
    """
    unit = f", {shown}" if (shown := shown_unit(chart.unit)) else ""
    verdict = chart_verdict(chart)
    colour = BAD if chart.news else GOOD if chart.limits is not None else SOFT
    sheet.text(frame.left, frame.top + 4.5, shortened(f"{chart.measures}{unit}", _NAME, 0.66 * frame.width), _NAME)
    right = frame.left + frame.width
    sheet.text(right, frame.top + 4.5, verdict, TextStyle(10.0, colour, bold=True), "right")
    _Plot.of(chart, frame).draw(sheet)


@dataclass(frozen=True, slots=True)
class _Plot:
    """The part of a chart within its axes."""

    chart: Chart
    first: int
    """Index of the first value that is shown."""
    left: float
    right: float
    top: float
    bottom: float
    low: float
    """Value at the bottom."""
    high: float

    @classmethod
    def of(cls, chart: Chart, frame: Frame) -> "_Plot":
        first = max(0, len(chart.values) - MOST_SHOWN)
        shown = [*chart.values[first:]]
        if chart.limits is not None:
            shown += [chart.limits.lower, chart.limits.upper]
        room = 0.08 * (max(shown) - min(shown)) or max(abs(shown[0]) * 0.01, 1.0)
        left, right = frame.left + _ROOM_LEFT_MM, frame.left + frame.width - _ROOM_RIGHT_MM
        top, bottom = frame.top + _ROOM_ABOVE_MM, frame.top + frame.height - _ROOM_BELOW_MM
        return cls(chart, first, left, right, top, bottom, min(shown) - room, max(shown) + room)

    def x(self, index: int) -> float:
        """Where a value stands, mm."""
        steps = max(len(self.chart.values) - self.first, 1)
        return self.left + (index - self.first + 0.5) / steps * (self.right - self.left)

    def y(self, value: float) -> float:
        """How high a value stands, mm."""
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def draw(self, sheet: Sheet) -> None:
        """Everything, from the ground up."""
        self._draw_ground(sheet)
        indices = range(self.first, len(self.chart.values))
        places = [(self.x(index), self.y(self.chart.values[index])) for index in indices]
        sheet.line(tuple(x for x, _ in places), tuple(y for _, y in places), Stroke(_CURVE, 0.8))
        for x, y in places:
            sheet.box(x - _POINT_MM / 2, y - _POINT_MM / 2, _POINT_MM, _POINT_MM, _CURVE)
        self._draw_signals(sheet)
        self._draw_dates(sheet)

    def _draw_ground(self, sheet: Sheet) -> None:
        limits, number = self.chart.limits, digits(self.high - self.low)
        across = (self.left, self.right)
        if limits is None:
            for y in (self.top, self.bottom):
                sheet.line(across, (y, y), _SIGMA)
            value = self.chart.values[-1]
            sheet.text(self.right + 1.5, self.y(value) + 1.0, f"last {number(value)}", _LABEL)
            return
        if (inside := limits.cases - self.first) > 0:
            width = inside / (len(self.chart.values) - self.first) * (self.right - self.left)
            sheet.box(self.left, self.top, width, self.bottom - self.top, _FIRST)
        for sigmas in (-2, -1, 1, 2):
            y = self.y(limits.mean + sigmas * limits.sigma)
            sheet.line(across, (y, y), _SIGMA)
        lower = "\N{MINUS SIGN}3 SD"
        named = ((limits.upper, "+3 SD", _LIMIT), (limits.mean, "mean", _MEAN), (limits.lower, lower, _LIMIT))
        for value, name, stroke in named:
            sheet.line(across, (self.y(value), self.y(value)), stroke)
            sheet.text(self.right + 1.5, self.y(value) + 1.0, f"{name}  {number(value)}", _LABEL)

    def _draw_signals(self, sheet: Sheet) -> None:
        broken: dict[int, list[int]] = {}
        for signal in self.chart.signals:
            broken.setdefault(signal.index, []).append(signal.rule)
        for index in self.chart.first_beyond:
            broken.setdefault(index, [])
        for index, rules in broken.items():
            if index < self.first:
                continue
            x, y = self.x(index), self.y(self.chart.values[index])
            mark = ((x - _MARK_MM, x, x + _MARK_MM, x, x - _MARK_MM), (y, y - _MARK_MM, y, y + _MARK_MM, y))
            sheet.line(*mark, Stroke(BAD, 1.2))
            if rules and rules == broken.get(index - 1):
                continue  # said at the value before, and there is no room to say it at each
            label = ",".join(map(str, rules)) if rules else "?"
            is_low = y > (self.top + self.bottom) / 2
            sheet.text(x, y + (4.6 if is_low else -2.4), label, _RULE_LABEL, "center")

    def _draw_dates(self, sheet: Sheet) -> None:
        y, count = self.bottom + 4.5, len(self.chart.values)
        for index, align in ((self.first, "left"), (count - 1, "right")):
            at = self.left if align == "left" else self.right
            told = f"{index + 1}: {iso_time(self.chart.at_s[index])[:10]}"
            if align == "left" or index != self.first:
                sheet.text(at, y, told, _LABEL, "left" if align == "left" else "right")
        if (limits := self.chart.limits) is not None and limits.cases > self.first:
            told = f"grey: the {limits.cases} values that the limits were taken from"
            if self.chart.first_beyond:
                told += f"; {len(self.chart.first_beyond)} of them (?) beyond: look at them first"
            sheet.text((self.left + self.right) / 2, y, told, _LABEL, "center")


def digits(span: float) -> Callable[[float], str]:
    """How to write numbers of a range so that a hundredth of it shows."""
    places = min(max(0, 2 - math.floor(math.log10(span))), 4)
    return lambda value: f"{value:.{places}f}".replace("-", "\N{MINUS SIGN}")
