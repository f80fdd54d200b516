import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from dicom_node.results.summary import draw_summary, summary_pdf, summary_pixels
from inference.engine import PerfusionResult
from inference.function_regions import find_function_regions
from inference.lobar import lobar_perfusion
from inference.model_card import ModelIdentity
from inference.phantom.thorax import DigitalThorax
from inference.quality.checks import Finding, Severity
from inference.volumes import LobeMap, PerfusionMap
from tests.peers import program

REPOSITORY = Path(__file__).parents[3]
MODEL = ModelIdentity("test-network", "2.1", "0123456789abcdef" * 4, "Trained on phantoms only.")
SEGMENTER = ModelIdentity("test-lobes", "7", caveat="Drawn by hand.")
TALKATIVE = ModelIdentity("n" * 300, "1", "ab" * 32, "A caveat of many words. " * 30)
FINDINGS = (
    Finding("A", Severity.NOTE, "The standard deviation of the map is 0.12 of its mean.", 0.12, 0.1, "1"),
    Finding("B", Severity.FLAG, "Lung covers 2.0 cm2 of the top face of the scan.", 2.0, 1.0, "cm2"),
)


def result_of(
    thorax: DigitalThorax, findings: tuple[Finding, ...] = FINDINGS, segmenter: ModelIdentity = SEGMENTER
) -> PerfusionResult:
    lobes = LobeMap(thorax.lobes.labels, thorax.lobes.grid, segmenter)
    perfusion = PerfusionMap(thorax.perfusion.values, thorax.perfusion.lungs, thorax.perfusion.grid, MODEL)
    regions = find_function_regions(perfusion)
    table = lobar_perfusion(perfusion, lobes, regions)
    return PerfusionResult(thorax.ct.source, lobes, perfusion, regions, table, findings)


def many(number: int, sentence: str) -> tuple[Finding, ...]:
    grave = (Severity.NOTE, Severity.NOTE, Severity.FLAG)
    return tuple(Finding("X", grave[k % 3], f"Finding {k}: {sentence}", 1.0, 1.0, "1") for k in range(number))


def words_of(path: Path) -> list[tuple[str, tuple[float, ...]]]:
    """Every word of the page with its box: left, top, right, bottom in points."""
    command = [program("pdftotext"), "-bbox", str(path), "-"]
    page = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    words = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", page)).iter("{http://www.w3.org/1999/xhtml}word")  # noqa: S314
    return [(word.text or "", tuple(float(word.attrib[k]) for k in ("xMin", "yMin", "xMax", "yMax"))) for word in words]


def text_of(path: Path) -> str:
    command = [program("pdftotext"), "-layout", str(path), "-"]
    return " ".join(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.fixture
def pdf(thorax, tmp_path):
    """Draw the page of a result and give the file."""

    def draw(result: PerfusionResult | None = None, subject: str = "") -> Path:
        path = tmp_path / "page.pdf"
        path.write_bytes(summary_pdf(thorax.ct, result or result_of(thorax), subject))
        return path

    return draw


@pytest.fixture(scope="module")
def page(thorax, tmp_path_factory):
    path = tmp_path_factory.mktemp("summary") / "page.pdf"
    path.write_bytes(summary_pdf(thorax.ct, result_of(thorax)))
    return path


def test_the_pdf_is_one_page_of_landscape_a4(page):
    facts = subprocess.run([program("pdfinfo"), page], check=True, capture_output=True, text=True).stdout
    assert re.search(r"^Pages:\s+1$", facts, re.MULTILINE)
    width, height = (
        float(v) for v in re.search(r"^Page size:\s+([\d.]+) x ([\d.]+) pts", facts, re.MULTILINE).groups()
    )
    assert (width, height) == pytest.approx((297 / 25.4 * 72, 210 / 25.4 * 72), abs=0.1)
    assert "CreationDate" not in facts


def test_it_says_research_what_was_found_by_whom_and_by_which_rule(page, thorax):
    text = text_of(page)
    result = result_of(thorax)
    for said in (
        "RESEARCH", "Not for clinical decisions", "% of lung mean", MODEL.name, MODEL.version, MODEL.weights_sha256,
        MODEL.caveat, "test-lobes 7", "Drawn by hand.", result.regions.rule.statement().removeprefix("Rule "),
        "FLAG", "NOTE", "cannot be compared",
    ):  # fmt: skip
        assert said in text
    together = " ".join(word for word, _ in words_of(page))
    for finding in FINDINGS:
        assert finding.sentence in together


def test_the_table_holds_the_figures_of_every_lobe_and_their_sums(page, thorax):
    text = text_of(page)
    table = result_of(thorax).lobar
    for lobe, row in table.items():
        figures = f"{row.volume_ml:.0f} {100 * row.mean_perfusion:.0f} {100 * row.perfusion_fraction:.1f}"
        assert f"{lobe.tg263} {figures}" in text
    total_ml = np.count_nonzero(thorax.lobes.lungs) * thorax.lobes.grid.voxel_volume_ml
    assert f"Lungs {total_ml:.0f} 100 100.0" in text
    right = np.isin(thorax.lobes.labels, (1, 2, 3))
    right_mean = 100 * thorax.perfusion.values[right].mean(dtype=np.float64)
    right_ml = np.count_nonzero(right) * thorax.lobes.grid.voxel_volume_ml
    assert f"Lung_R {right_ml:.0f} {right_mean:.0f}" in text


def test_the_subject_changes_nothing_but_its_line(thorax):
    result = result_of(thorax)
    without, with_subject = (summary_pixels(thorax.ct, result, s) for s in ("", "Patient ID P001"))
    rows = np.flatnonzero((without != with_subject).any(axis=(1, 2))) / len(without) * 210
    assert rows.size
    assert 22 < rows.min() < rows.max() < 30


def test_what_the_font_cannot_draw_becomes_a_question_mark_and_nothing_is_read_as_mathematics(pdf):
    text = text_of(pdf(subject="ID 山田\t$x_1$ Müller\n\\alpha"))
    assert "ID ?? $x_1$ Müller \\alpha" in text


@pytest.mark.parametrize(
    ("number", "sentence", "segmenter"),
    [
        (9, "short.", SEGMENTER),
        (40, "short.", TALKATIVE),
        (12, "of many words " * 14, TALKATIVE),
        (3, "W" * 700, SEGMENTER),
        (1, "i" * 3000, TALKATIVE),
    ],
)
def test_nothing_runs_off_the_page_or_over_anything_else(thorax, pdf, number, sentence, segmenter):
    result = result_of(thorax, many(number, sentence), segmenter)
    regions = replace(result.regions, rule=replace(result.regions.rule, name="a rule of many words " * 20))
    path = pdf(replace(result, regions=regions), "A subject that goes on and on. " * 20)
    boxes = np.array([box for _, box in words_of(path)]) / 72 * 25.4
    assert boxes.min() > 2
    assert boxes[:, 2].max() < 286
    assert boxes[:, 3].max() < 208
    assert not overlapping(boxes[boxes[:, 1] > 118])  # above are the pictures, with names and letters on them


def overlapping(boxes_mm: np.ndarray) -> list[tuple[int, int]]:
    left, top, right, bottom = boxes_mm.T
    across = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    down = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    return [(int(a), int(b)) for a, b in np.argwhere((across > 0.2) & (down > 0.5)) if a < b]


def test_findings_come_gravest_first_and_those_left_out_are_counted(thorax, pdf):
    text = " ".join(word for word, _ in words_of(pdf(result_of(thorax, many(40, "needs a line of the page.")))))
    shown = [int(k) for k in re.findall(r"Finding (\d+):", text)]
    left_out = int(re.search(r"\.\.\. and (\d+) more", text).group(1))
    assert len(shown) >= 7
    assert len(shown) + left_out == 40
    assert shown == [k for k in range(40) if k % 3 == 2][: len(shown)]
    assert "NOTE" not in text


def test_a_result_without_findings_says_so(thorax, pdf):
    text = text_of(pdf(result_of(thorax, ())))
    assert "Nothing to report." in text
    assert "more that this page" not in text


def test_the_picture_is_a_png_of_a4_whatever_the_name_of_the_file(thorax, tmp_path):
    draw_summary(thorax.ct, result_of(thorax), tmp_path / "summary.part")
    content = (tmp_path / "summary.part").read_bytes()
    assert content.startswith(b"\x89PNG")
    pixels = summary_pixels(thorax.ct, result_of(thorax))
    width, height = (int.from_bytes(content[k : k + 4], "big") for k in (16, 20))
    assert (height, width, 3) == pixels.shape
    assert width / height == pytest.approx(297 / 210, abs=0.002)
    assert pixels.dtype == np.uint8
    assert len(np.unique(pixels.astype(np.uint32) @ np.array([65536, 256, 1]))) > 500
    for chunk in (b"tEXt", b"iTXt", b"zTXt", b"tIME", b"eXIf"):
        assert chunk not in content


TWO_FILES = """
import hashlib, sys
from pathlib import Path
from dicom_node.results.summary import draw_summary, summary_pdf
from inference.engine import EngineSettings, build_engine
from inference.phantom.thorax import DEFAULT_GRID, draw_thorax
ct = draw_thorax(DEFAULT_GRID.with_spacing((6.0, 4.0, 4.0))).ct
result = build_engine(EngineSettings(perfusion="densitometric")).run(ct)
folder = Path(sys.argv[1])
draw_summary(ct, result, folder / "page.png")
(folder / "page.pdf").write_bytes(summary_pdf(ct, result, "Patient ID P001"))
for path in sorted(folder.iterdir()):
    print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_two_processes_draw_the_same_bytes_whatever_the_settings_of_their_users(tmp_path):
    settings = tmp_path / "matplotlibrc"
    settings.write_text("font.family: serif\nfont.size: 30\nsavefig.bbox: tight\nsavefig.dpi: 30\nlines.linewidth: 9\n")

    def start(seed: str, **more: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY), **more}
        (tmp_path / seed).mkdir()
        command = [sys.executable, "-c", TWO_FILES, str(tmp_path / seed)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    processes = start("1", SOURCE_DATE_EPOCH="0"), start("2", MATPLOTLIBRC=str(settings), TZ="Asia/Tokyo")
    first, second = (process.communicate()[0].split() for process in processes)
    assert len(set(first)) == 2
    assert first == second
