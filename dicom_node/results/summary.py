"""One page for people: CT with map and regions in three planes, the lobar table, findings, and who made it.

Landscape A4, for the printer as for a dim screen. It is for looking, not for planning, and says RESEARCH on its face.
No patient data is drawn but the line that the caller gives as `subject`. What does not fit is set smaller, then cut
with a remark; nothing runs over anything else or off the page.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dicom_node.objects.page import TITLE
from dicom_node.objects.provenance import SHADOW_MODEL, software_version
from dicom_node.pages.lobar_rows import HEADS, LobarRow, lobar_rows
from dicom_node.pages.lung_views import (
    AXIAL,
    CORONAL,
    MAP_RANGE_PERCENT,
    SAGITTAL,
    WINDOW_HU,
    Plane,
    View,
    cut_views,
    shown_colours,
)
from dicom_node.pages.sheet import Sheet, Stroke, TextStyle, blank_sheet, shortened, text_width_mm
from dicom_node.pages.summary_words import draw_words
from inference.engine import PerfusionResult
from inference.model_card import ModelIdentity
from inference.volumes import CtVolume

WIDTH_MM, HEIGHT_MM = 297.0, 210.0
SCREEN_DPI = 150
PRINT_DPI = 254
_LEFT, _RIGHT = 12.0, 285.0

_INK, _SOFT, _FAINT, _BAND = "#16202a", "#5b6875", "#cfd6dd", "#8f2d0f"
_HIGH = Stroke("#ffffff", 0.9)
_LOW = Stroke("#3fd2ff", 0.9)
_LOBE = Stroke("#00000073", 0.5)
_DARK, _WARM = "#101418", "#a8413f"
_TITLE = TextStyle(17.0, _INK, bold=True)
_SUBJECT = tuple(TextStyle(size_pt, _INK) for size_pt in (9.5, 8.0, 6.5))
_CAPTION, _STRONG_CAPTION = TextStyle(7.5, _SOFT), TextStyle(7.5, _INK, bold=True)
_CELL, _STRONG_CELL = TextStyle(8.5, _INK), TextStyle(8.5, _INK, bold=True)
_SMALL, _SMALL_INK = TextStyle(6.5, _SOFT), TextStyle(6.5, _INK)
_ON_PICTURE = TextStyle(6.0, "#ffffff", halo="#00000099")
_LETTER = TextStyle(8.0, "#ffffff", bold=True, halo="#000000cc")

_PICTURES = {  # top left corner and size, mm
    CORONAL: (12.0, 36.0, 85.0, 80.0),
    SAGITTAL: (99.5, 36.0, 75.0, 80.0),
    AXIAL: (177.0, 36.0, 85.0, 80.0),
}
_PIXELS_PER_MM = 10
_BAR = (265.5, 36.0, 4.0, 80.0)
_TABLE_TOP, _TABLE_RIGHT = 134.5, 154.0
_SHARE_BAR_MM = 11.0
_WORDS = (166.0, 130.5, _RIGHT - 166.0, 58.0)
_FOOT_TOP = 191.0


def draw_summary(ct: CtVolume, result: PerfusionResult, path: Path) -> None:
    """Draw the page without any patient data and write it as PNG to `path`, whatever its suffix."""
    with summary_sheet(ct, result) as sheet:
        sheet.write_png(path, SCREEN_DPI)


def summary_pdf(ct: CtVolume, result: PerfusionResult, subject: str = "") -> bytes:
    """The page as PDF; `subject` says whose it is, an empty one draws nothing."""
    with summary_sheet(ct, result, subject) as sheet:
        return sheet.pdf(TITLE, PRINT_DPI)


def summary_pixels(ct: CtVolume, result: PerfusionResult, subject: str = "") -> UInt8[np.ndarray, "rows columns 3"]:
    """The page as red, green and blue, for a Secondary Capture."""
    with summary_sheet(ct, result, subject) as sheet:
        return sheet.pixels(SCREEN_DPI)


@contextmanager
def summary_sheet(ct: CtVolume, result: PerfusionResult, subject: str = "") -> Iterator[Sheet]:
    """The page, drawn and ready to be written in any form while the `with` lasts."""
    with blank_sheet(WIDTH_MM, HEIGHT_MM) as sheet:
        _draw_head(sheet, subject, in_shadow=any(finding.code == SHADOW_MODEL for finding in result.findings))
        views, scale = cut_views(ct, result, {p: place[2:] for p, place in _PICTURES.items()}, _PIXELS_PER_MM)
        for plane, view in views.items():
            _draw_view(sheet, plane, view, scale)
        _draw_colour_bar(sheet)
        _draw_legend(sheet, scale)
        _draw_table(sheet, lobar_rows(result.lobar))
        draw_words(sheet, result, _WORDS)
        _draw_foot(sheet, ct, result)
        yield sheet


def _draw_head(sheet: Sheet, subject: str, *, in_shadow: bool) -> None:
    whose = "SHADOW: of a model that is not in use here, for comparison only." if in_shadow else "Not a medical device."
    sheet.box(0.0, 0.0, WIDTH_MM, 9.0, _BAND)
    sheet.text(_LEFT, 6.1, "RESEARCH", TextStyle(11.0, "#ffffff", bold=True))
    sheet.text(41.0, 6.1, f"{whose} Not for clinical decisions.", TextStyle(9.5, "#ffffff"))
    sheet.text(_LEFT, 20.0, "Relative lung perfusion predicted from CT", _TITLE)
    if subject:
        style = next((s for s in _SUBJECT if text_width_mm(subject, s) <= _RIGHT - _LEFT), _SUBJECT[-1])
        sheet.text(_LEFT, 26.5, shortened(subject, style, _RIGHT - _LEFT), style)


def _draw_view(sheet: Sheet, plane: Plane, view: View, scale: float) -> None:
    x, y, width, height = _PICTURES[plane]
    sheet.text(x, y - 2.0, plane.name, _STRONG_CAPTION)
    sheet.text(x + width, y - 2.0, f"{plane.coordinate} = {view.position_mm:.0f} mm", _CAPTION, "right")
    sheet.picture(x, y, width, height, view.rgb)
    corner = np.array([x, y])
    lobes = [ring for rings in view.lobes.values() for ring in rings]
    for rings, stroke in ((lobes, _LOBE), (view.low, _LOW), (view.high, _HIGH)):
        sheet.inner_outline([ring / scale + corner for ring in rings], stroke)
    for lobe, (across, down) in view.names.items():
        sheet.text(x + across / scale, y + down / scale + 0.8, lobe.name, _ON_PICTURE, "center")
    left, right, top, bottom = plane.letters
    for across, down, text in (
        (3.0, 0.5 * height + 1.0, left),
        (width - 3.0, 0.5 * height + 1.0, right),
        (0.5 * width, 4.2, top),
        (0.5 * width, height - 2.2, bottom),
    ):
        sheet.text(x + across, y + down, text, _LETTER, "center")
    _draw_crossing(sheet, view, scale, (x, y, width, height))


def _draw_crossing(sheet: Sheet, view: View, scale: float, place: tuple[float, float, float, float]) -> None:
    """Ticks at the picture's edges where the other two cuts lie."""
    x, y, width, height = place
    tick = Stroke("#ffffffcc", 0.6)
    across, down = (at / scale for at in view.crossing_mm)
    for start in (y, y + height - 1.5):
        sheet.line((x + across, x + across), (start, start + 1.5), tick)
    for start in (x, x + width - 1.5):
        sheet.line((start, start + 1.5), (y + down, y + down), tick)


def _draw_colour_bar(sheet: Sheet) -> None:
    x, y, width, height = _BAR
    low, high = MAP_RANGE_PERCENT
    sheet.picture(x, y, width, height, shown_colours(np.linspace(high, low, 400))[:, None, :])
    for percent in (0, 50, 100, 150, 200):
        at = y + height * (high - percent) / (high - low)
        sheet.line((x + width, x + width + 1.2), (at, at), Stroke(_SOFT, 0.6))
        text = f">{percent}" if percent == high else f"{percent}"
        sheet.text(x + width + 2.0, at + 0.9, text, _CAPTION)
    sheet.text(x, y - 2.6, "% of lung mean", _SMALL)


def _draw_legend(sheet: Sheet, scale: float) -> None:
    x, y = _LEFT, 121.8
    for stroke, text in ((_HIGH, "high-functional lung"), (_LOW, "low-functional lung"), (_LOBE, "lobes")):
        sheet.box(x, y - 2.4, 6.0, 3.2, _WARM if stroke is _LOBE else _DARK)
        sheet.line((x + 1.0, x + 5.0), (y - 0.8, y - 0.8), stroke)
        sheet.text(x + 7.5, y, text, _CAPTION)
        x += 7.5 + text_width_mm(text, _CAPTION) + 6.0
    sheet.text(x, y, "ticks at the edges: where the other two views cut", _CAPTION)
    left, _, width, _ = _PICTURES[AXIAL]
    length = 50.0 / scale
    sheet.line((left + width - length, left + width), (y - 0.9, y - 0.9), Stroke(_INK, 1.2))
    sheet.text(left + width - length - 1.5, y, "50 mm", _CAPTION, "right")


_COLUMNS = (66.0, 88.0, 108.0, 136.0, _TABLE_RIGHT)  # right edges of the figures
_NAMES = (_LEFT, 39.0)


def _draw_table(sheet: Sheet, rows: tuple[LobarRow, ...]) -> None:
    y = _TABLE_TOP
    for x, lines in zip(_COLUMNS, HEADS, strict=True):
        for k, line in enumerate(reversed(lines)):
            sheet.text(x, y - 3.4 * k, line, _SMALL, "right")
    sheet.line((_LEFT, _TABLE_RIGHT), (y + 1.8, y + 1.8), Stroke(_INK, 0.8))
    y += 7.2
    largest = max(0.4, *(row.share for row in rows if not row.is_sum))
    for row in rows:
        if row.is_sum and row is not rows[0]:
            sheet.line((_LEFT, _TABLE_RIGHT), (y - 4.6, y - 4.6), Stroke(_FAINT, 0.5))
        style = _STRONG_CELL if row.is_sum else _CELL
        sheet.text(_NAMES[0] + (0.0 if row.is_sum else 3.0), y, row.title, style)
        sheet.text(_NAMES[1], y, row.tg263, TextStyle(6.5, _SOFT))
        for x, cell in zip(_COLUMNS, row.cells, strict=True):
            sheet.text(x, y, cell, style, "right")
        if not row.is_sum:
            sheet.box(_COLUMNS[2] + 2.0, y - 2.3, _SHARE_BAR_MM * row.share / largest, 2.4, "#8aa0b4")
        y += 6.5


def _draw_foot(sheet: Sheet, ct: CtVolume, result: PerfusionResult) -> None:
    """What the page was made from, by whom and by which rule: one line each, hashes in full."""
    slices, rows, columns = ct.grid.shape
    between, down, across = ct.grid.spacing_mm
    matrix = f"{slices} slices every {between:.2f} mm, {columns} x {rows} pixels of {across:.2f} x {down:.2f} mm"
    lines = (
        ("CT", f"{matrix}; shown from {WINDOW_HU[0]:.0f} to {WINDOW_HU[1]:.0f} HU"),
        ("Map", _maker(result.perfusion.model)),
        ("Lobes", _maker(result.lobes.segmenter)),
        ("Rule", result.regions.rule.statement().removeprefix("Rule ")),
    )
    sheet.line((_LEFT, _RIGHT), (_FOOT_TOP, _FOOT_TOP), Stroke(_FAINT, 0.5))
    for k, (label, text) in enumerate(lines, start=1):
        y = _FOOT_TOP + 3.5 * k
        sheet.text(_LEFT, y, label, _SMALL)
        sheet.text(_LEFT + 10.0, y, shortened(text, _SMALL_INK, _RIGHT - _LEFT - 10.0), _SMALL_INK)
    sheet.text(_RIGHT, _FOOT_TOP + 3.5, f"perfusion-node {software_version()}", _SMALL, "right")


def _maker(identity: ModelIdentity) -> str:
    weights = f"weights SHA-256 {identity.weights_sha256}" if identity.weights_sha256 else "no weights"
    return f"{shortened(f'{identity.name} {identity.version}', _SMALL_INK, 120.0)}, {weights}"
