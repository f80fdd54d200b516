"""Everything the report tells, read from the folder of a study: recipe, what its jobs found, statistics."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.arm_statistics import ArmScores
from training.case_files import case_file, read_case
from training.errors import StudyIncomplete
from training.history import HISTORY_FILE, Look, read_history
from training.jobs import (
    CASES,
    JOB_FILE,
    JOBS,
    PRETRAINING,
    RECIPE,
    REFERENCES,
    RESULT_FILE,
    Job,
    Result,
    read_record,
)
from training.recipe import Recipe, read_recipe
from training.report.patient_groups import patient_groups
from training.score_names import CEILING, REFERENCE_MAPS
from training.scores import CaseScores, read_scores
from training.study_case import CaseFacts
from training.study_statistics import StudyStatistics, study_statistics


@dataclass(frozen=True, slots=True)
class Done:
    """A job that is done."""

    job: Job
    result: Result
    looks: tuple[Look, ...]
    """Empty where nothing was trained."""


@dataclass(frozen=True, slots=True)
class StudyResults:
    """A study as far as it is done."""

    folder: Path
    recipe: Recipe
    done: Mapping[str, Done]
    """By name of the job."""
    lacking: tuple[str, ...]
    """Jobs that the recipe wants and that have no result."""
    arms: Mapping[str, ArmScores]
    """Arms and reference maps with at least one seed of which every fold is done."""
    facts: Mapping[str, CaseFacts]
    """Of the tested patients; empty where the prepared cases are not at hand."""
    groups: Mapping[str, tuple[str, ...]]
    """Tested patients by what they have in common."""
    statistics: StudyStatistics

    @property
    def main(self) -> ArmScores:
        """The main arm."""
        return self.arms[self.recipe.study.main_arm]

    def of_arm(self, name: str) -> tuple[Done, ...]:
        """What is done of an arm, by seed and fold."""
        those = [done for done in self.done.values() if done.job.kind == "arm" and done.job.arm == name]
        return tuple(sorted(those, key=lambda done: (done.job.seed, done.job.fold or 0)))

    def of_pretraining(self, network: str) -> tuple[Done, ...]:
        """What is done of a network's pre-training, by seed."""
        those = [done for done in self.done.values() if done.job.kind == "pretraining" and done.job.arm == network]
        return tuple(sorted(those, key=lambda done: done.job.seed))


def read_results(folder: Path) -> StudyResults:
    """Read a study and take its statistics.

    Raises:
        RecipeError: there is no recipe in the folder.
        JobUnreadable: a record is damaged.
        StudyIncomplete: the noise ceiling or the main arm has no whole result.
    """
    recipe = read_recipe(folder / RECIPE)
    wanted = _wanted(recipe)
    done = {name: _done(folder / JOBS / name) for name in wanted if (folder / JOBS / name / RESULT_FILE).exists()}
    arms = _arms(recipe, done)
    for name in (CEILING, recipe.study.main_arm):
        if name not in arms:
            raise StudyIncomplete(str(folder), f"there is no whole result of {name!r}, so there is nothing to report")
    tested = arms[recipe.study.main_arm].patients
    facts = {
        patient: read_case(case_file(folder / CASES, patient)).facts
        for patient in tested
        if case_file(folder / CASES, patient).exists()
    }
    study = recipe.study
    return StudyResults(
        folder=folder,
        recipe=recipe,
        done=done,
        lacking=tuple(name for name in wanted if name not in done),
        arms=arms,
        facts=facts,
        groups=patient_groups(facts),
        statistics=study_statistics(list(arms.values()), study.comparisons, study.aims),
    )


def _wanted(recipe: Recipe) -> list[str]:
    """Names of all jobs of a recipe."""
    pretrained = {(arm.network.name, seed) for arm in recipe.arms if arm.start == "pretrained" for seed in arm.seeds}
    return [
        *(f"{REFERENCES}/{name}" for name in REFERENCE_MAPS),
        *(f"{PRETRAINING}/{network}/seed{seed}" for network, seed in sorted(pretrained)),
        *(
            f"{arm.name}/fold{fold}/seed{seed}"
            for arm in recipe.arms
            for seed in arm.seeds
            for fold in range(recipe.study.cohort.folds)
        ),
    ]


def _done(folder: Path) -> Done:
    looks = read_history(folder) if (folder / HISTORY_FILE).exists() else ()
    return Done(read_record(folder / JOB_FILE, Job), read_record(folder / RESULT_FILE, Result), looks)


def _arms(recipe: Recipe, done: Mapping[str, Done]) -> dict[str, ArmScores]:
    arms = {}
    for name in REFERENCE_MAPS:
        if f"{REFERENCES}/{name}" in done:
            arms[name] = ArmScores(name, (read_scores(done[f"{REFERENCES}/{name}"].result.scores),))
    for arm in recipe.arms:
        seeds: list[dict[str, CaseScores]] = []
        for seed in arm.seeds:
            turns = [f"{arm.name}/fold{fold}/seed{seed}" for fold in range(recipe.study.cohort.folds)]
            if all(turn in done for turn in turns):
                seeds.append({k: v for turn in turns for k, v in read_scores(done[turn].result.scores).items()})
        if seeds:
            arms[arm.name] = ArmScores(arm.name, tuple(seeds))
    return arms
