"""Pairs are dealt by patient; nobody who is held out comes near a training; too few are refused with the right word."""

from pathlib import Path

import pytest

from tests.training.retraining.made_up_pairs import pair
from tests.training.retraining.small_start import small_card, write_recipe
from training.folds import part_of
from training.retraining.errors import HeldOutTooSmall, PairsUnreviewed, PartEmpty, TooFewPairs
from training.retraining.plan import PairsAtHand, RetrainingPlan, plan_retraining, retraining_jobs
from training.retraining.recipe import RetrainingRecipe, read_retraining_recipe
from training.retraining.split import chooses_step
from training.retraining.start_model import StartModel

PATIENTS = tuple(f"P{number:012x}" for number in range(40))


def at_hand(patients: tuple[str, ...], *, unreviewed: int = 0) -> PairsAtHand:
    pairs = [pair(patient) for patient in patients] + [pair(patients[0], 2)]
    return PairsAtHand(tuple(sorted(pairs, key=lambda each: each.name)), unreviewed, 0, "in-silico")


@pytest.fixture
def recipe(tmp_path: Path) -> RetrainingRecipe:
    return read_retraining_recipe(write_recipe(tmp_path)).recipe


@pytest.fixture
def plan(recipe: RetrainingRecipe) -> RetrainingPlan:
    return plan_retraining(at_hand(PATIENTS), recipe)


def test_the_held_out_are_in_no_training_no_choice_and_no_test(plan: RetrainingPlan) -> None:
    assert plan.held_out == tuple(sorted(patient for patient in PATIENTS if part_of(patient, 3) == 0))
    assert plan.patients + len(plan.held_out) == len(PATIENTS)
    used = {name.split("-")[0] for fold in plan.folds for name in (*fold.training, *fold.validation, *fold.test)}
    assert used == set(PATIENTS) - set(plan.held_out)
    assert {each.patient for each in plan.pairs} == used


def test_no_patient_is_in_two_groups_of_a_fold_and_each_is_tested_once(plan: RetrainingPlan) -> None:
    for fold in plan.folds:
        groups = [{name.split("-")[0] for name in group} for group in (fold.training, fold.validation, fold.test)]
        assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2])
        assert all(chooses_step(patient, 3) for patient in groups[1])
        assert len(fold.test) == len(groups[2])  # one pair of each patient
    tested = [name for fold in plan.folds for name in fold.test]
    assert len(tested) == len(set(tested)) == plan.patients


def test_all_pairs_of_a_patient_who_is_trained_on_are_used(recipe: RetrainingRecipe) -> None:
    twice = next(patient for patient in PATIENTS if part_of(patient, 3) != 0)
    plan = plan_retraining(at_hand((twice, *(patient for patient in PATIENTS if patient != twice))), recipe)
    learned = [fold for fold in plan.folds if pair(twice).name in (*fold.training, *fold.validation)]
    assert learned
    assert all(pair(twice, 2).name in (*fold.training, *fold.validation) for fold in learned)
    assert not any(pair(twice, 2).name in fold.test for fold in plan.folds)


def test_a_new_patient_moves_no_other(recipe: RetrainingRecipe, plan: RetrainingPlan) -> None:
    fewer = plan_retraining(at_hand(PATIENTS[:30]), recipe)
    assert set(fewer.held_out) == set(plan.held_out) & set(PATIENTS[:30])
    for before, after in zip(fewer.folds, plan.folds, strict=True):
        assert set(before.training) <= set(after.training)
        assert set(before.test) <= set(after.test)


@pytest.mark.parametrize(
    ("patients", "unreviewed", "error"),
    [
        (PATIENTS[:5], 0, TooFewPairs),
        (PATIENTS[:5], 4, PairsUnreviewed),
        (tuple(p for p in PATIENTS if part_of(p, 3) != 0), 0, HeldOutTooSmall),
        (tuple(p for p in PATIENTS if part_of(p, 3) != 1), 0, PartEmpty),
        (tuple(p for p in PATIENTS if part_of(p, 3) == 0 or not chooses_step(p, 3)), 0, PartEmpty),
    ],
)
def test_too_few_are_refused(
    recipe: RetrainingRecipe, patients: tuple[str, ...], unreviewed: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        plan_retraining(at_hand(patients, unreviewed=unreviewed), recipe)


def test_one_fold_trains_on_all_and_tests_nobody(tmp_path: Path) -> None:
    recipe = read_retraining_recipe(write_recipe(tmp_path, folds=1)).recipe
    (fold,) = plan_retraining(at_hand(PATIENTS), recipe).folds
    assert fold.test == ()
    assert len(fold.training) + len(fold.validation) == len(plan_retraining(at_hand(PATIENTS), recipe).pairs)


def test_fold_k_starts_from_member_k_and_another_start_makes_other_jobs(
    recipe: RetrainingRecipe, plan: RetrainingPlan
) -> None:
    card = small_card()
    digests = {each.name: "0" * 64 for each in plan.pairs}
    start = StartModel(card.identity, (card, card), (b"one", b"two"))
    jobs = retraining_jobs(plan, recipe, start, digests)
    assert [job.needs for job in jobs if job.kind == "retraining"] == [jobs[0].name, jobs[1].name]
    alone = retraining_jobs(plan, recipe, StartModel(card.identity, (card,), (b"one",)), digests)
    assert {job.needs for job in alone if job.kind == "retraining"} == {alone[0].name}
    other = retraining_jobs(plan, recipe, StartModel(card.identity, (card, card), (b"one", b"2")), digests)
    assert jobs[-1].digest != other[-1].digest
    changed = retraining_jobs(plan, recipe, start, digests | {plan.pairs[0].name: "1" * 64})
    assert jobs[-1].digest != changed[-1].digest
