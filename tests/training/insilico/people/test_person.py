"""People are drawn as they are: lungs by sex, size and breath, lobes by published shares, and no two alike."""

from collections.abc import Sequence

import numpy as np
import pytest

from inference.anatomy import Lobe, Side
from inference.phantom.anatomy import lobe_labels
from inference.phantom.couch import CouchShape
from training.insilico.draws import Draws
from training.insilico.people.demography import Demography
from training.insilico.people.person import BreathingState, Person, Sex, draw_person

PUBLISHED_PERCENT = {Lobe.RUL: (17.9, 2.4), Lobe.RML: (9.3, 1.6), Lobe.RLL: (26.5, 2.6), Lobe.LUL: (23.1, 2.1)}
PUBLISHED_PERCENT |= {Lobe.LLL: (23.2, 2.4)}
"""Mean and standard deviation, PMC7490509, table 3."""
COUNT = 60


def lobes_ml(person: Person) -> np.ndarray:
    grid = person.build.field_of_view((7.0, 12.0, 12.0))
    labels = lobe_labels(person.build, *person.build.to_reference(*grid.coordinates_mm()))
    return np.bincount(labels.ravel(), minlength=6)[1:] * grid.voxel_volume_ml


@pytest.fixture(scope="module")
def people() -> list[Person]:
    return [draw_person(Draws(f"test/{number}")) for number in range(COUNT)]


@pytest.fixture(scope="module")
def volumes_ml(people: list[Person]) -> np.ndarray:
    return np.array([lobes_ml(person) for person in people])


def of(people: Sequence[Person], state: BreathingState, sex: Sex | None = None) -> list[int]:
    return [k for k, p in enumerate(people) if p.state is state and (sex is None or p.sex is sex)]


def test_equal_draws_give_one_person_and_no_two_are_alike(people: list[Person]) -> None:
    assert draw_person(Draws("test/7")) == people[7]
    assert len({person.build.deformation for person in people}) == COUNT
    assert len({person.build.right_oblique for person in people}) == COUNT


def test_lobes_have_the_published_shares(volumes_ml: np.ndarray) -> None:
    percent = 100 * volumes_ml / volumes_ml.sum(axis=1, keepdims=True)
    for lobe, (mean, sd) in PUBLISHED_PERCENT.items():
        assert percent[:, lobe - 1].mean() == pytest.approx(mean, abs=0.7), lobe.name
        assert percent[:, lobe - 1].std() == pytest.approx(sd, rel=0.25), lobe.name
    right = percent[:, :3].sum(axis=1)
    assert right.mean() == pytest.approx(53.6, abs=0.5)
    assert right.std() == pytest.approx(1.5, rel=0.25)


def test_each_lung_has_the_volume_that_the_person_says(people: list[Person], volumes_ml: np.ndarray) -> None:
    for person, volumes in zip(people, volumes_ml, strict=True):
        said = person.lung_ml.of(Side.RIGHT), person.lung_ml.of(Side.LEFT)
        assert (volumes[:3].sum(), volumes[3:].sum()) == pytest.approx(said, rel=0.05)


def test_lungs_are_as_large_as_published_and_larger_in_men_and_on_inspiration(
    people: list[Person], volumes_ml: np.ndarray
) -> None:
    litres = volumes_ml.sum(axis=1) / 1000
    free, deep = of(people, BreathingState.FREE), of(people, BreathingState.DEEP)
    men, women = (of(people, BreathingState.FREE, sex) for sex in (Sex.MALE, Sex.FEMALE))
    assert litres[free].mean() == pytest.approx(2.83, abs=0.35), "gas of 1.035 + 0.864 l at air fractions 0.68, 0.66"
    assert 0.35 < litres[free].std() < 0.8
    assert litres[deep].mean() == pytest.approx(4.47, abs=0.7), "COPD 2019: 4.468 +- 1.271 l"
    assert litres[men].mean() > 1.15 * litres[women].mean()


def test_density_follows_the_volume(people: list[Person]) -> None:
    free, deep = (
        np.array([people[k].mean_hu for k in of(people, state)]) for state in (BreathingState.FREE, BreathingState.DEEP)
    )
    assert free.mean() == pytest.approx(-725, abs=15)
    assert 20 < free.std() < 60
    assert deep.mean() < -800
    slopes = np.array(
        [p.build.gravity_hu_per_mm * (1 + 0.3 * p.build.base_gravity) / (1000 + p.mean_hu) for p in people]
    )
    assert slopes.mean() == pytest.approx(0.0026, rel=0.1)


def test_a_deep_breath_is_held_and_free_breathing_is_not(people: list[Person]) -> None:
    for person in people:
        assert person.breathing.is_held == (person.state is BreathingState.DEEP)
        assert 10.0 <= person.breathing.diaphragm_mm <= 20.0
        assert person.breathing.apex_mm - person.breathing.dome_mm > 1.5 * person.breathing.held_mm + 60.0


def test_couches_and_arms_vary_as_on_a_planning_or_a_diagnostic_scanner(people: list[Person]) -> None:
    flat = [person for person in people if person.couch is CouchShape.FLAT]
    assert 0.3 * COUNT < len(flat) < 0.8 * COUNT
    assert all(person.arms_up for person in flat)
    assert 0.02 * COUNT < sum(not person.arms_up for person in people) < 0.35 * COUNT
    assert all((person.build.breasts is not None) == (person.sex is Sex.FEMALE) for person in people)


def test_a_diaphragm_never_stands_where_none_can(people: list[Person]) -> None:
    domes = np.array([(p.build.diaphragm_mm.right, p.build.diaphragm_mm.left) for p in people])
    free = of(people, BreathingState.FREE)
    assert domes[free].mean(axis=1).min() > -90
    assert domes[free].mean(axis=1).max() < -23
    assert (domes[free, 0] > domes[free, 1]).mean() > 0.75


def test_fissures_are_curved_and_many_are_incomplete(people: list[Person]) -> None:
    for name, whole in (("right_oblique", 0.6), ("left_oblique", 0.7), ("horizontal", 0.4)):
        fissures = [getattr(person.build, name) for person in people]
        assert np.mean([fissure.seen == 1.0 for fissure in fissures]) == pytest.approx(whole, abs=0.2)
        assert any(0.0 < fissure.seen < 1.0 for fissure in fissures)
        assert np.std([fissure.bulge_mm for fissure in fissures]) > 2.0
        assert np.std([fissure.height_mm for fissure in fissures]) > 2.0


def test_a_cohort_of_men_has_men_only() -> None:
    men = Demography(share_of_men=1.0, age_years=70.0, age_sd_years=0.0)
    drawn = [draw_person(Draws(f"men/{k}"), men) for k in range(4)]
    assert {(p.sex, p.age_years) for p in drawn} == {(Sex.MALE, 70.0)}


@pytest.mark.parametrize("state", BreathingState)
@pytest.mark.parametrize("couch", CouchShape)
def test_the_hospital_says_how_the_patient_lies_and_breathes(state: BreathingState, couch: CouchShape) -> None:
    people = [draw_person(Draws(f"hospital/{k}"), state=state, couch=couch) for k in range(2)]
    assert {(p.state, p.couch, p.build.couch.shape) for p in people} == {(state, couch, couch)}
    free = draw_person(Draws("hospital/0"), state=BreathingState.FREE, couch=couch)
    assert (people[0].sex, people[0].height_m, people[0].lung_tissue_g) == (free.sex, free.height_m, free.lung_tissue_g)
