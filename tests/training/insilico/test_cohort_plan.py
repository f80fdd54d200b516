from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.insilico_standins import plan_of
from training.errors import CohortPlanError
from training.insilico.cohort_name import CohortName
from training.insilico.cohort_plan import Counts, InsilicoPlan, read_plan
from training.insilico.patient_id import PatientId
from training.insilico.spect.spect_protocol import SpectMethod

SHIPPED = Path(__file__).parents[3] / "configs" / "cohort"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_cohort_can_be_read_and_bears_the_name_of_its_file(path: Path) -> None:
    assert read_plan(path).name == path.stem


def test_the_full_cohort_is_that_of_the_paper_by_the_full_method() -> None:
    plan = read_plan(SHIPPED / "full.toml")
    cohorts = [patient.cohort for patient in plan.patients]
    assert (cohorts.count(CohortName.NON_CANCER), cohorts.count(CohortName.LUNG_CANCER)) == (137, 33)
    assert plan.spect.method is SpectMethod.PYTOMOGRAPHY
    assert [str(plan.patients[k]) for k in (0, 136, 137, 169)] == ["NC-001", "NC-137", "LC-001", "LC-033"]
    assert len(set(plan.patients)) == 170


def test_all_mistakes_of_a_file_are_told_at_once_with_their_keys(tmp_path: Path) -> None:
    text = (SHIPPED / "full.toml").read_text()
    for old, new in (
        ("seed = 2022", "seed = -1"),
        ("spacing_mm = 1.5", "spacing_mm = 15"),
        ("matrix = 512", 'matrix = "512"'),
        ('encoding = "jpeg-ls"', 'encoding = "jpeg"'),
        ('method = "pytomography"', 'method = "fast"\ncolour = "red"'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "spoiled.toml"
    path.write_text(text)
    with pytest.raises(CohortPlanError) as refused:
        read_plan(path)
    keys = {problem.split(": ")[1] for problem in refused.value.problems}
    assert keys == {"seed", "body.spacing_mm", "ct.matrix", "ct.encoding", "spect.colour"}
    assert all(key in str(refused.value) for key in keys)


@pytest.mark.parametrize(
    ("content", "said"),
    [("name = ", "not valid TOML"), (None, "cannot be read"), ("", "Field required")],
    ids=["no TOML", "no file", "empty"],
)
def test_a_file_that_says_nothing_is_refused_with_the_reason(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "cohort.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CohortPlanError, match=said):
        read_plan(path)


def test_a_cohort_without_patients_is_refused(tmp_path: Path) -> None:
    text = (SHIPPED / "tiny.toml").read_text()
    path = tmp_path / "none.toml"
    path.write_text(text.replace("non_cancer = 2", "non_cancer = 0").replace("lung_cancer = 1", "lung_cancer = 0"))
    with pytest.raises(CohortPlanError, match="no patient at all"):
        read_plan(path)


def test_a_shipped_cohort_is_found_by_its_name_and_another_name_is_told() -> None:
    assert read_plan("tiny") == read_plan(SHIPPED / "tiny.toml")
    with pytest.raises(CohortPlanError, match=r"known are full, tiny, or a \.toml file"):
        read_plan("huge")


def test_a_count_is_not_negative() -> None:
    with pytest.raises(ValidationError):
        Counts(-1, 3)


def changed_in_what_makes_patients(plan: InsilicoPlan) -> list[InsilicoPlan]:
    return [
        replace(plan, seed=plan.seed + 1),
        replace(plan, body=replace(plan.body, spacing_mm=7.0)),
        replace(plan, body=replace(plan.body, territories=51)),
        replace(plan, ct=replace(plan.ct, matrix=65)),
        replace(plan, spect=replace(plan.spect, method=SpectMethod.PYTOMOGRAPHY)),
    ]


def test_the_digest_follows_what_makes_patients_and_not_how_many_there_are() -> None:
    plan = plan_of(2)
    same = [plan, plan_of(3, 4), replace(plan, name="other", statement="Another.")]
    assert len({each.making_digest for each in same}) == 1
    others = changed_in_what_makes_patients(plan)
    assert len({each.making_digest for each in (plan, *others)}) == 1 + len(others)


def test_chance_follows_seed_and_patient_and_not_how_many_there_are() -> None:
    first, second = plan_of(2).patients
    assert plan_of(2).draws(first) == plan_of(9, 9).draws(first)
    assert len({plan_of(2).draws(first), plan_of(2).draws(second), plan_of(2, seed=8).draws(first)}) == 3


@pytest.mark.parametrize("name", ["NC-001", "LC-033", "NC-1234"])
def test_a_name_stands_for_its_patient(name: str) -> None:
    assert str(PatientId.parse(name)) == name


@pytest.mark.parametrize("name", ["NC-01", "NC-0001", "XX-001", "NC-000", "nc-001", ".making", "NC-001.old"])
def test_other_names_stand_for_no_patient(name: str) -> None:
    with pytest.raises(ValueError, match=r"named like|numbered from"):
        PatientId.parse(name)
