"""The words of the summary page: findings and caveats, set so that they fit their place.

Type gets smaller until everything fits. Where that is not enough, long texts are cut, then findings from the least
severe on, and a line says how many.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from dicom_node.pages.sheet import Sheet, TextStyle, text_width_mm, wrapped
from inference.engine import PerfusionResult
from inference.quality.findings import Severity

_INK, _SOFT = "#16202a", "#5b6875"
_CHIPS = {Severity.REJECT: "#9b1c1c", Severity.FLAG: "#b45309", Severity.NOTE: "#5b6875"}
"""Colours behind severities, gravest first."""
_SIZES_PT = (8.5, 8.0, 7.5, 7.0, 6.5)
_INDENT_MM = 12.5
"""Of a text behind its label."""
_LONGEST_LINES = 3
"""Of one text, where space is short."""
_UNIT = "Percent of the mean over both lungs of this patient. Two patients cannot be compared in absolute terms."

Place = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    label: str = ""
    chip: str = ""
    """Colour behind the label; empty for a plain one."""
    is_heading: bool = False
    gap_before: float = 0.0
    """In line heights."""


_CHECKS = _Line("Quality checks", is_heading=True)
_NO_FINDING = _Line("Nothing to report.")
Block = tuple[_Line, ...]


def draw_words(sheet: Sheet, result: PerfusionResult, place: Place) -> None:
    """Draw the texts of a result into a rectangle: left, top, width and height in mm."""
    x, y, width, height = place
    style, lines = _fitted(result, width, height)
    for line in lines:
        y += style.leading_mm * (1.0 + line.gap_before)
        if line.is_heading:
            sheet.text(x, y, line.text, replace(style, bold=True))
            continue
        if line.chip:
            _draw_chip(sheet, x, y, line, style)
        else:
            sheet.text(x, y, line.label, replace(style, colour=_SOFT))
        sheet.text(x + _INDENT_MM, y, line.text, style)


def _draw_chip(sheet: Sheet, x: float, y: float, line: _Line, style: TextStyle) -> None:
    tall, wide = 0.78 * style.leading_mm, _INDENT_MM - 2.0
    sheet.box(x, y - 0.8 * tall, wide, tall, line.chip)
    sheet.text(
        x + 0.5 * wide, y - 0.1 * tall, line.label, TextStyle(0.75 * style.size_pt, "#ffffff", bold=True), "center"
    )


def _fitted(result: PerfusionResult, width_mm: float, height_mm: float) -> tuple[TextStyle, Block]:
    for size_pt in _SIZES_PT:
        style = TextStyle(size_pt, _INK)
        findings = _findings(result, style, width_mm)
        lines = (_CHECKS, *chain.from_iterable(findings), *_caveats(result, style, width_mm))
        if _height_mm(lines, style) <= height_mm:
            return style, lines
    caveats = _caveats(result, style, width_mm, _LONGEST_LINES)
    room_mm = height_mm - _height_mm((_CHECKS, *caveats), style)
    findings = _findings(result, style, width_mm, _LONGEST_LINES)
    return style, (_CHECKS, *_first(findings, int(room_mm / style.leading_mm)), *caveats)


def _first(findings: Sequence[Block], room: int) -> Block:
    """As many findings as `room` lines hold, the last of them for the number of those left out."""
    shown: Block = ()
    for k, finding in enumerate(findings):
        is_last = k == len(findings) - 1
        if len(shown) + len(finding) > (room if is_last else room - 1):
            return (*shown, _Line(f"... and {len(findings) - k} more that this page has no room for"))
        shown = (*shown, *finding)
    return shown


def _findings(result: PerfusionResult, style: TextStyle, width_mm: float, longest: int | None = None) -> list[Block]:
    gravest_first = sorted(result.findings, key=lambda finding: list(_CHIPS).index(finding.severity))
    return [
        _set(_Line(f.sentence, f.severity.value.upper(), _CHIPS[f.severity]), style, width_mm, longest)
        for f in gravest_first
    ] or [(_NO_FINDING,)]


def _caveats(result: PerfusionResult, style: TextStyle, width_mm: float, longest: int | None = None) -> Block:
    makers = (("Map", result.perfusion.model), ("Lobes", result.lobes.segmenter))
    texts = [_Line(maker.caveat, label) for label, maker in makers if maker.caveat]
    blocks = [_set(text, style, width_mm, longest) for text in (*texts, _Line(_UNIT, "Unit"))]
    return (_Line("Read with care", is_heading=True, gap_before=0.7), *chain.from_iterable(blocks))


def _set(line: _Line, style: TextStyle, width_mm: float, longest: int | None = None) -> Block:
    """One text in lines of the column, its label on the first; cut with dots after `longest` lines."""
    reserve_mm = text_width_mm("n ...", style) if longest else 0.0
    texts = wrapped(line.text, style, width_mm - _INDENT_MM - reserve_mm) or [""]
    if longest and len(texts) > longest:
        texts = [*texts[: longest - 1], f"{texts[longest - 1]} ..."]
    return (replace(line, text=texts[0]), *(_Line(text) for text in texts[1:]))


def _height_mm(lines: Block, style: TextStyle) -> float:
    return sum(style.leading_mm * (1.0 + line.gap_before) for line in lines)
