"""Charts as pictures: what they say in words and marks, and the same bytes for the same values."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_node.commissioning.case_figures import CaseFigures
from dicom_node.commissioning.chart_picture import Frame, chart_verdict, digits, draw_chart
from dicom_node.commissioning.control_chart import RULES
from dicom_node.commissioning.drift import Chart, DriftReport, drift
from dicom_node.commissioning.drift_look import DriftLook
from dicom_node.commissioning.drift_page import write_drift
from dicom_node.commissioning.expected import MadeBy
from dicom_node.pages.sheet import blank_sheet
from tests.peers import program

MAKER = MadeBy("atlas 1", "network 2 sha256:" + "ab" * 32, "median", "cd" * 32)
HU = [-825.0 + step for step in (0, 6, -3, 1, 9, -7, -2, 4, -8, 3, -1, -5, 7, 2, -6, 8, 5, -9, -4, 0)]


def report(values: list[float]) -> DriftReport:
    return drift([CaseFigures(f"c{k}:1", 1.79e9 + 86400.0 * k, MAKER, {"lung_hu": v}) for k, v in enumerate(values)])


def chart(values: list[float]) -> Chart:
    (found,) = report(values).charts
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drift")
    look = DriftLook(report([*HU, -700.0]), (), report([-842.0] * 5), ("0123",))
    paths = write_drift(look, out)
    assert [str(path.relative_to(out)) for path in paths] == [
        "drift.pdf",
        "drift.json",
        *("patients/lung_hu.png", "patients/lung_hu.svg", "self-tests/lung_hu.png", "self-tests/lung_hu.svg"),
    ]
    return out


def test_the_page_says_which_chart_asks_for_a_look_and_what_made_the_values(written: Path) -> None:
    command = [program("pdftotext"), "-layout", str(written / "drift.pdf"), "-"]
    words = " ".join(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    for told in (
        *("LOOK AT THEM", "LOOK: rule 1", "median HU in the lungs, HU", "digital thorax", "too few for limits"),
        *("ab" * 32, "cd" * 32, "by the same", "1 case(s) could not be read", "21: 2026-10-11", "1: 2026-09-21"),
        *(rule.sentence.split(",")[0] for rule in RULES.values()),
    ):
        assert told in words, told


def test_programs_read_the_same(written: Path) -> None:
    facts = json.loads((written / "drift.json").read_text())
    (found,) = facts["patients"]["charts"]
    assert (facts["quiet"], found["news"], found["unit"], facts["unreadable"]) == (False, [1], "[hnsf'U]", ["0123"])
    assert found["limits"]["mean"] == pytest.approx(-825.0)
    assert len(found["values"]) == len(found["at_s"]) == 21


def test_the_pictures_are_light_and_large(written: Path) -> None:
    with Image.open(written / "patients" / "lung_hu.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[1] > 1200
    assert (pixels > 220).mean() > 0.9
    vectors = (written / "patients" / "lung_hu.svg").read_text()
    assert vectors.startswith("<?xml")
    assert "<dc:title>RESEARCH: control charts, median HU in the lungs</dc:title>" in vectors


def test_a_vector_picture_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with blank_sheet(120.0, 60.0) as sheet:
            draw_chart(sheet, chart(HU[:3]), Frame(2.0, 2.0, 116.0, 56.0))
            sheet.write_svg(tmp_path / name, "t")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_chart_says_in_words_what_it_found() -> None:
    assert chart_verdict(chart(HU[:3])) == "3 case(s): too few for limits"
    assert chart_verdict(chart([*HU, -826.0])) == "quiet"
    assert chart_verdict(chart([*HU, -700.0])) == "LOOK: rule 1"


def test_numbers_are_written_so_that_a_hundredth_of_their_range_shows() -> None:
    assert digits(3000.0)(4419.4) == "4419"
    assert digits(5.0)(-842.0) == "\N{MINUS SIGN}842.00"
    assert digits(0.01)(0.123456) == "0.1235"
