"""Writes the report on a study: HTML page, Markdown, pictures, and the figures for programs."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from training.insilico.files.whole_folder import write_whole
from training.report.arms_chapter import arms_chapter
from training.report.chapter import Chapter
from training.report.document import Heading, Part, Text
from training.report.first_screen import first_screen, share_of_ceiling
from training.report.html_page import html
from training.report.lobes_chapter import lobes_chapter, values_chapter
from training.report.markdown_page import markdown
from training.report.method_chapter import method_chapter
from training.report.paper_chapter import paper_chapter
from training.report.patients_chapter import groups_chapter, patients_chapter
from training.report.questions_chapter import questions_chapter
from training.report.results import StudyResults, read_results
from training.report.training_chapter import training_chapter
from training.score_names import Against, Score

PAGE, MARKDOWN, PICTURES = "index.html", "report.md", "figures"
FIGURES, PATIENTS = "figures.json", "patients.csv"
DISCUSSION = "discussion.md"
"""Words of the authors, put in after the first screen where the file lies beside the page; never written here."""
FORMAT = 1


def write_report(out: Path, to: Path) -> Path:
    """Write the report on a study, as far as it is done. Equal results give equal bytes.

    Args:
        out: folder of the study.
        to: folder of the report; made if it is not there. Other files in it are left alone.

    Returns:
        The HTML page.

    Raises:
        RecipeError: `out` holds no recipe.
        JobUnreadable: a record is damaged.
        StudyIncomplete: there is nothing to report yet.
        OSError: the file system refuses.
    """
    results = read_results(out)
    chapters = study_chapters(results, discussion=_discussion(to))
    document = [part for chapter in chapters for part in chapter.parts]
    (to / PICTURES).mkdir(parents=True, exist_ok=True)
    for chapter in chapters:
        for name, content in chapter.pictures.items():
            write_whole(to / PICTURES / name, content)
    write_whole(to / FIGURES, _figures(results))
    write_whole(to / PATIENTS, _patients(results))
    write_whole(to / MARKDOWN, markdown(document, pictures=PICTURES).encode())
    write_whole(to / PAGE, html(document, pictures=PICTURES).encode())
    return to / PAGE


def study_chapters(results: StudyResults, *, discussion: str = "") -> list[Chapter]:
    """All chapters in their order.

    Args:
        results: of the study.
        discussion: Markdown of the authors; empty for none.
    """
    words: tuple[Part, ...] = (Heading("What we make of it"), Text(discussion)) if discussion else ()
    return [
        first_screen(results),
        paper_chapter(results),
        Chapter(words),
        arms_chapter(results),
        questions_chapter(results),
        patients_chapter(results),
        lobes_chapter(results),
        values_chapter(results),
        groups_chapter(results),
        training_chapter(results),
        method_chapter(results),
    ]


def _discussion(to: Path) -> str:
    path = to / DISCUSSION
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _figures(results: StudyResults) -> bytes:
    """The main table and the aims for programs, such as the one that writes a model's card."""
    arms: dict[str, Any] = {}
    for name, arm in results.statistics.arms.items():
        found = arm.scores[Against.SPECT]
        arms[name] = {
            "patients": arm.patients,
            "seeds": arm.seeds,
            "scores": {s.value: {"mean": m.mean, "sd": m.sd, "low": m.low, "high": m.high} for s, m in found.items()},
            "share_of_ceiling": {
                score.value: share_of_ceiling(arm, results, score) for score in (Score.SPEARMAN, Score.SPEARMAN_ERODED)
            },
        }
    aims = [
        {"name": a.aim.name, "statement": a.aim.statement, "wanted": a.wanted, "got": a.got, "met": a.met}
        for a in results.statistics.aims
    ]
    content = {
        "format": FORMAT,
        "what": "in silico, no patient; not comparable with clinical figures",
        "study": results.recipe.study.name,
        "main_arm": results.main.name,
        "against": Against.SPECT.value,
        "jobs": len(results.done),
        "lacking": list(results.lacking),
        "arms": arms,
        "aims": aims,
    }
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _patients(results: StudyResults) -> bytes:
    """Every score of every patient in every arm, mean over seeds, one line for each patient and arm."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    columns = [(against, score) for against in Against for score in Score]
    table.writerow(["arm", "patient", *(f"{score.value} against {against.value}" for against, score in columns)])
    for name, arm in results.arms.items():
        values = [arm.values(score, against) for against, score in columns]
        for patient in arm.patients:
            cells = (each.get(patient) for each in values)
            table.writerow([name, patient, *("" if cell is None else f"{cell:.5f}" for cell in cells)])
    return text.getvalue().encode()
