"""The picture that stands in a study where a result was expected: that there is none, why, and what to do.

Large type on a dark ground, to be read in a viewer at low zoom. Whose study it is stands in the header of the object;
no patient data is drawn.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from dicom_node.pages.sheet import Sheet, Stroke, TextStyle, blank_sheet, shortened, wrapped

_WIDTH_MM, _HEIGHT_MM, _DPI = 254.0, 152.4, 100  # 1000 x 600 pixels
_LEFT, _RIGHT = 12.0, 242.0
_GROUND, _BAND, _TEXT, _SOFT, _SIGNAL = "#101418", "#8f2d0f", "#f1f3f5", "#a8b3be", "#ffb74d"
_REASON_TOP, _REASON_BOTTOM = 58.0, 100.0
_REASON_SIZES_PT = (24.0, 20.0, 17.0, 14.5, 12.0)
_LABEL, _FACT = TextStyle(14.0, _SOFT), TextStyle(14.0, _TEXT)


@dataclass(frozen=True, slots=True)
class NoticeTexts:
    """What the picture says."""

    code: str
    reason: str
    advice: str
    facts: tuple[tuple[str, str], ...]
    """Label and text of a few lines; at most four."""


def draw_notice(texts: NoticeTexts) -> UInt8[np.ndarray, "rows columns 3"]:
    """Draw the notice, 1000 pixels wide and 600 high. Long texts are set smaller, then cut with dots."""
    with blank_sheet(_WIDTH_MM, _HEIGHT_MM, _GROUND) as sheet:
        sheet.box(0.0, 0.0, _WIDTH_MM, 16.0, _BAND)
        sheet.text(_LEFT, 11.0, "RESEARCH", TextStyle(19.0, "#ffffff", bold=True))
        sheet.text(_RIGHT, 11.0, "Not for clinical decisions", TextStyle(15.0, "#ffffff"), "right")
        sheet.text(_LEFT, 36.0, "No perfusion result", TextStyle(38.0, _TEXT, bold=True))
        code = TextStyle(19.0, _SIGNAL, bold=True)
        sheet.text(_LEFT, 50.0, shortened(texts.code, code, _RIGHT - _LEFT), code)
        _draw_reason(sheet, texts.reason)
        advice = TextStyle(15.0, _SIGNAL)
        for k, line in enumerate(wrapped(texts.advice, advice, _RIGHT - _LEFT)[:2]):
            sheet.text(_LEFT, 108.5 + k * advice.leading_mm, line, advice)
        sheet.line((_LEFT, _RIGHT), (121.0, 121.0), Stroke("#3a444e", 0.8))
        for k, (label, text) in enumerate(texts.facts[:4]):
            y = 128.0 + 6.5 * k
            sheet.text(_LEFT, y, label, _LABEL)
            sheet.text(_LEFT + 30.0, y, shortened(text, _FACT, _RIGHT - _LEFT - 30.0), _FACT)
        return sheet.pixels(_DPI)


def _draw_reason(sheet: Sheet, reason: str) -> None:
    for size_pt in _REASON_SIZES_PT:
        style = TextStyle(size_pt, _TEXT)
        lines = wrapped(reason, style, _RIGHT - _LEFT)
        room = 1 + int((_REASON_BOTTOM - _REASON_TOP - 0.8 * style.leading_mm) / style.leading_mm)
        if len(lines) <= room:
            break
    else:
        lines = [*lines[: room - 1], shortened(f"{lines[room - 1]} ...", style, _RIGHT - _LEFT)]
    for k, line in enumerate(lines):
        sheet.text(_LEFT, _REASON_TOP + style.leading_mm * (k + 0.6), line, style)
