"""Measures an in-silico cohort and writes the page that holds its figures beside the published ones.

Patients are measured by several processes, and what was measured is kept in the folder `realism` of the cohort; a run
that was stopped goes on where it was. Equal cohorts give equal pages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from training.baselines import Predictor, fit, weighted
from training.errors import NoPatient
from training.insilico.agreement_figures import LungVoxels
from training.insilico.cohort import patient_folders, read_manifest
from training.insilico.cohort_figures import Spread
from training.insilico.cohort_name import CohortName
from training.insilico.comparison import compare
from training.insilico.figure import Figure
from training.insilico.realism import (
    PatientFigures,
    figures_file,
    kept_measures,
    read_figures,
    read_voxels,
    voxels_file,
)
from training.insilico.report_page import Findings, Making, page
from training.insilico.report_pictures import draw_pictures
from training.insilico.whole_folder import write_whole
from training.insilico.workers import Ended, Started, work_through
from training.metrics import spearman

KEPT = "realism"
"""Folder of the measures, in that of the cohort."""
CONTROLS = "controls"
PAGE = "cohort-realism.md"
PICTURES = "cohort"
CONTROL_COUNT = 12
"""Healthy controls: the mean of 12 is known to 0.3 SD."""


@dataclass(frozen=True, slots=True)
class Task:
    """One patient to measure, on disk, or one healthy control to make and measure."""

    name: str
    folder: Path | None
    """None for a control."""
    number: int = 0
    """Of the control, from 1."""


def report_cohort(
    cohort: Path,
    out: Path,
    *,
    workers: int,
    controls: int = CONTROL_COUNT,
    command: str = "perfnode cohort report",
    tell: Callable[[Started[Task] | Ended[Task]], None] = lambda event: None,
) -> Findings:
    """Measure a cohort and write `cohort-realism.md` with its pictures.

    Args:
        cohort: folder of a cohort.
        out: folder of the page; pictures go into its folder `cohort`.
        workers: processes.
        controls: number of healthy controls, which are made with the settings of the cohort and not kept.
        command: named on the page.
        tell: is called at each start and end of a measure.

    Raises:
        NoPatient: the folder holds no cohort, no patient, or one that cannot be measured.
        OSError: the file system refuses.
    """
    manifest, kept = read_manifest(cohort), cohort / KEPT
    tasks = [Task(str(each.patient), each.path) for each in patient_folders(cohort)]
    if not tasks:
        raise NoPatient(str(cohort), "there is no patient yet")
    tasks += [Task(f"{CONTROLS}-{number:03d}", None, number) for number in range(1, controls + 1)]
    plan = dict(manifest["plan"])
    for event in work_through(tasks, partial(_measure, plan, kept), workers=workers):
        tell(event)
        if isinstance(event, Ended) and event.failure is not None:
            raise NoPatient(event.task.name, f"cannot be measured: {event.failure}")
    found = _findings(tasks, kept, plan, command)
    write_report(found, out)
    return found


def write_report(findings: Findings, out: Path) -> None:
    """Write page and pictures.

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


def _measure(plan: Mapping[str, Any], kept: Path, task: Task) -> None:
    if task.folder is not None:
        kept_measures(task.folder, kept)
        return
    from training.insilico.healthy_control import kept_control

    kept_control(plan, task.number, kept / CONTROLS)


def _findings(tasks: list[Task], kept: Path, plan: Mapping[str, Any], command: str) -> Findings:
    from training.insilico.healthy_control import control_file

    files = {task.name: figures_file(task.folder, kept) for task in tasks if task.folder is not None}
    patients = [read_figures(file) for file in files.values()]
    controls = [read_figures(control_file(plan, t.number, kept / CONTROLS)) for t in tasks if t.folder is None]
    voxels = {p.patient: read_voxels(voxels_file(files[p.patient])) for p in patients}
    by_cohort = {c: {p.patient: voxels[p.patient] for p in patients if p.cohort == c} for c in CohortName}
    return Findings(
        patients=patients,
        controls=controls,
        rows=compare(patients, controls, _protocols(plan)),
        fitted=fitted_scores(by_cohort[CohortName.NON_CANCER], by_cohort[CohortName.LUNG_CANCER]),
        making=_making(plan, command),
    )


def _protocols(plan: Mapping[str, Any]) -> dict[Figure, Spread]:
    """Resolution and noise over the SPECT protocols of all hospitals."""
    from training.insilico.hospitals import HOSPITALS
    from training.insilico.spect_phantom import measure_protocol
    from training.insilico.spect_protocol import SpectMethod

    method = SpectMethod(plan["spect"]["method"])
    measured = [measure_protocol(hospital.spect, method=method) for hospital in HOSPITALS]
    point, noise = Spread.of(q.point_fwhm_mm for q in measured), Spread.of(q.noise_percent for q in measured)
    return {name: value for name, value in ((Figure.POINT_FWHM, point), (Figure.NOISE, noise)) if value is not None}


def _making(plan: Mapping[str, Any], command: str) -> Making:
    from training.insilico.cohort_plan import GENERATOR, GENERATOR_VERSION

    return Making(
        name=plan["name"],
        seed=plan["seed"],
        generator=f"{GENERATOR} {GENERATOR_VERSION}",
        settings=(
            f"body grid {plan['body']['spacing_mm']} mm, {plan['body']['territories']} territories, CT matrix "
            f"{plan['ct']['matrix']}, SPECT by {plan['spect']['method']}"
        ),
        command=command,
    )


def sorted_patients(patients: list[PatientFigures]) -> list[PatientFigures]:
    """By name."""
    return sorted(patients, key=lambda patient: patient.patient)
