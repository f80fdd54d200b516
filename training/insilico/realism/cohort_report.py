"""Measures an in-silico cohort and writes the page that holds its figures beside the published ones.

Patients are measured by several processes, and what was measured is kept in the folder `realism` of the cohort; a run
that was stopped goes on where it was. Equal cohorts give equal pages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from training.baselines import Predictor, fit, weighted
from training.errors import NoPatient
from training.insilico.cohort_name import CohortName
from training.insilico.cohort_plan import GENERATOR, GENERATOR_VERSION, InsilicoPlan
from training.insilico.files.cohort import patient_folders, read_manifest
from training.insilico.files.whole_folder import write_whole
from training.insilico.files.workers import Ended, Started, work_through
from training.insilico.hospitals import HOSPITALS
from training.insilico.realism.agreement_figures import LungVoxels
from training.insilico.realism.cohort_figures import Spread
from training.insilico.realism.comparison import compare
from training.insilico.realism.figure import Figure
from training.insilico.realism.healthy_control import control_file, kept_control
from training.insilico.realism.realism import figures_file, kept_measures, read_figures, read_voxels, voxels_file
from training.insilico.realism.report_page import Findings, Making, page
from training.insilico.realism.report_pictures import draw_pictures
from training.insilico.realism.spect_phantom import SpectQuality, kept_quality, quality_file
from training.metrics import spearman

KEPT = "realism"
"""Folder of the measures, in that of the cohort."""
CONTROLS = "controls"
PAGE = "cohort-realism.md"
PICTURES = "cohort"
CONTROL_COUNT = 16
"""Healthy controls, half of them at deep inspiration: the mean of 8 is known to 0.35 SD."""


class Kind(StrEnum):
    """What is measured."""

    PATIENT = "patient"
    CONTROL = "control"
    PROTOCOL = "SPECT of hospital"


@dataclass(frozen=True, slots=True)
class Task:
    """One measure."""

    kind: Kind
    folder: Path | None
    """Of a patient."""
    number: int
    """Of a control, from 1; of a hospital, from 0."""

    def __str__(self) -> str:
        return self.folder.name if self.folder is not None else f"{self.kind} {self.number}"


def report_cohort(
    cohort: Path,
    out: Path,
    *,
    workers: int,
    controls: int = CONTROL_COUNT,
    command: str = "perfnode cohort report",
    tell: Callable[[Started[Task] | Ended[Task]], None] = lambda event: None,
) -> Path:
    """Measure a cohort and write `cohort-realism.md` with its pictures.

    Args:
        cohort: folder of a cohort.
        out: folder of the page; pictures go into its folder `cohort`.
        workers: processes.
        controls: number of healthy controls, which are made with the settings of the cohort and not kept.
        command: named on the page.
        tell: is called at each start and end of a measure.

    Returns:
        The page.

    Raises:
        NoPatient: the folder holds no cohort, no patient, or one that cannot be measured.
        OSError: the file system refuses.
    """
    plan, kept = TypeAdapter(InsilicoPlan).validate_python(read_manifest(cohort)["plan"]), cohort / KEPT
    tasks = [Task(Kind.PATIENT, each.path, each.patient.number) for each in patient_folders(cohort)]
    if not tasks:
        raise NoPatient(str(cohort), "there is no patient yet")
    tasks += [Task(Kind.CONTROL, None, number) for number in range(1, controls + 1)]
    tasks += [Task(Kind.PROTOCOL, None, number) for number in range(len(HOSPITALS))]
    missing = [task for task in tasks if not _file(plan, kept, task).is_file()]
    for event in work_through(missing, partial(measure_task, plan, kept), workers=workers):
        tell(event)
        if isinstance(event, Ended) and event.failure is not None:
            raise NoPatient(str(event.task), f"cannot be measured: {event.failure}")
    return write_report(_findings(tasks, kept, plan, command), out)


def measure_task(plan: InsilicoPlan, kept: Path, task: Task) -> None:
    """Do one measure and keep it."""
    match task.kind:
        case Kind.PATIENT if task.folder is not None:
            kept_measures(task.folder, kept)
        case Kind.CONTROL:
            kept_control(plan, task.number, kept / CONTROLS)
        case _:
            kept_quality(HOSPITALS[task.number].spect, kept, method=plan.spect.method)


def write_report(findings: Findings, out: Path) -> Path:
    """Write page and pictures.

    Returns:
        The page.

    Raises:
        OSError: the file system refuses.
    """
    groups = {CONTROLS: findings.controls} | {
        cohort: [p for p in findings.patients if p.cohort == cohort] for cohort in CohortName
    }
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    for name, content in draw_pictures(groups, findings.rows).items():
        write_whole(out / PICTURES / name, content)
    write_whole(out / PAGE, page(findings, pictures=PICTURES).encode())
    return out / PAGE


def fitted_scores(
    training: Mapping[str, LungVoxels], scored: Mapping[str, LungVoxels]
) -> dict[str, dict[Predictor, Spread]]:
    """Spearman R with the SPECT, by mask, of predictors fitted to some patients, scored on others."""
    if not training or not scored:
        return {}
    found: dict[str, dict[Predictor, Spread]] = {"whole": {}, "eroded": {}}
    for predictor in Predictor:
        weights = fit(predictor, ((voxels.terms, voxels.spect) for voxels in training.values()))
        scores: dict[str, list[float]] = {mask: [] for mask in found}
        for voxels in scored.values():
            values = weighted(voxels.terms, weights)
            everywhere = np.ones(values.shape, dtype=bool)
            scores["whole"].append(spearman(values, voxels.spect, everywhere))
            scores["eroded"].append(spearman(values, voxels.spect, voxels.eroded))
        for mask, values_of in scores.items():
            spread = Spread.of(values_of)
            if spread is not None:
                found[mask][predictor] = spread
    return found


def _file(plan: InsilicoPlan, kept: Path, task: Task) -> Path:
    """Where a measure is kept."""
    match task.kind:
        case Kind.PATIENT if task.folder is not None:
            return figures_file(task.folder, kept)
        case Kind.CONTROL:
            return control_file(plan, task.number, kept / CONTROLS)
        case _:
            return quality_file(HOSPITALS[task.number].spect, kept, method=plan.spect.method)


def _findings(tasks: list[Task], kept: Path, plan: InsilicoPlan, command: str) -> Findings:
    files = {kind: [_file(plan, kept, task) for task in tasks if task.kind is kind] for kind in Kind}
    patients = [read_figures(file) for file in files[Kind.PATIENT]]
    controls = [read_figures(file) for file in files[Kind.CONTROL]]
    voxels = {p.patient: read_voxels(voxels_file(f)) for p, f in zip(patients, files[Kind.PATIENT], strict=True)}
    by_cohort = {c: {p.patient: voxels[p.patient] for p in patients if p.cohort == c} for c in CohortName}
    return Findings(
        patients=patients,
        controls=controls,
        rows=compare(patients, controls, _protocols(files[Kind.PROTOCOL])),
        fitted=fitted_scores(by_cohort[CohortName.NON_CANCER], by_cohort[CohortName.LUNG_CANCER]),
        making=_making(plan, command),
    )


def _protocols(files: list[Path]) -> dict[Figure, Spread]:
    """Resolution and noise over the SPECT protocols of all hospitals."""
    measured = [TypeAdapter(SpectQuality).validate_json(file.read_bytes()) for file in files]
    point, noise = Spread.of(q.point_fwhm_mm for q in measured), Spread.of(q.noise_percent for q in measured)
    return {name: value for name, value in ((Figure.POINT_FWHM, point), (Figure.NOISE, noise)) if value is not None}


def _making(plan: InsilicoPlan, command: str) -> Making:
    return Making(
        name=plan.name,
        seed=plan.seed,
        generator=f"{GENERATOR} {GENERATOR_VERSION}",
        settings=(
            f"body grid {plan.body.spacing_mm} mm, {plan.body.territories} territories, CT matrix "
            f"{plan.ct.matrix}, SPECT by {plan.spect.method}"
        ),
        command=command,
    )
