"""Patients are put together by hospital, breath and disease."""

from tests.training.report.made_up_study import facts_of
from training.report.patient_groups import patient_groups


def test_groups_hold_those_who_have_something_in_common() -> None:
    facts = {f"LC-{number:03d}": facts_of(f"LC-{number:03d}", 1000.0) for number in range(1, 10)}
    groups = patient_groups(facts)
    assert groups["hospital b"] == ("LC-002", "LC-004", "LC-006", "LC-008")
    assert groups["CT in deep inspiration"] == ("LC-005",)
    assert len(groups["CT in free breathing"]) == 8
    assert groups["with centrilobular emphysema"] == ("LC-003", "LC-006", "LC-009")
    assert "with tumour" not in groups, "all have one, so it divides nobody"


def test_a_disease_of_two_patients_is_no_group() -> None:
    facts = {f"LC-{number:03d}": facts_of(f"LC-{number:03d}", 1000.0) for number in range(1, 8)}
    assert "with centrilobular emphysema" not in patient_groups(facts)


def test_nobody_known_makes_no_group() -> None:
    assert patient_groups({}) == {}
