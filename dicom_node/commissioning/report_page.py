"""The commissioning report as pages for people: the verdict, what made the answers, a line to sign, and every figure.

Landscape A4: a head with the list of cases, as many pages as that needs, then one page of figures for each case.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from dicom_node.commissioning.expected import Comparison, MadeBy
from dicom_node.commissioning.figures import FIGURES, shown_unit
from dicom_node.commissioning.report import CaseReport, CommissioningReport
from dicom_node.durable_files import make_directory, write_durably, write_json
from dicom_node.pages.sheet import Sheet, Stroke, TextStyle, blank_sheet, joined_pdf, shortened, wrapped

TITLE: Final = "RESEARCH: commissioning report"
_WIDTH_MM, _HEIGHT_MM, _DPI = 297.0, 210.0, 150
_LEFT, _RIGHT = 12.0, 285.0
_BAND, _INK, _SOFT, _GOOD, _BAD = "#8f2d0f", "#16202a", "#5b6875", "#1f6b3a", "#a11212"
_RULE = Stroke("#cfd6dd", 0.5)
_TITLE, _TEXT, _SMALL = TextStyle(17.0, _INK), TextStyle(9.0, _INK), TextStyle(7.0, _SOFT)
_STRONG = TextStyle(9.0, _INK, bold=True)
_CASES_ON_A_PAGE: Final = 12
_HEADS: Final = ((138.0, "stored"), (164.0, "now"), (190.0, "difference"), (212.0, "tolerated"))
"""Right edges of the columns of numbers, mm."""
_UNIT_AT, _SOURCE_AT, _SOURCE_WIDTH_MM = 214.5, 228.0, 38.0


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
    made = f"{report.made_at} by {report.by}, {len(report.cases)} case(s)"
    sheet.text(_LEFT, 28.0, shortened(made, _TEXT, _RIGHT - _LEFT), _TEXT)
    lines = "Each CT went through the port of the running node, as from a scanner. Stored answers are what the node \
answered when they were accepted, not the truth: this says that it answers alike, not that it is right."
    told = (*wrapped(report.installation.sentence(), _SMALL, _RIGHT - _LEFT)[:3], *wrapped(lines, _SMALL, 273.0))
    y = _draw_lines(sheet, 33.0, told, _SMALL) + 5.0
    for case in cases:
        sheet.line((_LEFT, _RIGHT), (y - 4.3, y - 4.3), _RULE)
        style = TextStyle(9.0, _GOOD if case.passes else _BAD, bold=True)
        sheet.text(_LEFT, y, shortened(case.name, _STRONG, 60.0), _STRONG)
        sheet.text(76.0, y, case.state, style)
        sheet.text(108.0, y, shortened(case.sentence, _TEXT, 158.0), _TEXT)
        sheet.text(_RIGHT, y, f"{case.took_s:.0f} s" if case.made_by else "", _TEXT, "right")
        y += 8.0
    _draw_signatures(sheet, report, sha256)


def _draw_signatures(sheet: Sheet, report: CommissioningReport, sha256: str) -> None:
    for x, role in ((_LEFT, "made by"), (154.0, "approved by")):
        sheet.text(x, 161.0, role, _STRONG)
        for y, what in ((170.0, "name"), (179.0, "date"), (188.0, "signature")):
            sheet.text(x, y, what, _SMALL)
            sheet.line((x + 18.0, x + 118.0), (y, y), Stroke(_INK, 0.6))
    sheet.text(_LEFT + 19.0, 169.0, shortened(report.by, _TEXT, 98.0), _TEXT)
    sheet.text(_LEFT, 196.0, f"SHA-256 of commissioning.json: {sha256}", _SMALL)
    sheet.text(_LEFT, 200.5, f"SHA-256 of the reference set: {report.reference_sha256}", _SMALL)


def _draw_case(sheet: Sheet, case: CaseReport) -> None:
    sheet.text(_LEFT, 20.0, shortened(case.name, _TITLE, 200.0), _TITLE)
    style = TextStyle(13.0, _GOOD if case.passes else _BAD, bold=True)
    sheet.text(_RIGHT, 20.0, case.state.upper(), style, "right")
    y = _draw_lines(sheet, 27.0, wrapped(case.sentence, _TEXT, _RIGHT - _LEFT)[:3], _TEXT) + 0.5
    for label, text in _facts(case):
        sheet.text(_LEFT, y, label, _SMALL)
        sheet.text(_LEFT + 16.0, y, shortened(text, _SMALL, _RIGHT - _LEFT - 16.0), _SMALL)
        y += _SMALL.leading_mm
    if case.comparisons:
        _draw_figures(sheet, y + 4.0, case.comparisons)


def _draw_figures(sheet: Sheet, y: float, comparisons: Sequence[Comparison]) -> None:
    for x, head in _HEADS:
        sheet.text(x, y, head, _SMALL, "right")
    sheet.text(_SOURCE_AT, y, "tolerance from", _SMALL)
    for row in comparisons:
        y += 6.1
        sheet.line((_LEFT, _RIGHT), (y - 4.2, y - 4.2), _RULE)
        measures = FIGURES[row.name].measures if row.name in FIGURES else row.name
        sheet.text(_LEFT, y, shortened(measures, _TEXT, 106.0), _TEXT)
        both = row.stored is not None and row.found is not None
        cells = (
            *("none" if value is None else f"{value:.2f}" for value in (row.stored, row.found)),
            f"{(row.found or 0.0) - (row.stored or 0.0):+.2f}" if both else "",
            f"{row.tolerance:.2f}",
        )
        for (x, _), cell in zip(_HEADS, cells, strict=True):
            sheet.text(x, y, cell, _TEXT, "right")
        sheet.text(_UNIT_AT, y, shortened(shown_unit(row.unit), _SMALL, 12.0), _SMALL)
        sheet.text(_SOURCE_AT, y, shortened(row.source, _SMALL, _SOURCE_WIDTH_MM), _SMALL)
        verdict = ("within", _GOOD) if row.passes else ("MOVED", _BAD)
        sheet.text(_RIGHT, y, verdict[0], TextStyle(9.0, verdict[1], bold=not row.passes), "right")


def _facts(case: CaseReport) -> Iterator[tuple[str, str]]:
    """What made the answers and of which CT, every version and hash."""
    ct = case.ct
    yield (
        "CT",
        f"{ct.images} images, slice thickness {ct.slice_thickness_mm} mm, {ct.scanner}, kernel {ct.kernel}, "
        f"sha256:{ct.sha256}",
    )
    if case.made_by is not None:
        yield from _makers("now", case.made_by)
        yield "", "; ".join((*case.ran_on, f"case {case.case_id}"))
    if case.stored is not None:
        by = case.stored.by or "the node"
        yield "stored", f"{case.stored.at} by {by}, perfusion-node {case.stored.software}"
    if case.stored_by is not None and case.stored_by == case.made_by:
        yield ("stored" if case.stored is None else ""), "by the same models, rule and settings"
    elif case.stored_by is not None:
        yield from _makers("stored" if case.stored is None else "", case.stored_by)


def _makers(label: str, made_by: MadeBy) -> Iterator[tuple[str, str]]:
    yield label, f"map {made_by.perfusion}"
    yield "", f"lobes {made_by.lobes}"
    yield "", f"{made_by.rule}; settings {made_by.settings_digest}"


def _draw_lines(sheet: Sheet, y: float, lines: Sequence[str], style: TextStyle) -> float:
    for line in lines:
        sheet.text(_LEFT, y, line, style)
        y += style.leading_mm
    return y
