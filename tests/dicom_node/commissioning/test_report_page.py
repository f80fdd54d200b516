"""The report: what programs read, and as many pages as it needs, the same bytes for the same findings."""

import json
import re
from pathlib import Path

import pytest

from dicom_node.commissioning.expected import ExpectedAnswer, MadeBy
from dicom_node.commissioning.figures import FIGURES
from dicom_node.commissioning.report import CaseReport, CommissioningReport
from dicom_node.commissioning.report_page import report_pdf, write_report

MAKER = MadeBy("atlas 1", "densitometric 1", "Rule median", "ab")
FOUND = dict.fromkeys(FIGURES, 50.0)


def case(name: str, state: str, **found: float) -> CaseReport:
    comparisons = ExpectedAnswer.of(MAKER, FOUND).compared({**FOUND, **found})
    return CaseReport(name, state, "A sentence.", "0123456789abcdef", 1.0, MAKER, MAKER, comparisons)


def report(*cases: CaseReport) -> CommissioningReport:
    return CommissioningReport(1.8e9, "host", "1", False, cases)


def test_it_passes_if_every_case_does(tmp_path: Path) -> None:
    assert report(case("a", "passed"), case("b", "recorded")).passes
    for state in ("moved", "no-answer", "nothing-stored"):
        assert not report(case("a", "passed"), case("b", state)).passes
    facts, _ = write_report(report(case("a", "moved", right_share=60.0)), tmp_path)
    (found,) = json.loads(facts.read_text())["cases"]
    assert [c["name"] for c in found["comparisons"] if not c["passes"]] == ["right_share"]
    assert found["made_by"]["lobes"] == "atlas 1"


@pytest.mark.parametrize(("cases", "pages"), [(1, 2), (13, 15)])
def test_there_is_a_page_for_each_case_and_heads_for_all(cases: int, pages: int) -> None:
    made = report(*(case(f"case {number}", "passed") for number in range(cases)))
    pdf = report_pdf(made, "00")
    assert len(re.findall(rb"/Type /Page\b(?!s)", pdf)) == pages
    assert report_pdf(made, "00") == pdf
    assert report_pdf(made, "01") != pdf, "the digest of the JSON stands on it"
