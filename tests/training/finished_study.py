"""A study that looks finished: its recipe, drawn patients, and results of networks that were never trained."""

import hashlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from inference.domain import STATISTICS
from tests.training.drawn_cases import drawn_case
from tests.training.small_study import write_recipe
from training.case_files import case_file, read_case, write_case
from training.checkpointing import save_weights
from training.job_card import job_card
from training.jobs import Job, Result, write_record
from training.recipe_copy import keep_recipe
from training.score_names import CEILING
from training.scores import case_scores, reference_scores
from training.study import Patients, plan_study
from training.study_case import StudyCase
from training.transfer import fresh_network

PATIENTS = (*(f"NC-{number:03d}" for number in range(1, 5)), *(f"LC-{number:03d}" for number in range(1, 5)))


def finished_study(folder: Path) -> Path:
    """Results of the main arm and of the noise ceiling; the other jobs are not done."""
    study = folder / "study"
    recipe = keep_recipe(write_recipe(folder / "config", window=(48, 32, 48)), study)
    (study / "cases").mkdir()
    for seed, name in enumerate(PATIENTS):
        write_case(case_file(study / "cases", name), _case(name, seed))
    for job in plan_study(recipe, Patients.of(study)):
        if job.arm in (CEILING, "full-fine-tuning"):
            finish(study, job)
    return study


def _case(name: str, seed: int) -> StudyCase:
    case = drawn_case(name, seed=seed, cohort="lung-cancer" if name.startswith("LC") else "non-cancer")
    random = np.random.default_rng(seed)
    statistics = {each: float(random.uniform(1.0, 2.0)) for each in STATISTICS}
    return replace(case, facts=replace(case.facts, input_statistics=statistics))


def finish(study: Path, job: Job) -> None:
    """Write a job and its result. What it scores is noise over the SPECT, so that figures differ by patient."""
    folder = study / "jobs" / job.name
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder / "job.json", job)
    digest = ""
    if job.network is not None:
        save_weights(folder / "weights.safetensors", fresh_network(job_card(job), job.seed + (job.fold or 0)))
        digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    scores = {}
    for patient in job.test:
        case = read_case(case_file(study / "cases", patient))
        noise = np.random.default_rng(7).uniform(0.5, 1.5, case.lungs.shape).astype(np.float32)
        found = case_scores(case.target * noise, case) if job.kind == "arm" else reference_scores(case)[job.arm]
        scores[patient] = asdict(found)
    write_record(
        folder / "result.json",
        Result(
            job=job.name,
            digest=job.digest,
            best_step=4,
            parameters=1234,
            weights_sha256=digest,
            device="a test",
            seconds={"training": 3.0},
            peak_memory_mb=1.0,
            versions={"torch": "0"},
            scores=scores,
        ),
    )
