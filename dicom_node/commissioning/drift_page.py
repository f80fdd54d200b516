"""The control charts for people: `drift.pdf` with all of them, a PNG and an SVG of each, `drift.json` for programs.

FOLDER/drift.pdf, drift.json
FOLDER/patients/lung_volume.png, lung_volume.svg, …
FOLDER/self-tests/lung_volume.png, …
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from dicom_node.commissioning.chart_picture import BAD, GOOD, INK, SOFT, Frame, chart_verdict, draw_chart
from dicom_node.commissioning.control_chart import RULES
from dicom_node.commissioning.drift import NEWEST, Chart, DriftReport
from dicom_node.commissioning.drift_look import DriftLook
from dicom_node.commissioning.expected import MadeBy
from dicom_node.constancy.drift_news import PATIENTS, SELF_TESTS
from dicom_node.durable_files import make_directory, write_durably, write_json, written_durably
from dicom_node.pages.sheet import Sheet, Stroke, TextStyle, blank_sheet, joined_pdf, shortened, wrapped

TITLE: Final = "RESEARCH: control charts"
_WIDTH_MM, _HEIGHT_MM, _DPI = 297.0, 210.0, 150
_LEFT, _RIGHT = 12.0, 285.0
_BAND = "#8f2d0f"
_RULE = Stroke("#cfd6dd", 0.5)
_HEAD, _TEXT, _SMALL = TextStyle(17.0, INK), TextStyle(9.0, INK), TextStyle(7.5, SOFT)
_STRONG = TextStyle(10.0, INK, bold=True)
_ON_A_PAGE: Final = 3
_RULES_AT: Final = 198.0
_PICTURE = Frame(6.0, 4.0, 228.0, 78.0)
_WHOSE: Final = {PATIENTS: "patients", SELF_TESTS: "digital thorax of the self-test"}
_SAYS: Final = (
    "A signal is a question, not a verdict: other patients, another scanner or another kernel move the same figures as "
    "a fault of the node does. Charts of the digital thorax show the node alone. With many charts and rules some "
    "signals come by chance. Rules hold for values spread evenly about their mean; defect share, distance from the "
    "training and time are not, and lie beyond the upper limit more often."
)


def write_drift(look: DriftLook, out: Path) -> tuple[Path, ...]:
    """Write everything into a folder; its paths, the PDF first."""
    make_directory(out)
    page, facts = out / "drift.pdf", out / "drift.json"
    write_durably(page, drift_pdf(look))
    write_json(facts, look.fields())
    return page, facts, *_pictures(look, out)


def _pictures(look: DriftLook, out: Path) -> Iterator[Path]:
    for folder, report in ((PATIENTS, look.patients), (SELF_TESTS, look.self_tests)):
        for chart in report.charts:
            make_directory(out / folder)
            png, svg = out / folder / f"{chart.name}.png", out / folder / f"{chart.name}.svg"
            with blank_sheet(_PICTURE.width + 12.0, _PICTURE.height + 8.0) as sheet:
                draw_chart(sheet, chart, _PICTURE)
                with written_durably(png) as part:
                    sheet.write_png(part, _DPI)
                with written_durably(svg) as part:
                    sheet.write_svg(part, f"{TITLE}, {chart.measures}")
            yield from (png, svg)


def drift_pdf(look: DriftLook) -> bytes:
    """All charts, three on a page, after a page that says which of them ask for a look and what the rules are."""
    charts = [(PATIENTS, chart) for chart in look.patients.charts]
    charts += [(SELF_TESTS, chart) for chart in look.self_tests.charts]
    groups = [charts[k : k + _ON_A_PAGE] for k in range(0, len(charts), _ON_A_PAGE)]
    with ExitStack() as drawn:
        sheets = [drawn.enter_context(blank_sheet(_WIDTH_MM, _HEIGHT_MM)) for _ in (look, *groups)]
        for number, sheet in enumerate(sheets, start=1):
            _draw_band(sheet, f"page {number} of {len(sheets)}")
        _draw_head(sheets[0], look)
        for sheet, group in zip(sheets[1:], groups, strict=True):
            for row, (whose, chart) in enumerate(group):
                _draw_row(sheet, whose, chart, 12.0 + 65.5 * row)
        return joined_pdf(sheets, TITLE, _DPI)


def _draw_row(sheet: Sheet, whose: str, chart: Chart, top: float) -> None:
    sheet.text(_LEFT, top + 4.0, _WHOSE[whose], _SMALL)
    draw_chart(sheet, chart, Frame(_LEFT, top + 4.5, _RIGHT - _LEFT, 60.0))


def _draw_band(sheet: Sheet, page: str) -> None:
    sheet.box(0.0, 0.0, _WIDTH_MM, 9.0, _BAND)
    sheet.text(_LEFT, 6.1, "RESEARCH", TextStyle(11.0, "#ffffff", bold=True))
    sheet.text(41.0, 6.1, "Not a medical device. Not for clinical decisions.", TextStyle(9.5, "#ffffff"))
    sheet.text(_RIGHT, 6.1, page, TextStyle(9.5, "#ffffff"), "right")


def _draw_head(sheet: Sheet, look: DriftLook) -> None:
    sheet.text(_LEFT, 21.0, "Control charts", _HEAD)
    words, colour = ("QUIET", GOOD) if look.is_quiet else ("LOOK AT THEM", BAD)
    sheet.text(_RIGHT, 21.0, words, TextStyle(13.0, colour, bold=True), "right")
    y = _draw_lines(sheet, _LEFT, 28.0, _makers(look), _SMALL) + 1.0
    y = _draw_lines(sheet, _LEFT, y, wrapped(_SAYS, _SMALL, _RIGHT - _LEFT), _SMALL) + 4.0
    for x, title, report in ((_LEFT, "Patients", look.patients), (105.0, "Digital thorax", look.self_tests)):
        _draw_verdicts(sheet, x, y, title, report)
    sheet.text(_RULES_AT, y, "Nelson's rules", _STRONG)
    below = y + 6.0
    for number, rule in RULES.items():
        lines = wrapped(f"{number}  {rule.sentence}", _SMALL, _RIGHT - _RULES_AT)
        below = _draw_lines(sheet, _RULES_AT, below, lines, _SMALL) + 1.5
    told = f"News are signals among the newest {NEWEST} values of a chart. SD: standard deviation from one case to the "
    told += "next, by the mean moving range."
    _draw_lines(sheet, _RULES_AT, below, wrapped(told, _SMALL, _RIGHT - _RULES_AT), _SMALL)


def _makers(look: DriftLook) -> list[str]:
    before: MadeBy | None = None
    lines = []
    named = [("Patients", look.patients), ("Digital thorax", look.self_tests)]
    for title, report in (*named, *(("Patients before", earlier) for earlier in look.earlier[:3])):
        if report.made_by is None:
            continue
        same = report.made_by == before
        lines.append(
            f"{title}: {report.span}, {'by the same' if same else 'settings ' + report.made_by.settings_digest}"
        )
        lines += [] if same else [f"    map {report.made_by.perfusion}", f"    lobes {report.made_by.lobes}"]
        before = report.made_by
    if look.unreadable:
        lines.append(f"{len(look.unreadable)} case(s) could not be read and are on no chart.")
    return [shortened(line, _SMALL, _RIGHT - _LEFT) for line in lines]


def _draw_verdicts(sheet: Sheet, x: float, y: float, title: str, report: DriftReport) -> None:
    sheet.text(x, y, title, _STRONG)
    for chart in report.charts:
        y += 7.0
        sheet.line((x, x + 86.0), (y - 4.6, y - 4.6), _RULE)
        sheet.text(x, y, chart.name, _TEXT)
        colour = BAD if chart.news else GOOD if chart.limits is not None else SOFT
        sheet.text(x + 86.0, y, chart_verdict(chart), TextStyle(9.0, colour, bold=bool(chart.news)), "right")


def _draw_lines(sheet: Sheet, x: float, y: float, lines: list[str], style: TextStyle) -> float:
    for line in lines:
        sheet.text(x, y, line, style)
        y += style.leading_mm
    return y
