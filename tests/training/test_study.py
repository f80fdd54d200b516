from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.training.small_study import write_patients, write_recipe
from training.errors import StudyIncomplete
from training.jobs import Job
from training.recipe import Recipe, read_recipe
from training.score_names import REFERENCE_MAPS
from training.study import Patients, plan_study

SHIPPED = Path(__file__).parents[2] / "configs" / "study"
EVERYONE = Patients(
    tuple(f"NC-{number:03d}" for number in range(1, 138)), tuple(f"LC-{number:03d}" for number in range(1, 34)), "s"
)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe(SHIPPED)


@pytest.fixture(scope="module")
def jobs(recipe: Recipe) -> tuple[Job, ...]:
    return plan_study(recipe, EVERYONE)


def test_every_arm_tests_every_cancer_patient_once_with_every_seed(recipe: Recipe, jobs: tuple[Job, ...]) -> None:
    for arm in recipe.arms:
        for seed in arm.seeds:
            mine = [job for job in jobs if job.kind == "arm" and (job.arm, job.seed) == (arm.name, seed)]
            assert sorted(job.fold for job in mine if job.fold is not None) == [0, 1, 2]
            assert sorted(patient for job in mine for patient in job.test) == sorted(EVERYONE.fine_tuning)


def test_no_test_patient_is_seen_before_not_even_by_what_a_job_starts_from(jobs: tuple[Job, ...]) -> None:
    by_name = {job.name: job for job in jobs}
    for job in jobs:
        seen = set(job.training) | set(job.validation)
        if job.needs is not None:
            before = by_name[job.needs]
            seen |= set(before.training) | set(before.validation)
        assert not seen & set(job.test), job.name
        assert not set(job.training) & set(job.validation), job.name


def test_a_fold_is_the_same_in_all_arms_and_seeds(jobs: tuple[Job, ...]) -> None:
    parts = {(job.fold, job.test, job.validation) for job in jobs if job.kind == "arm"}
    assert len(parts) == 3


def test_pre_training_sees_the_other_cohort_only(jobs: tuple[Job, ...]) -> None:
    pretraining = [job for job in jobs if job.kind == "pretraining"]
    assert pretraining
    for job in pretraining:
        assert sorted(job.training + job.validation) == list(EVERYONE.pretraining)
        assert not job.test


def test_a_job_comes_after_the_one_it_starts_from_which_has_its_network_and_seed(jobs: tuple[Job, ...]) -> None:
    places = {job.name: place for place, job in enumerate(jobs)}
    started = [job for job in jobs if job.start == "pretrained"]
    assert started
    for job in started:
        assert job.needs is not None
        before = jobs[places[job.needs]]
        assert places[before.name] < places[job.name]
        assert (before.network, before.seed, before.input) == (job.network, job.seed, job.input)
    assert all(job.needs is None for job in jobs if job.start == "random")


def test_no_job_is_planned_twice_and_a_network_is_pre_trained_once_for_all_arms(jobs: tuple[Job, ...]) -> None:
    assert len({job.name for job in jobs}) == len(jobs)


def test_the_joint_arm_learns_from_both_cohorts_and_the_step_is_chosen_in_the_one_tested(
    jobs: tuple[Job, ...],
) -> None:
    for job in (job for job in jobs if job.arm == "joint"):
        assert {patient[:2] for patient in job.training} == {"NC", "LC"}
        assert {patient[:2] for patient in job.validation} == {"LC"}


def test_jobs_come_in_the_order_of_the_arms(recipe: Recipe, jobs: tuple[Job, ...]) -> None:
    order = [recipe.study.arms.index(job.arm) for job in jobs if job.kind == "arm"]
    assert all(one <= other for one, other in pairwise(order))


def test_the_maps_that_cases_bring_along_are_scored_on_every_cancer_patient(jobs: tuple[Job, ...]) -> None:
    references = {job.arm: job.test for job in jobs if job.kind == "reference"}
    assert references == dict.fromkeys(REFERENCE_MAPS, EVERYONE.fine_tuning)


def test_what_is_planned_depends_on_the_content_of_the_cases(recipe: Recipe, jobs: tuple[Job, ...]) -> None:
    others = plan_study(recipe, replace(EVERYONE, sha256="t"))
    assert all(one.digest != other.digest for one, other in zip(jobs, others, strict=True))


@pytest.mark.parametrize("lost", ["pretraining", "fine_tuning"])
def test_a_missing_patient_is_told_and_never_passed_over(recipe: Recipe, lost: str) -> None:
    fewer = replace(EVERYONE, **{lost: getattr(EVERYONE, lost)[1:]})
    with pytest.raises(StudyIncomplete, match="are there, the recipe wants"):
        plan_study(recipe, fewer)


def test_patients_are_found_by_cohort_and_their_digest_follows_their_files(tmp_path: Path) -> None:
    write_patients(tmp_path, pretraining=2, fine_tuning=1)
    found = Patients.of(tmp_path)
    assert (found.pretraining, found.fine_tuning) == (("NC-001", "NC-002"), ("LC-001",))
    assert Patients.of(tmp_path) == found
    (tmp_path / "cases" / "LC-001.npz").write_bytes((tmp_path / "cases" / "NC-001.npz").read_bytes())
    assert Patients.of(tmp_path).sha256 != found.sha256


def test_a_file_that_is_no_in_silico_patient_is_refused(tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipe")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "somebody.npz").write_bytes(b"")
    with pytest.raises(StudyIncomplete, match="'somebody'"):
        Patients.of(tmp_path)
