"""Quality over time: the control charts of patients and self-tests by model, and what was refused week by week."""

import threading
import time
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from dicom_node.commissioning.case_figures import FiguresFile
from dicom_node.commissioning.drift import DriftReport, drift_of_each
from dicom_node.commissioning.report import iso_time
from dicom_node.constancy.drift_news import PATIENTS, SELF_TESTS, DriftNewsFile
from dicom_node.settings.config import NodeSettings
from dicom_node.web.guard import Operator, Viewer
from dicom_node.web.node import TheNode
from dicom_node.web.page import page
from dicom_node.web.today.case_index import CaseIndex
from dicom_node.web.tools.chart_drawing import HEIGHT, WIDTH, drawn_figure, drawn_refusals
from dicom_node.web.tools.chart_figures import FigureChart, Maker, RuleSaid, figure_charts, maker_of, rules_said
from dicom_node.web.tools.refusals import WEEKS, Refusals, weekly_refusals

router = APIRouter()
Whose = Literal["patients", "self-tests"]
MadeByKey = Annotated[str, Query(max_length=12, pattern="^[0-9a-f]*$")]
_PAGE: Final = "/tools/charts"
_WEEK_S: Final = 7 * 86400.0
_collecting = threading.Lock()


@dataclass(frozen=True, slots=True)
class Charts:
    """The charts of one maker of results."""

    of: Whose
    looked_at: str
    """When figures were last collected, UTC; empty if they never were."""
    made_by: Maker | None
    """None if there is no result yet."""
    makers: list[Maker]
    """All that ever made one, what made the newest first."""
    rules: list[RuleSaid]
    charts: list[FigureChart]


def charts_of(settings: NodeSettings, of: Whose, made_by: str = "") -> Charts:
    """Charts of the figures that are kept.

    Args:
        settings: of the node.
        of: whose figures.
        made_by: key of a maker; what made the newest result if empty, or if there is none of that key.

    Raises:
        ValueError: a kept line of figures is none of ours.
    """
    shared = settings.shared_dir
    file = FiguresFile.under(shared) if of == PATIENTS else FiguresFile.of_self_tests(shared)
    reports = drift_of_each(file.read())
    pairs = [(maker, report) for report in reports if (maker := maker_of(report)) is not None]
    maker, report = next(
        (p for p in pairs if p[0].key == made_by), pairs[0] if pairs else (None, DriftReport(None, ()))
    )
    news = DriftNewsFile.under(shared).read()
    looked_at = iso_time(news.at_s) if news else ""
    return Charts(of, looked_at, maker, [known for known, _ in pairs], rules_said(), figure_charts(report))


def refusals_of(settings: NodeSettings) -> Refusals:
    """What was refused of the cases that are still here, by the index of the page."""
    now_s = time.time()
    since_ms = 1000.0 * (now_s - WEEKS * _WEEK_S)
    lines = CaseIndex.under(settings.data_dir).lines("created_ms >= ?", (since_ms,))
    return weekly_refusals(lines, now_s)


@router.get(_PAGE, response_class=HTMLResponse, include_in_schema=False)
def show_charts(
    request: Request, person: Viewer, node: TheNode, of: Whose = "patients", made_by: MadeByKey = ""
) -> HTMLResponse:
    """Every chart, and the weeks of refusals."""
    charts, refusals = charts_of(node.settings, of, made_by), refusals_of(node.settings)
    drawings = {chart.name: drawn_figure(chart) for chart in charts.charts}
    return page(
        request, "tools_charts.html", person, found=charts, drawings=drawings, refusals=refusals,
        refusals_drawn=drawn_refusals(refusals), width=WIDTH, height=HEIGHT, whose=(PATIENTS, SELF_TESTS),
    )  # fmt: skip


@router.get("/api/v1/charts", tags=["tools"])
def read_charts(person: Viewer, node: TheNode, of: Whose = "patients", made_by: MadeByKey = "") -> Charts:
    """The control charts of one maker of results: values, limits, and which of Nelson's rules are broken."""
    return charts_of(node.settings, of, made_by)


@router.get("/api/v1/refusals", tags=["tools"])
def read_refusals(person: Viewer, node: TheNode) -> Refusals:
    """Refused cases by week, of those that are not removed yet."""
    return refusals_of(node.settings)


@router.post(_PAGE, include_in_schema=False)
def collect_from_page(person: Operator, node: TheNode) -> RedirectResponse:
    """Collect the figures of new results, for a browser without scripts."""
    _collect(node.settings)
    return RedirectResponse(_PAGE, 303)


@router.post("/api/v1/charts/collect", tags=["tools"], status_code=204)
def collect(person: Operator, node: TheNode) -> None:
    """Collect the figures of results that came since the last look. The self-test does so by itself."""
    _collect(node.settings)


def _collect(settings: NodeSettings) -> None:
    from dicom_node.commissioning.drift_look import look_at_drift

    if not _collecting.acquire(blocking=False):
        raise HTTPException(409, "COLLECTING: Figures are being collected already.")
    try:
        look_at_drift(settings)
    finally:
        _collecting.release()
