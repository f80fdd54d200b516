"""The report: what programs read, and as many pages as it needs, the same bytes for the same findings."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.commissioning.expected import ExpectedAnswer, MadeBy, Recorded
from dicom_node.commissioning.figures import FIGURES, OURS
from dicom_node.commissioning.installation import Installation
from dicom_node.commissioning.reference_set import CtFacts
from dicom_node.commissioning.report import CaseReport, CaseVerdict, CommissioningReport
from dicom_node.commissioning.report_page import report_pdf, write_report
from tests.peers import program

WEIGHTS = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"
MAKER = MadeBy("atlas 1", f"network 2 sha256:{WEIGHTS}", "Rule median", "ab" * 32)
FOUND = dict.fromkeys(FIGURES, 50.0)
CT = CtFacts(187, "Acme Scanner 3", "B30f", "2.0", "cd" * 32)
STORED = Recorded("2026-01-02T03:04:05+00:00", "B. Physicist", "0.9")


def case(name: str, state: str, **found: float) -> CaseReport:
    comparisons = ExpectedAnswer.of(MAKER, FOUND).compared({**FOUND, **found})
    ran = ("network on cpu, float32, configured",)
    ids = "A sentence.", CT, "0123456789abcdef", 1.0, ran
    return CaseReport(name, CaseVerdict(state), *ids, MAKER, replace(MAKER, rule="Rule mean"), STORED, comparisons)


def report(*cases: CaseReport) -> CommissioningReport:
    here = Installation("host", "1", "Linux 6 x86_64", "3.11", {"numpy": "2.4"})
    return CommissioningReport(1.8e9, "A. Physicist", here, False, cases)


def test_it_passes_if_every_case_does(tmp_path: Path) -> None:
    assert report(case("a", "passed"), case("b", "recorded")).passes
    for state in ("moved", "no-answer", "nothing-stored", "other-ct"):
        assert not report(case("a", "passed"), case("b", state)).passes
    facts, _ = write_report(report(case("a", "moved", right_share=60.0)), tmp_path)
    (found,) = json.loads(facts.read_text())["cases"]
    assert [c["name"] for c in found["comparisons"] if not c["passes"]] == ["right_share"]
    assert {c["source"] for c in found["comparisons"]} == {OURS}
    assert found["made_by"]["lobes"] == "atlas 1"


@pytest.mark.parametrize(("cases", "pages"), [(1, 2), (13, 15)])
def test_there_is_a_page_for_each_case_and_heads_for_all(cases: int, pages: int) -> None:
    bare = replace(case("a", "no-answer"), comparisons=(), made_by=None, stored_by=None, stored=None)
    pdf = report_pdf(report(*[bare] * cases), "00")
    assert len(re.findall(rb"/Type /Page\b(?!s)", pdf)) == pages


def test_the_same_findings_give_the_same_bytes_and_the_digest_of_the_json_stands_on_it() -> None:
    made = report(replace(case("a", "no-answer"), comparisons=()))
    assert report_pdf(made, "00") == report_pdf(made, "00") != report_pdf(made, "01")


def test_what_is_signed_names_people_versions_hashes_and_every_tolerance(tmp_path: Path) -> None:
    _, page = write_report(report(case("thorax", "moved", right_share=60.0)), tmp_path)
    text = subprocess.run([program("pdftotext"), "-layout", page, "-"], capture_output=True, text=True, check=True)
    words = " ".join(text.stdout.split())
    for told in (
        *("A. Physicist", "B. Physicist", "Linux 6 x86_64", "Python 3.11", "numpy 2.4", "approved by", "signature"),
        *(WEIGHTS, "ab" * 32, "cd" * 32, "Acme Scanner 3", "kernel B30f", "network on cpu, float32, configured"),
        *("MOVED", "+10.00", "HU", "now map network 2", "Rule median", "Rule mean"),
    ):
        assert told in words, told
    assert words.count(OURS) == len(FIGURES)
    for kind in FIGURES.values():
        assert kind.measures in words
