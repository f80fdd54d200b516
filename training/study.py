"""The transfer-learning study as a list of jobs, to be read from top to bottom.

    pre-training of each network ─▶ pretrained only
                                 ├▶ fine-tuned: all of it, decoder only, encoder slower      each in three folds
                                 └▶ peers and ablations, like the main arm                   and with several seeds
    from scratch, joint: no pre-training before them
    references: shape, gravity, density and the noise ceiling, scored as all others

A fold's test patients are seen by nothing before the scores: its network was trained on the other folds, the step was
chosen by validation patients out of these, and pre-training saw the other cohort only. Pre-training is the same for all
folds, so it is done once for each network and seed.

Planning reads names of patients and no picture; running a job is `job_process`, running all `job_runner`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from training.case_files import case_file, kept_digest, prepared_patients
from training.errors import StudyIncomplete
from training.folds import Fold, fold_splits, validation_split
from training.insilico.cohort_name import CohortName
from training.insilico.patient_id import PatientId
from training.jobs import CASES, PRETRAINING, REFERENCES, Job
from training.recipe import Arm, InputPlan, NetworkPlan, Recipe
from training.score_names import REFERENCE_MAPS


@dataclass(frozen=True, slots=True)
class Patients:
    """Who takes part, by name, and the digest of all that their cases were prepared from."""

    pretraining: tuple[str, ...]
    """Without lung cancer."""
    fine_tuning: tuple[str, ...]
    """With lung cancer."""
    sha256: str

    @classmethod
    def of(cls, study: Path) -> "Patients":
        """Those whose cases lie in the folder of a study.

        Raises:
            StudyIncomplete: a file there is no case of an in-silico patient.
        """
        names = prepared_patients(study / CASES)
        cohorts: dict[CohortName, list[str]] = {cohort: [] for cohort in CohortName}
        digest = hashlib.sha256()
        for name in names:
            try:
                cohorts[PatientId.parse(name).cohort].append(name)
            except ValueError as fault:
                raise StudyIncomplete(str(study), str(fault)) from fault
            digest.update(f"{name} {_digest(case_file(study / CASES, name))}\n".encode())
        return cls(tuple(cohorts[CohortName.NON_CANCER]), tuple(cohorts[CohortName.LUNG_CANCER]), digest.hexdigest())


def plan_study(recipe: Recipe, patients: Patients) -> tuple[Job, ...]:
    """All jobs of a study, each after those whose weights it needs.

    Args:
        recipe: of the study.
        patients: who takes part; as many as the recipe says.

    Raises:
        StudyIncomplete: there are more or fewer patients than the recipe says.
    """
    _check_numbers(recipe, patients)
    cohort = recipe.study.cohort
    turns = fold_splits(patients.fine_tuning, cohort.folds, validation_fraction=cohort.validation_fraction)
    jobs = {job.name: job for job in _references(patients)}
    for arm in recipe.arms:
        jobs |= {job.name: job for job in _pretraining(arm, recipe, patients)}  # shared by arms, and done once
        jobs |= {job.name: job for job in _arm(arm, recipe, patients, turns)}
    return tuple(replace(job, cases_sha256=patients.sha256) for job in jobs.values())


def _references(patients: Patients) -> Iterator[Job]:
    for name in REFERENCE_MAPS:
        yield Job(f"{REFERENCES}/{name}", "reference", name, test=patients.fine_tuning)


def _pretraining(arm: Arm, recipe: Recipe, patients: Patients) -> Iterator[Job]:
    """What an arm starts from: its network, taught once with each of its seeds."""
    split = validation_split(patients.pretraining, recipe.study.cohort.validation_fraction)
    for seed in arm.seeds if arm.start == "pretrained" else ():
        yield Job(
            _pretraining_name(arm.network, seed),
            "pretraining",
            arm.network.name,
            seed=seed,
            learns="all",
            network=arm.network,
            input=_input(recipe, arm.network),
            optimisation=recipe.study.pretraining,
            training=split.training,
            validation=split.validation,
        )


def _arm(arm: Arm, recipe: Recipe, patients: Patients, turns: tuple[Fold, ...]) -> Iterator[Job]:
    elsewhere = validation_split(patients.pretraining, recipe.study.cohort.validation_fraction)
    for seed in arm.seeds:
        for turn in turns:
            yield Job(
                f"{arm.name}/fold{turn.number}/seed{seed}",
                "arm",
                arm.name,
                fold=turn.number,
                seed=seed,
                start=arm.start,
                needs=_pretraining_name(arm.network, seed) if arm.start == "pretrained" else None,
                learns=arm.learns,
                trains_on=arm.trains_on,
                network=arm.network,
                input=_input(recipe, arm.network),
                optimisation=arm.optimisation,
                # The fold's validation patients choose the step in every arm: they are of the cohort that is tested.
                training=turn.training + (elsewhere.training if arm.trains_on == "both" else ()),
                validation=turn.validation,
                test=turn.test,
            )


def _pretraining_name(network: NetworkPlan, seed: int) -> str:
    return f"{PRETRAINING}/{network.name}/seed{seed}"


def _input(recipe: Recipe, network: NetworkPlan) -> InputPlan:
    return replace(recipe.study.input, channels=recipe.channels(network))


def _digest(path: Path) -> str:
    """Of all that a case was prepared from; of its file where that is not known."""
    return kept_digest(path) or hashlib.sha256(path.read_bytes()).hexdigest()


def _check_numbers(recipe: Recipe, patients: Patients) -> None:
    cohort = recipe.study.cohort
    for name, got, wanted in (
        ("without lung cancer", len(patients.pretraining), cohort.pretraining_cases),
        ("with lung cancer", len(patients.fine_tuning), cohort.fine_tuning_cases),
    ):
        if got != wanted:
            raise StudyIncomplete("cases", f"{got} patients {name} are there, the recipe wants {wanted}")
