"""Who is held out follows from each patient alone; nobody who is held out is in a fold."""

import pytest

from training.retraining.split import SplitRule, chooses_step

RULE = SplitRule(parts=10, held_out_parts=3)
PATIENTS = tuple(f"P{number:012x}" for number in range(400))


def test_a_new_patient_moves_nobody() -> None:
    before, after = RULE.held_out(PATIENTS[:200]), RULE.held_out(PATIENTS)
    assert before == tuple(patient for patient in after if patient in PATIENTS[:200])
    assert RULE.held_out(reversed(PATIENTS)) == after


def test_about_as_many_are_held_out_as_the_rule_says() -> None:
    assert len(RULE.held_out(PATIENTS)) == pytest.approx(120, abs=30)
    chosen = sum(chooses_step(patient, 5) for patient in PATIENTS)
    assert chosen == pytest.approx(80, abs=25)


def test_every_other_patient_is_in_one_fold_and_the_held_out_are_in_none() -> None:
    dealt = {patient: RULE.fold_of(patient, 3) for patient in PATIENTS}
    assert {patient for patient, fold in dealt.items() if fold is None} == set(RULE.held_out(PATIENTS))
    sizes = [list(dealt.values()).count(fold) for fold in range(3)]
    assert sum(sizes) == len(PATIENTS) - len(RULE.held_out(PATIENTS))
    assert min(sizes) > 60


def test_who_chooses_the_step_is_not_told_by_the_part() -> None:
    shares = [
        sum(chooses_step(p, 5) for p in PATIENTS if RULE.fold_of(p, 3) == fold)
        / sum(RULE.fold_of(p, 3) == fold for p in PATIENTS)
        for fold in range(3)
    ]
    assert all(0.08 < share < 0.35 for share in shares)


def test_a_rule_is_read_back_from_its_words() -> None:
    assert SplitRule.parse(RULE.words) == RULE
    for words in ("0 of 4", "4 of 4", "half", "1 of", ""):
        with pytest.raises(ValueError, match=r"."):
            SplitRule.parse(words)
