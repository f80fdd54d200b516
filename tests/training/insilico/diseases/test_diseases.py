"""The cohorts have the diseases of the table; equal draws give equal patients; every disease keeps to the lungs."""

import json
import math
from collections import Counter

import numpy as np
import pytest

from inference.anatomy import Lobe
from tests.insilico_trees import coarse_body, grown
from training.insilico.arteries.arteries import grow_arteries
from training.insilico.cohort_name import CohortName
from training.insilico.diseases.atelectasis import LobarCollapse
from training.insilico.diseases.diseases import draw_diseases, findings_besides, shaped_by_disease
from training.insilico.diseases.prevalence import BESIDES, EMPHYSEMA_KINDS, GRADES, LEADING, SEVERITY, Finding, Severity
from training.insilico.diseases.tumour import Tumour
from training.insilico.draws import Draws
from training.insilico.people.body import make_body
from training.insilico.people.person import draw_person
from training.insilico.tissue.lung_tissue import LungTissue

PATIENTS = 60
PERSON = draw_person(Draws("person"))


def drawn(cohort: CohortName, number: int) -> tuple:
    return draw_diseases(cohort, Draws(f"{cohort} {number}"), PERSON, coarse_body(), grown())


@pytest.fixture(scope="module")
def patients() -> dict[CohortName, list[tuple]]:
    return {cohort: [drawn(cohort, number) for number in range(PATIENTS)] for cohort in CohortName}


def test_shares_of_leading_findings_and_grades_sum_to_one() -> None:
    for cohort in CohortName:
        assert sum(rate.share for rate in LEADING[cohort].values()) == pytest.approx(1.0)
        assert all(0.0 < rate.share < 1.0 and rate.source for rate in BESIDES[cohort].values())
    assert sum(EMPHYSEMA_KINDS.values()) == pytest.approx(1.0)
    assert all(sum(weights.values()) == pytest.approx(1.0) for weights in GRADES.values())


def test_every_patient_with_cancer_has_one_tumour_and_no_other_patient_has(
    patients: dict[CohortName, list[tuple]],
) -> None:
    names = {cohort: [Counter(d.name for d in found) for found in patients[cohort]] for cohort in CohortName}
    assert all(count["tumour"] == 1 for count in names[CohortName.LUNG_CANCER])
    assert all(count["tumour"] == count["radiation-change"] == 0 for count in names[CohortName.NON_CANCER])
    normal = sum(not found for found in patients[CohortName.NON_CANCER])
    assert 1 <= normal <= 16
    emphysema = sum(any("emphysema" in d.name for d in found) for found in patients[CohortName.LUNG_CANCER])
    assert 18 <= emphysema <= 42


def test_what_comes_besides_is_as_often_as_the_table_says() -> None:
    count = 2000
    found = Counter(
        finding
        for number in range(count)
        for finding in findings_besides(CohortName.LUNG_CANCER, Finding.TUMOUR, Draws(f"{number}"), 65.0)
    )
    for finding, rate in BESIDES[CohortName.LUNG_CANCER].items():
        assert found[finding] / count == pytest.approx(rate.share, abs=4.0 * math.sqrt(rate.share / count))
    twice = (findings_besides(CohortName.NON_CANCER, Finding.EFFUSION, Draws(f"{n}"), 65.0) for n in range(200))
    assert not any(Finding.EFFUSION in besides for besides in twice)
    assert findings_besides(CohortName.NON_CANCER, Finding.NEARLY_NORMAL, Draws("x"), 65.0) == ()


def hilar_way_mm(tumour: Tumour) -> float:
    return float(np.linalg.norm(coarse_body().hilum_mm - np.array(tumour.centre_mm), axis=1).min())


def test_tumours_differ_in_grade_place_and_size(patients: dict[CohortName, list[tuple]]) -> None:
    tumours = [d for found in patients[CohortName.LUNG_CANCER] for d in found if isinstance(d, Tumour)]
    assert {t.grade for t in tumours} == {0, 1, 2, 3}
    assert 10 < sum(t.central for t in tumours) < 38
    way = {is_central: [hilar_way_mm(t) for t in tumours if t.central is is_central] for is_central in (True, False)}
    assert max(way[True]) < 60.0
    assert np.mean(way[True]) < 0.6 * np.mean(way[False])
    assert all(5.0 <= t.radius_mm <= 31.0 for t in tumours)
    assert all(bool(t.arteries) == (t.grade >= 2) for t in tumours)
    grid, lobes = coarse_body().grid, coarse_body().lobes
    struck = {int(lobes[tuple(np.round(grid.to_index(np.array(t.centre_mm))).astype(int))]) for t in tumours}
    assert struck - {0} == {int(lobe) for lobe in Lobe}
    assert 0 not in struck


def test_a_peripheral_tumour_has_lung_around_it() -> None:
    body = make_body(PERSON, 6.0)
    tree, tissue = grow_arteries(body, Draws("tree"), territories=100), LungTissue.healthy(body)
    shares = []
    for number in range(40):
        found = draw_diseases(CohortName.LUNG_CANCER, Draws(f"chest {number}"), PERSON, body, tree)
        for tumour in (d for d in found if isinstance(d, Tumour) and not d.central):
            ball_ml = 4.0 / 3.0 * math.pi * tumour.radius_mm**3 / 1000.0
            mask = tumour.damage(tissue).masks[tumour.name]
            shares.append(float(np.count_nonzero(mask)) * body.grid.voxel_volume_ml / ball_ml)
    assert min(shares) > 0.33


def test_equal_draws_give_equal_patients_and_records_are_json() -> None:
    for cohort in CohortName:
        for number in range(3):
            assert drawn(cohort, number) == drawn(cohort, number)
            assert all(json.dumps({d.name: d.record()}) for d in drawn(cohort, number))


def test_all_diseases_keep_to_the_lungs_and_take_no_air_from_elsewhere(
    patients: dict[CohortName, list[tuple]],
) -> None:
    body = coarse_body()
    kinds = {type(d): d for found in patients[CohortName.LUNG_CANCER] + patients[CohortName.NON_CANCER] for d in found}
    assert len(kinds) >= 11
    healthy = LungTissue.healthy(body)
    for disease in kinds.values():
        tissue, lumen = disease.damage(healthy), disease.narrow(grown())
        outside = body.lobes == 0
        np.testing.assert_array_equal(tissue.hu[outside], body.hu[outside])
        np.testing.assert_array_equal(tissue.lobes[outside], 0)
        assert (tissue.capillaries >= 0.0).all()
        assert (tissue.capillaries <= 1.0).all()
        assert (lumen >= 0.0).all()
        assert (lumen <= 1.0).all()
        assert all(not mask[outside].any() for mask in tissue.masks.values())
        assert tissue.hu.dtype == tissue.capillaries.dtype == np.float32


def test_a_collapse_has_shrunk_its_lobe_before_arteries_grew(patients: dict[CohortName, list[tuple]]) -> None:
    body, seen = coarse_body(), 0
    for cohort, found in patients.items():
        for number, diseases in enumerate(found):
            collapse = next((d for d in diseases if isinstance(d, LobarCollapse)), None)
            shaped = shaped_by_disease(cohort, Draws(f"{cohort} {number}"), PERSON, body)
            if collapse is None:
                assert shaped is body
            else:
                seen += 1
                assert (shaped.lobes == collapse.lobe).sum() < 0.5 * (body.lobes == collapse.lobe).sum()
    assert seen >= 3


@pytest.mark.parametrize("name", SEVERITY)
def test_severities_keep_their_limits(name: str) -> None:
    severity = SEVERITY[name]
    values = [severity.draw(Draws(f"{n}"), "x") for n in range(300)]
    assert severity.low <= min(values) < severity.median < max(values) <= severity.high
    assert np.median(values) == pytest.approx(severity.median, rel=0.2)


def test_severity_is_rounded_to_four_digits() -> None:
    assert Severity(0.0123456, 0.0, 0.001, 1.0, "ours").draw(Draws("x"), "y") == 0.01235
