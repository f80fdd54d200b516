"""Tested patients as pictures, all their voxels, and groups of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from training.case_files import case_file, read_case
from training.jobs import CASES, JOBS, PREDICTIONS
from training.report.chapter import Chapter
from training.report.document import Heading, Picture, Row, Table, Text
from training.report.families import label
from training.report.figures.arms import Mean
from training.report.figures.gallery import Shown, draw_gallery
from training.report.figures.groups import GroupLine, draw_groups
from training.report.figures.voxels import VoxelCloud, draw_voxels
from training.report.first_screen import best_trivial
from training.report.numbers import interval, number
from training.report.paper_chapter import PRETRAINED
from training.report.patient_groups import DEEP
from training.report.results import StudyResults
from training.score_names import CEILING, Against, Score
from training.statistics import Summary, summary
from training.study_case import StudyCase

GALLERY, VOXELS, GROUPS = "gallery.png", "voxels.png", "groups.png"
_SHOWN_LUNG = 0.6
"""A cut shows at least this share of the largest section of the lungs; among these, the one with most defect."""
_LACKS = "Not drawn: the predicted maps or the prepared cases are not in the folder of the study."

Map = Float32[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A tested patient with the maps of some arms."""

    case: StudyCase
    maps: Mapping[str, Map]


def patients_chapter(results: StudyResults) -> Chapter:
    """Best, median and worst patient, and the voxels of all; a sentence where the maps are not at hand."""
    heading = Heading("Patients: best, median, worst")
    arms = [name for name in (PRETRAINED, results.main.name) if name in results.arms]
    ranks = _ranks(results)
    found = seen_patients(results, list(ranks.values()), arms)
    rows = [_shown(rank, seen, results) for rank, seen in zip(ranks, found, strict=False)]
    if len(rows) < len(ranks):
        return Chapter((heading, Text(_LACKS)))
    names = [label(name, results.recipe) for name in arms]
    pictures = {GALLERY: draw_gallery(rows, names), VOXELS: draw_voxels(_clouds(results))}
    main = label(results.main.name, results.recipe)
    parts = (
        heading,
        Picture(
            GALLERY,
            f"By R on the eroded lungs of {main}. One coronal cut each, where much lung and most of the defects are; "
            "seen from the front, the patient's right on the left. Maps are those of the first seed, outside the lungs "
            "black.",
            "CT, SPECT, truth, predictions and difference of three in-silico patients.",
        ),
        Heading("Voxels"),
        Picture(
            VOXELS,
            "All eroded voxels of all tested patients, each patient with the same weight. The right panel is what a "
            "perfect predictor would show. On the dashed line both agree.",
            "Density plots of predicted over measured and true perfusion.",
        ),
    )
    return Chapter(parts, pictures)


def groups_chapter(results: StudyResults) -> Chapter:
    """The main arm by hospital, breath and disease; a sentence where nothing is known of the patients."""
    heading = Heading("By hospital, breath and disease")
    trivial = best_trivial(results)
    if not results.groups or trivial is None:
        return Chapter((heading, Text("Not told: the prepared cases are not in the folder of the study.")))
    lines, rows = [], []
    for name, patients in {"all tested patients": results.main.patients, **results.groups}.items():
        ours, most, least = (_summary(results, arm, patients) for arm in (results.main.name, CEILING, trivial))
        if ours is None or most is None or least is None:
            continue
        values = results.main.only(patients).values(Score.SPEARMAN_ERODED, Against.SPECT)
        mean = Mean(ours.mean, *(ours.mean if end is None else end for end in (ours.low, ours.high)))
        lines.append(GroupLine(f"{name} ({len(patients)})", tuple(values.values()), mean, most.mean, least.mean))
        rows.append(Row((name, str(len(patients)), *_group_cells(ours, most, least))))
    picture = Picture(GROUPS, _GROUP_WORDS, "Strip chart of the main arm's score by group of patients.")
    score = "Spearman R with the SPECT, eroded lungs"
    columns = ("patients", "number", "main arm", "noise ceiling", "of the ceiling", label(trivial, results.recipe))
    drawn = draw_groups(lines, score=score, trivial=label(trivial, results.recipe))
    words = Text(f"{_breath_words(results)} {_FEW}")
    return Chapter((heading, words, picture, Table(columns, tuple(rows))), {GROUPS: drawn})


_GROUP_WORDS = (
    "Patients of the main arm as points, their mean with its 95 % interval (none for fewer than five); the bar is the "
    "mean noise ceiling of the same patients, the cross the best trivial predictor."
)
_FEW = "Groups are small and were not compared: read them as a description. A patient is in several."


def _breath_words(results: StudyResults) -> str:
    deep = [patient for patient, facts in results.facts.items() if facts.breath == DEEP]
    if not deep:
        return "No tested patient had a CT at deep inspiration, so nothing is said of such CTs here."
    return (
        f"{len(deep)} of {len(results.facts)} tested patients had a CT at deep inspiration, which shows the lungs "
        "larger than the SPECT in free breathing does; they stand apart below."
    )


def _summary(results: StudyResults, arm: str, patients: Sequence[str]) -> Summary | None:
    return summary(list(results.arms[arm].only(patients).values(Score.SPEARMAN_ERODED, Against.SPECT).values()))


def _group_cells(ours: Summary, most: Summary, least: Summary) -> tuple[str, ...]:
    share = f"{100.0 * ours.mean / most.mean:.0f} %" if most.mean > 0 else number(None)
    return interval(ours.mean, ours.low, ours.high), number(most.mean), share, number(least.mean)


def seen_patients(results: StudyResults, patients: Sequence[str], arms: Sequence[str]) -> Iterator[Seen]:
    """Patients with the maps of arms, first seed; those of whom something is missing are left out."""
    for patient in patients:
        path = case_file(results.folder / CASES, patient)
        files = {arm: _prediction_file(results, arm, patient) for arm in arms}
        if path.exists() and all(file is not None for file in files.values()):
            yield _seen(path, {arm: file for arm, file in files.items() if file is not None})


def _seen(path: Path, files: Mapping[str, Path]) -> Seen:
    from training.prediction import read_prediction  # loads torch

    case = read_case(path)
    return Seen(case, {arm: read_prediction(file, case) for arm, file in files.items()})


def _prediction_file(results: StudyResults, arm: str, patient: str) -> Path | None:
    done = results.of_arm(arm)
    for each in done:
        file = results.folder / JOBS / each.job.name / PREDICTIONS / f"{patient}.npz"
        if each.job.seed == done[0].job.seed and patient in each.job.test and file.exists():
            return file
    return None


def _ranks(results: StudyResults) -> dict[str, str]:
    """Best, median and worst patient by R on the eroded lungs."""
    values = results.main.values(Score.SPEARMAN_ERODED, Against.SPECT)
    ordered = sorted(values, key=lambda patient: values[patient])
    if not ordered:
        return {}
    return {"best": ordered[-1], "median": ordered[len(ordered) // 2], "worst": ordered[0]}


def _shown(rank: str, seen: Seen, results: StudyResults) -> Shown:
    case = seen.case
    ours, most = (
        results.arms[name].values(Score.SPEARMAN_ERODED, Against.SPECT).get(case.patient)
        for name in (results.main.name, CEILING)
    )
    facts = f"{case.facts.hospital}, CT in {case.facts.breath}"
    title = f"{rank}: {case.patient}, R {number(ours, 2)}, noise ceiling {number(most, 2)}; {facts}"
    row = row_shown(case)
    return Shown(
        title=title,
        ct=case.channel("hu")[:, row],
        spect=case.target[:, row],
        truth=case.truth[:, row],
        predictions=tuple(values[:, row] for values in seen.maps.values()),
        lungs=case.lungs[:, row],
        spacing_mm=(case.grid.spacing_mm[0], case.grid.spacing_mm[2]),
    )


def row_shown(case: StudyCase) -> int:
    """The coronal cut with most defect among those that show much lung."""
    lung = np.count_nonzero(case.lungs, axis=(0, 2))
    defect = np.count_nonzero(case.defects, axis=(0, 2))
    much = lung >= _SHOWN_LUNG * lung.max()
    return int(np.lexsort((lung, defect, much))[-1])


def _clouds(results: StudyResults) -> list[VoxelCloud]:
    spect, truth, most = [], [], []
    for seen in seen_patients(results, results.main.patients, [results.main.name]):
        inner, case = seen.case.eroded, seen.case
        ours = seen.maps[results.main.name][inner]
        spect.append((case.target[inner], ours))
        truth.append((case.truth[inner], ours))
        most.append((case.target[inner], case.truth[inner]))
    main = label(results.main.name, results.recipe)
    up = "predicted, × lung mean"
    return [
        VoxelCloud.of(f"{main}, SPECT", "SPECT, × lung mean", up, spect),
        VoxelCloud.of(f"{main}, truth", "truth at SPECT resolution, × lung mean", up, truth),
        VoxelCloud.of("noise ceiling", "SPECT, × lung mean", "truth at SPECT resolution, × lung mean", most),
    ]
