"""Everything that a node of a hospital has to show: cases in several states, a held series, charts, a log."""

from pathlib import Path

from dicom_node.commissioning.case_figures import FiguresFile
from dicom_node.recent_log import RecentLog
from dicom_node.review.decision import Action, Deciding, Wish
from dicom_node.review.rating import Changes
from dicom_node.review.review_log import ReviewLog
from dicom_node.settings.config import NodeSettings, read_settings
from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.rights import PageRole
from inference.phantom.thorax import DigitalThorax
from tests.dicom_node.web.case import stories
from tests.dicom_node.web.case.made_case import make_case, put_case
from tests.dicom_node.web.conftest import PASSWORD, SITE
from tests.dicom_node.web.decisions.held_series import hold_series
from tests.dicom_node.web.tools import test_charts, test_log_tail
from tests.finished_jobs import write_rows

_NOTHING_MADE = ("ct.*", "lobes.*", "result.*", "objects", "objects.json", "summary.png")


def furnish(folder: Path, thorax: DigitalThorax) -> NodeSettings:
    """Write the files of the node; accounts are those of `tests.dicom_node.web.conftest`."""
    (folder / "site.toml").write_text(SITE)
    settings = read_settings(folder / "site.toml")
    write_rows(settings.data_dir, stories.rows())
    made, cases = make_case(folder / "made", thorax), settings.cases()
    for case_id in (stories.DELIVERED, stories.FAILED, stories.HELD):
        put_case(made, cases, case_id)
    put_case(made, cases, stories.REJECTED, *_NOTHING_MADE)
    put_case(made, cases, stories.HALF_DONE, *_NOTHING_MADE[1:]).show_progress("finding lobes")
    _decide(ReviewLog.of(cases.folder(stories.DELIVERED)))
    hold_series(settings)
    figures = [*test_charts.kept(test_charts.steady(3), test_charts.NEW)]
    figures += test_charts.kept([*test_charts.steady(30), 9000.0], first=3)
    FiguresFile.under(settings.shared_dir).write(figures)
    log = RecentLog.under(settings.data_dir)
    test_log_tail.add(log, "case_opened", "info", stories.DELIVERED, instances=3)
    test_log_tail.add(log, "stage_crashed", "error", stories.HELD, fault=[{"kind": "ValueError", "at": ["a.py:1 f"]}])
    for role in PageRole:
        Accounts.under(settings.data_dir).add(f"{role}-1", role, PASSWORD, "2026-11-26")
    return settings


def _decide(log: ReviewLog) -> None:
    wish = log.ask(Deciding("Ann", "approver", "looks right on three planes"), Wish(Action.RELEASE, "pacs"))
    log.answer(wish, "QUEUED")
    log.rate(Deciding("Bo", "operator", "one lobe redrawn"), Changes.MINOR, 7.5, "1.2.3")
