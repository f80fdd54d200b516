"""The report on a study says what its results hold, in both forms, and what is missing."""

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.report.made_up_study import write_made_up_study, write_small_recipe
from training import statistics
from training.errors import StudyIncomplete
from training.report.first_screen import first_screen
from training.report.markdown_page import markdown as markdown_of
from training.report.paper import CAUTION
from training.report.patients_chapter import groups_chapter, patients_chapter
from training.report.results import read_results
from training.report.study_report import write_report

NOISE = {"full-fine-tuning": 0.2, "pretrained-only": 0.6, "scratch": 0.4, "peer-unet": 0.3}


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Intervals are not asked for here, and take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 199)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with made-up results; only to be read."""
    folder = tmp_path_factory.mktemp("study")
    write_small_recipe(folder / "configs")
    write_made_up_study(folder / "out", folder / "configs", noise=NOISE)
    return folder / "out"


@pytest.fixture(scope="module")
def report(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its report; only to be read."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "discussion.md").write_text("The peer had **one** seed.")
    write_report(study, folder)
    return folder


@pytest.fixture
def changed(study: Path, tmp_path: Path) -> Callable[[], Path]:
    """A copy of the study to be changed."""

    def copy() -> Path:
        return Path(shutil.copytree(study, tmp_path / "changed"))

    return copy


@pytest.fixture(scope="module")
def markdown(report: Path) -> str:
    return (report / "report.md").read_text()


@pytest.fixture(scope="module")
def page(report: Path) -> str:
    return (report / "index.html").read_text()


def rows(markdown: str, below: str) -> list[list[str]]:
    """Cells of the first table after a line."""
    table = markdown[markdown.index(below) :].split("\n\n|", 1)[1].split("\n\n", 1)[0]
    lines = [line.strip("|").split("|") for line in table.splitlines()]
    return [[cell.strip().strip("*").replace("\u00a0", " ") for cell in line] for line in lines]


def of_patients(report: Path, arm: str, score: str) -> list[float]:
    """The scores of an arm's patients in patients.csv."""
    with (report / "patients.csv").open() as file:
        return [float(line[f"{score} against spect"]) for line in csv.DictReader(file) if line["arm"] == arm]


def test_the_first_screen_has_every_arm_with_the_mean_of_its_patients(report: Path, markdown: str) -> None:
    table = {line[0]: line for line in rows(markdown, "### How well each arm agrees")}
    names = {
        "fine-tuned, all of it": "full-fine-tuning",
        "from scratch": "scratch",
        "pre-trained only": "pretrained-only",
    }
    names |= {"MONAI UNet": "peer-unet", "noise ceiling": "ceiling", "shape": "shape", "density": "density"}
    for called, name in names.items():
        for column, score in ((1, "spearman"), (2, "spearman-eroded"), (3, "dice-high-50"), (4, "dice-low-50")):
            got = float(table[called][column].split(" ")[0].replace("−", "-"))
            assert got == pytest.approx(np.mean(of_patients(report, name, score)), abs=6e-4), (called, score)
    ours, most = (np.mean(of_patients(report, name, "spearman-eroded")) for name in ("full-fine-tuning", "ceiling"))
    assert table["fine-tuned, all of it"][5] == f"{100 * ours / most:.0f} %"
    assert table["noise ceiling"][5] == "100 %"


def test_seeds_that_an_arm_lacks_are_named_below_the_main_table(markdown: str) -> None:
    assert "Each arm was run with 2 seeds, but 1 for MONAI UNet;" in markdown
    assert "**Fewer were run of MONAI UNet (1)**" in markdown


def test_aims_are_met_or_missed_as_they_came_out(markdown: str) -> None:
    table = {line[0]: line for line in rows(markdown, "### Aims, set before")}
    assert table["Above the pre-trained network."][3] == "met"
    assert table["Nearly perfect."][3] == "missed"
    assert "**1 of 2 aims met.**" in markdown


def test_the_caution_stands_on_top_and_beside_the_papers_table(markdown: str, page: str) -> None:
    top, paper = markdown.split("## The paper's table beside ours")
    assert f"> {CAUTION}" in top
    assert paper.lstrip().startswith(f"> {CAUTION}")
    assert "In-silico and clinical figures are not comparable." in markdown
    assert page.count("<strong>In-silico and clinical figures are not comparable.</strong>") == 2
    assert page.index("not comparable.</strong>") < page.index("<table>")


def test_the_papers_figures_stand_beside_ours(report: Path, markdown: str) -> None:
    table = {line[0]: line[1:] for line in rows(markdown, "## The paper's table beside ours")}
    scores = of_patients(report, "full-fine-tuning", "spearman")
    ours = f"{np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f}"
    assert table["Spearman R, voxels"] == ["0.814 ± 0.067", ours]
    assert table["patients with DSC high above 0.7"] == ["32 of 33", "6 of 6"]
    assert table["mean perfusion of the RML, r over patients"][0] == "0.48"
    gain = 100 * (np.mean(scores) / np.mean(of_patients(report, "pretrained-only", "spearman")) - 1)
    assert float(table["fine-tuned over pre-trained, R"][1].removesuffix(" %")) == pytest.approx(gain, abs=0.1)


def test_both_forms_name_every_picture_and_all_are_small(report: Path, markdown: str, page: str) -> None:
    named = set(re.findall(r"\(figures/([\w-]+\.png)\)", markdown))
    assert named == set(re.findall(r'src="figures/([\w-]+\.png)"', page))
    assert named == {file.name for file in (report / "figures").iterdir()}
    assert {"arms.png", "gallery.png", "voxels.png", "lobes.png", "bland-altman.png", "learning.png"} <= named
    assert sum(file.stat().st_size for file in report.rglob("*.*") if file.is_file()) < 1_500_000
    for name in named:
        with Image.open(report / "figures" / name) as picture:
            assert len(picture.convert("L").resize((64, 64)).getcolors()) > 10, name


def test_what_a_recipe_says_is_words_and_never_html(page: str) -> None:
    assert "Nothing &lt;b&gt;was&lt;/b&gt; found" in page
    assert "<script" not in page
    assert "http" not in re.sub(r'<a href="[^"]*"', "", page)


def test_words_of_the_authors_come_after_the_papers_table(markdown: str, page: str) -> None:
    assert markdown.index("paper's table") < markdown.index("What we make of it") < markdown.index("Every arm, patient")
    assert "The peer had <strong>one</strong> seed." in page


def test_equal_results_give_equal_bytes(study: Path, report: Path, tmp_path: Path) -> None:
    (tmp_path / "discussion.md").write_text("The peer had **one** seed.")
    write_report(study, tmp_path)
    files = sorted(path.relative_to(report) for path in report.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert [name for name in files if (report / name).read_bytes() != (tmp_path / name).read_bytes()] == []


def test_programs_find_the_main_figures(report: Path) -> None:
    figures = json.loads((report / "figures.json").read_text())
    main = figures["arms"][figures["main_arm"]]
    assert main["scores"]["spearman"]["mean"] == pytest.approx(
        np.mean(of_patients(report, "full-fine-tuning", "spearman")), abs=1e-4
    )
    assert (main["patients"], main["seeds"], figures["lacking"]) == (6, 2, [])
    assert {aim["name"]: aim["met"] for aim in figures["aims"]} == {"above": True, "perfect": False}
    assert "in silico" in figures["what"]


def test_a_study_that_is_not_finished_says_so_and_leaves_the_arm_out(changed: Callable[[], Path]) -> None:
    out = changed()
    (out / "jobs" / "peer-unet" / "fold1" / "seed1" / "result.json").unlink()
    (out / "jobs" / "scratch" / "fold0" / "seed2" / "result.json").unlink()
    screen = markdown_of(first_screen(read_results(out)).parts, pictures="figures")
    top = screen.split("### How well each arm agrees")[0]
    assert "**This study is not finished.** 2 of" in top
    assert "(peer-unet, scratch)" in top
    table = {line[0] for line in rows(screen, "### How well each arm agrees")}
    assert "MONAI UNet" not in table
    assert "from scratch" in table
    assert "but 1 for from scratch;" in screen


def test_a_study_without_its_main_arm_is_no_report(changed: Callable[[], Path], tmp_path: Path) -> None:
    out = changed()
    for result in (out / "jobs" / "full-fine-tuning").rglob("result.json"):
        result.unlink()
    with pytest.raises(StudyIncomplete, match="full-fine-tuning"):
        write_report(out, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_without_maps_and_cases_the_report_says_what_it_lacks(changed: Callable[[], Path]) -> None:
    out = changed()
    shutil.rmtree(out / "cases")
    results = read_results(out)
    for chapter, said in (
        (patients_chapter(results), "Not drawn: the predicted maps or the prepared cases are not in the folder"),
        (groups_chapter(results), "Not told: the prepared cases are not in the folder"),
    ):
        assert said in markdown_of(chapter.parts, pictures="figures")
        assert chapter.pictures == {}


def test_patients_with_a_ct_at_deep_inspiration_stand_apart(markdown: str) -> None:
    table = {line[0]: line[1] for line in rows(markdown, "## By hospital, breath and disease")}
    assert table["CT in deep inspiration"] == "1"
    assert table["CT in free breathing"] == "5"
    assert table["hospital a"] == table["hospital b"] == "3"
    assert "1 of 6 tested patients had a CT at deep inspiration" in markdown
