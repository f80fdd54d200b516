"""The commissioning report as pages for people: the verdict, what made the answers, a line to sign, and every figure.

Landscape A4: a head with the list of cases, as many pages as that needs, then one page of figures for each case.
"""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from dicom_node.commissioning.expected import MadeBy
from dicom_node.commissioning.figures import FIGURES
from dicom_node.commissioning.report import CaseReport, CommissioningReport
from dicom_node.durable_files import make_directory, write_durably, write_json
from dicom_node.pages.sheet import Sheet, Stroke, TextStyle, blank_sheet, joined_pdf, shortened, text_width_mm, wrapped

TITLE: Final = "RESEARCH: commissioning report"
_WIDTH_MM, _HEIGHT_MM, _DPI = 297.0, 210.0, 150
_LEFT, _RIGHT = 12.0, 285.0
_BAND, _INK, _SOFT, _GOOD, _BAD = "#8f2d0f", "#16202a", "#5b6875", "#1f6b3a", "#a11212"
_RULE = Stroke("#cfd6dd", 0.5)
_TITLE, _TEXT, _SMALL = TextStyle(17.0, _INK), TextStyle(9.0, _INK), TextStyle(7.0, _SOFT)
_STRONG = TextStyle(9.0, _INK, bold=True)
_CASES_ON_A_PAGE: Final = 12
_COLUMNS = (150.0, 180.0, 210.0, 235.0, 262.0)
"""Right edges of the figures, mm."""
_UNITS: Final = {"[hnsf'U]": "HU", "1": ""}
"""How people write them."""


def write_report(report: CommissioningReport, out: Path) -> tuple[Path, Path]:
    """Write the report as `commissioning.json` and `commissioning.pdf` into a folder; the paths of both.

    The PDF names the SHA-256 of the JSON, so that who signs the one signs the other.
    """
    make_directory(out)
    facts, page = out / "commissioning.json", out / "commissioning.pdf"
    write_json(facts, report.fields())
    write_durably(page, report_pdf(report, hashlib.sha256(facts.read_bytes()).hexdigest()))
    return facts, page


def report_pdf(report: CommissioningReport, json_sha256: str) -> bytes:
    """Draw the report.

    Args:
        report: what was found.
        json_sha256: of the file that says the same for programs.
    """
    groups = [report.cases[k : k + _CASES_ON_A_PAGE] for k in range(0, len(report.cases), _CASES_ON_A_PAGE)]
    with ExitStack() as drawn:
        sheets = [drawn.enter_context(blank_sheet(_WIDTH_MM, _HEIGHT_MM)) for _ in (*groups, *report.cases)]
        for number, sheet in enumerate(sheets, start=1):
            _draw_band(sheet, f"page {number} of {len(sheets)}")
        for sheet, group in zip(sheets, groups, strict=False):
            _draw_head(sheet, report, group, json_sha256)
        for sheet, case in zip(sheets[len(groups) :], report.cases, strict=True):
            _draw_case(sheet, case)
        return joined_pdf(sheets, TITLE, _DPI)


def _draw_band(sheet: Sheet, page: str) -> None:
    sheet.box(0.0, 0.0, _WIDTH_MM, 9.0, _BAND)
    sheet.text(_LEFT, 6.1, "RESEARCH", TextStyle(11.0, "#ffffff", bold=True))
    sheet.text(41.0, 6.1, "Not a medical device. Not for clinical decisions.", TextStyle(9.5, "#ffffff"))
    sheet.text(_RIGHT, 6.1, page, TextStyle(9.5, "#ffffff"), "right")


def _draw_head(sheet: Sheet, report: CommissioningReport, cases: Sequence[CaseReport], sha256: str) -> None:
    sheet.text(_LEFT, 21.0, "Commissioning report", _TITLE)
    done = "all answers stored" if report.is_recording else "every answer as stored"
    words, colour = (done.upper(), _GOOD) if report.passes else ("NOT PASSED", _BAD)
    sheet.text(_RIGHT, 21.0, words, TextStyle(13.0, colour, bold=True), "right")
    made = f"{report.made_at} on {report.host}, perfusion-node {report.software}, {len(report.cases)} case(s)"
    sheet.text(_LEFT, 28.5, shortened(made, _TEXT, _RIGHT - _LEFT), _TEXT)
    lines = "Each CT went through the port of the running node, as from a scanner. Stored answers are what the node \
answered when they were accepted, not the truth: this says that it answers alike, not that it is right."
    y = _draw_lines(sheet, 34.0, wrapped(lines, _SMALL, _RIGHT - _LEFT), _SMALL) + 4.0
    for case in cases:
        sheet.line((_LEFT, _RIGHT), (y - 4.3, y - 4.3), _RULE)
        style = TextStyle(9.0, _GOOD if case.passes else _BAD, bold=True)
        sheet.text(_LEFT, y, shortened(case.name, _STRONG, 60.0), _STRONG)
        sheet.text(76.0, y, case.state, style)
        sheet.text(108.0, y, shortened(case.sentence, _TEXT, 150.0), _TEXT)
        sheet.text(_RIGHT, y, f"{case.took_s:.0f} s" if case.made_by else "", _TEXT, "right")
        y += 8.0
    _draw_signatures(sheet, sha256)


def _draw_signatures(sheet: Sheet, sha256: str) -> None:
    for x, role in ((_LEFT, "made by"), (150.0, "approved by")):
        sheet.line((x, x + 85.0), (178.0, 178.0), Stroke(_INK, 0.6))
        sheet.text(x, 182.0, f"{role}: name, date, signature", _SMALL)
    sheet.text(_LEFT, 196.0, f"SHA-256 of commissioning.json: {sha256}", _SMALL)


def _draw_case(sheet: Sheet, case: CaseReport) -> None:
    sheet.text(_LEFT, 20.0, shortened(case.name, _TITLE, 200.0), _TITLE)
    style = TextStyle(13.0, _GOOD if case.passes else _BAD, bold=True)
    sheet.text(_RIGHT, 20.0, case.state.upper(), style, "right")
    y = _draw_lines(sheet, 27.0, wrapped(case.sentence, _TEXT, _RIGHT - _LEFT)[:3], _TEXT) + 1.0
    y = _draw_makers(sheet, y, (("now", case.made_by), ("stored", case.stored_by)))
    if not case.comparisons:
        return
    y += 4.0
    for x, head in zip(_COLUMNS, ("stored", "now", "difference", "tolerated", ""), strict=True):
        sheet.text(x, y, head, _SMALL, "right")
    for row in case.comparisons:
        y += 6.1
        sheet.line((_LEFT, _RIGHT), (y - 4.2, y - 4.2), _RULE)
        measures = FIGURES[row.name].measures if row.name in FIGURES else row.name
        sheet.text(_LEFT, y, shortened(measures, _TEXT, 108.0), _TEXT)
        both = row.stored is not None and row.found is not None
        cells = (
            *("none" if value is None else f"{value:.2f}" for value in (row.stored, row.found)),
            f"{(row.found or 0.0) - (row.stored or 0.0):+.2f}" if both else "",
            f"{row.tolerance:.2f}",
        )
        for x, cell in zip(_COLUMNS, cells, strict=False):
            sheet.text(x, y, cell, _TEXT, "right")
        sheet.text(_COLUMNS[3] + 3.0, y, shortened(_UNITS.get(row.unit, row.unit), _SMALL, 18.0), _SMALL)
        verdict = ("within", _GOOD) if row.passes else ("MOVED", _BAD)
        sheet.text(_RIGHT, y, verdict[0], TextStyle(9.0, verdict[1], bold=not row.passes), "right")


def _draw_makers(sheet: Sheet, y: float, makers: Iterable[tuple[str, MadeBy | None]]) -> float:
    for label, made_by in makers:
        if made_by is None:
            continue
        text = (
            f"map {made_by.perfusion}; lobes {made_by.lobes}; {made_by.rule}; settings {made_by.settings_digest[:16]}"
        )
        sheet.text(_LEFT, y, label, _SMALL)
        room = _RIGHT - _LEFT - 14.0
        shown = text if text_width_mm(text, _SMALL) <= room else shortened(text, _SMALL, room)
        sheet.text(_LEFT + 14.0, y, shown, _SMALL)
        y += _SMALL.leading_mm
    return y


def _draw_lines(sheet: Sheet, y: float, lines: Sequence[str], style: TextStyle) -> float:
    for line in lines:
        sheet.text(_LEFT, y, line, style)
        y += style.leading_mm
    return y
