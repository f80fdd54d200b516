"""The chain from a number to images and truth, on coarse bodies: what comes out belongs together and lies right."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from inference.anatomy import Side, lobes_of
from inference.ct.series import read_ct_series
from inference.geometry import Grid
from inference.images import Interpolation, resample
from training.insilico import generation
from training.insilico.arteries.branching import downstream
from training.insilico.cohort_name import CohortName
from training.insilico.cohort_plan import BodyPlan, Counts, CtPlan, InsilicoPlan, SpectPlan
from training.insilico.diseases.disease import Disease
from training.insilico.diseases.diseases import draw_diseases
from training.insilico.diseases.embolism import Embolism
from training.insilico.generation import HIDDEN, Lungs, make_patient, perfused_lungs, scanned
from training.insilico.hospitals import draw_hospital
from training.insilico.patient import InsilicoPatient
from training.insilico.patient_id import PatientId
from training.insilico.people.demography import PEOPLE_OF
from training.insilico.people.person import Person, draw_person
from training.insilico.spect.spect_protocol import SpectMethod
from training.insilico.tissue.blood_density import darkened_by_flow
from training.nuclear_image import read_nuclear_image

PLAN = InsilicoPlan(
    name="coarse",
    statement="For tests.",
    seed=3,
    counts=Counts(40, 3),
    body=BodyPlan(spacing_mm=6.0, territories=200),
    ct=CtPlan(matrix=96),
    spect=SpectPlan(SpectMethod.FAST),
)
FREE = PatientId(CohortName.LUNG_CANCER, 1)


@cache
def patient() -> InsilicoPatient:
    made = make_patient(PLAN, FREE)
    return replace(made, ct=tuple(made.ct))


def test_truth_holds_mean_one_and_nothing_outside_the_lungs() -> None:
    truth = patient().truth
    lungs = truth.lobes > 0
    assert truth.perfusion[lungs].mean(dtype=np.float64) == pytest.approx(1.0, abs=1e-4)
    assert not truth.perfusion[~lungs].any()
    assert ((truth.territories >= 0) == lungs).all()


def test_equal_arguments_give_equal_files() -> None:
    first, second = patient(), make_patient(PLAN, FREE)
    assert [d.PixelData for d in first.ct] == [d.PixelData for d in second.ct]
    assert [d.SOPInstanceUID for d in first.ct] == [d.SOPInstanceUID for d in patient().ct]
    assert first.nuclear.PixelData == second.nuclear.PixelData
    assert (first.truth.perfusion == second.truth.perfusion).all()


def test_another_seed_gives_another_patient() -> None:
    other = perfused_lungs(replace(PLAN, seed=4), FREE, person_of(FREE, seed=4), replace(PLAN, seed=4).draws(FREE))
    assert other.perfusion.shape != patient().truth.perfusion.shape or not np.allclose(
        other.perfusion, patient().truth.perfusion
    )


def test_ct_shows_the_lungs_where_the_truth_has_them() -> None:
    ct, truth = read_ct_series(list(patient().ct)), patient().truth
    lungs = resample(
        (truth.lobes > 0).astype(np.uint8), truth.grid, ct.grid, interpolation=Interpolation.NEAREST, outside=0.0
    )
    inside = ndimage.binary_erosion(lungs > 0, iterations=2)
    around = ndimage.binary_dilation(lungs > 0, iterations=3) & ~ndimage.binary_dilation(lungs > 0, iterations=1)
    assert ct.hu[inside].mean() < -550.0
    assert ct.hu[around].mean() > -350.0
    for axis in range(3):  # the same patient turned about would not pass
        turned = np.flip(inside, axis)
        assert ct.hu[turned].mean() > ct.hu[inside].mean() + 60.0


def test_spect_lies_on_the_true_perfusion_but_for_the_misalignment() -> None:
    spect, truth = read_nuclear_image(patient().nuclear), patient().truth
    shift = np.array(patient().facts["spect"]["shift_mm"])
    lungs = resample(
        (truth.lobes > 0).astype(np.uint8), truth.grid, spect.grid, interpolation=Interpolation.NEAREST, outside=0.0
    )
    seen = middle_mm(spect.values * ndimage.binary_dilation(lungs > 0, iterations=2), spect.grid)
    assert seen == pytest.approx(middle_mm(truth.perfusion, truth.grid) + shift, abs=6.0)
    at_spect = resample(truth.perfusion, truth.grid, spect.grid, interpolation=Interpolation.LINEAR, outside=0.0)
    agreement = np.corrcoef(spect.values.ravel(), at_spect.ravel())[0, 1]
    for axis in range(3):  # turned about, it agrees less
        assert np.corrcoef(np.flip(spect.values, axis).ravel(), at_spect.ravel())[0, 1] < agreement - 0.05


def test_people_are_drawn_for_their_cohort() -> None:
    draws = PLAN.draws(FREE).of("person")
    ages = {cohort: draw_person(draws, people).age_years for cohort, people in PEOPLE_OF.items()}
    assert patient().facts["person"].age_years == ages[CohortName.LUNG_CANCER] != ages[CohortName.NON_CANCER]


def test_the_ct_does_not_show_an_embolism(monkeypatch: pytest.MonkeyPatch) -> None:
    who, lungs = with_embolism()

    def others(*arguments: Any) -> tuple[Disease, ...]:
        return tuple(d for d in draw_diseases(*arguments) if not isinstance(d, HIDDEN))

    monkeypatch.setattr(generation, "draw_diseases", others)
    clear = perfused_lungs(PLAN, who, person_of(who), PLAN.draws(who))
    ill, well = (images_of(who, each).ct for each in (lungs, clear))
    assert (ill.hu == well.hu).all()
    assert (lungs.lumen < 1.0).any()
    assert not np.allclose(lungs.perfusion, clear.perfusion, atol=0.1)


def test_the_ct_shows_thin_vessels_and_darker_lung_behind_a_tumour() -> None:
    lungs = next(lungs for lungs in some_lungs(CohortName.LUNG_CANCER) if (lungs.lumen < 0.5).any())
    tree = lungs.arteries
    pressed = int(np.flatnonzero(lungs.lumen < 0.5)[0])
    below = np.flatnonzero(downstream(tree, pressed))[1:]
    assert lungs.shown_lumen[below].mean() < 0.8
    shown = darkened_by_flow(lungs.tissue.hu, lungs.territories, lungs.shown_flow)
    behind = np.isin(lungs.territories, tree.end[below][tree.end[below] >= 0])
    change = (shown - lungs.tissue.hu)[lungs.territories >= 0]
    assert (shown - lungs.tissue.hu)[behind].mean() < change.mean() - 10.0


def test_density_and_veins_of_the_ct_follow_the_flow() -> None:
    who = next(patient for patient in PLAN.patients if patient.cohort is CohortName.LUNG_CANCER)
    lungs = perfused_lungs(PLAN, who, person_of(who), PLAN.draws(who))
    left = np.unique(lungs.territories[np.isin(lungs.tissue.lobes, lobes_of(Side.LEFT))])
    poor = lungs.shown_flow.copy()
    poor[left] *= 0.2
    usual, darker = (images_of(who, replace(lungs, shown_flow=flow)).ct for flow in (lungs.shown_flow, poor))
    lobes = resample(
        lungs.tissue.lobes, lungs.tissue.grid, usual.grid, interpolation=Interpolation.NEAREST, outside=0.0
    )
    aerated = ndimage.binary_erosion(np.isin(lobes, lobes_of(Side.LEFT))) & (usual.hu < -600.0)
    assert (darker.hu - usual.hu)[aerated].mean() < -30.0


def middle_mm(values: np.ndarray, grid: Grid) -> np.ndarray:
    middle: np.ndarray = grid.to_patient_mm(np.array(ndimage.center_of_mass(values)))
    return middle


def person_of(who: PatientId, *, seed: int = PLAN.seed) -> Person:
    return draw_person(replace(PLAN, seed=seed).draws(who).of("person"))


def some_lungs(cohort: CohortName) -> Iterator[Lungs]:
    for who in (patient for patient in PLAN.patients if patient.cohort is cohort):
        yield perfused_lungs(PLAN, who, person_of(who), PLAN.draws(who))


def with_embolism() -> tuple[PatientId, Lungs]:
    for who in PLAN.patients:
        lungs = perfused_lungs(PLAN, who, person_of(who), PLAN.draws(who))
        if any(isinstance(disease, Embolism) for disease in lungs.diseases):
            return who, lungs
    raise AssertionError("no patient of the plan has an embolism")


def images_of(who: PatientId, lungs: Lungs):  # type: ignore[no-untyped-def]
    draws = PLAN.draws(who)
    hospital = draw_hospital(who.cohort, draws)
    scanner = hospital.draw_scanner(draws.of("ct")).with_matrix(PLAN.ct.matrix)
    return scanned(PLAN, person_of(who), lungs, hospital, scanner, draws)
