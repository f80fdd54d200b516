"""One look at all control charts of a node: collect what is new, make the charts, keep what they say."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dicom_node.commissioning.case_figures import FiguresFile, collect
from dicom_node.commissioning.control_chart import LEAST_CASES, RULES
from dicom_node.commissioning.drift import DriftReport, drift, drift_of_each
from dicom_node.constancy.drift_news import PATIENTS, SELF_TESTS, DriftNews, DriftNewsFile
from dicom_node.settings.config import NodeSettings


@dataclass(frozen=True, slots=True)
class DriftLook:
    """What a look found."""

    patients: DriftReport
    """Of what made the newest result."""
    earlier: tuple[DriftReport, ...]
    """Of other models and settings, the newest first."""
    self_tests: DriftReport
    unreadable: tuple[str, ...]
    """Cases whose figures could not be read."""

    @property
    def is_quiet(self) -> bool:
        """Whether neither patients nor self-tests have news."""
        return self.patients.is_quiet and self.self_tests.is_quiet

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        found = {"quiet": self.is_quiet, "unreadable": list(self.unreadable)}
        charts = {PATIENTS: self.patients.fields(), SELF_TESTS: self.self_tests.fields()}
        return {**found, **charts, "earlier": [report.fields() for report in self.earlier]}


def look_at_drift(
    settings: NodeSettings, first_cases: int = LEAST_CASES, rules: Sequence[int] = tuple(RULES)
) -> DriftLook:
    """Collect the figures of new results, make every chart, and keep for the status page what they say.

    Args:
        settings: of the node.
        first_cases: from how many the limits of each chart are taken.
        rules: numbers of Nelson's rules that are asked.

    Raises:
        NeverStarted: no node has worked with this database yet.
        ValueError: a kept line of figures is none of ours.
    """
    collected = collect(settings)
    periods = drift_of_each(collected.kept, first_cases, rules)
    patients = periods[0] if periods else DriftReport(None, ())
    self_tests = drift(FiguresFile.of_self_tests(settings.shared_dir).read(), first_cases, rules)
    news = DriftNews(time.time(), patients.news_by_figure(), self_tests.news_by_figure())
    DriftNewsFile.under(settings.shared_dir).write(news)
    return DriftLook(patients, periods[1:], self_tests, collected.unreadable)
