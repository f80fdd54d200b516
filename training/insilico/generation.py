"""One in-silico patient, from a number to what hospitals would have of it, and the truth.

    person ─▶ body ─▶ arteries ─▶ diseases ─▶ tissue ─▶ flow ─▶ true perfusion
                                                │                   │
                                                ├─▶ CT              └─▶ SPECT
                                                └─▶ attenuation ────────▶┘

Perfusion follows from flow, and flow from arteries, capillaries and what nobody sees. The CT shows tissue and the
larger vessels, dense and wide by what they have carried for long, so it tells something of perfusion, as in patients,
and never all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int32

from inference.phantom.couch import CouchShape
from inference.volumes import CtVolume
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.arteries import grow_arteries
from training.insilico.arteries.artery_image import blood_share, paint_vessels
from training.insilico.arteries.calibre import calibres
from training.insilico.arteries.flow import flows
from training.insilico.arteries.territories import territory_map
from training.insilico.cohort_plan import InsilicoPlan
from training.insilico.ct.ct_files import ct_datasets
from training.insilico.ct.ct_scanner import CtScanner, scan_ct
from training.insilico.dicom_patient import dicom_patient
from training.insilico.diseases.artery_masks import artery_masks
from training.insilico.diseases.disease import Disease
from training.insilico.diseases.diseases import draw_diseases, shaped_by_disease
from training.insilico.diseases.embolism import Embolism
from training.insilico.diseases.vasoconstriction import Vasoconstriction
from training.insilico.draws import Draws
from training.insilico.hospitals import Hospital, draw_hospital
from training.insilico.patient import InsilicoPatient, Truth
from training.insilico.patient_id import PatientId
from training.insilico.people.body import make_body
from training.insilico.people.demography import PEOPLE_OF
from training.insilico.people.person import BreathingState, Person, draw_person
from training.insilico.spect.nuclear_instance import nuclear_instance
from training.insilico.spect.spect_scanner import scan_spect
from training.insilico.spect.spect_volume import SpectVolume
from training.insilico.tissue.blood_density import darkened_by_flow
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.perfusion import bed_conductance, true_perfusion
from training.insilico.uids import derived_uid

HIDDEN = (Embolism, Vasoconstriction)
"""Diseases that leave no sign on the CT: clots look like blood, and spasms come and go faster than vessels adapt."""


@dataclass(frozen=True, slots=True, eq=False)
class Lungs:
    """A patient's lungs with all that is wrong with them, and the blood that passes."""

    tissue: LungTissue
    arteries: ArterialTree
    diseases: tuple[Disease, ...]
    lumen: Float[np.ndarray, " segments"]
    """What is left of each artery's lumen."""
    territories: Int32[np.ndarray, "slices rows columns"]
    perfusion: Float32[np.ndarray, "slices rows columns"]
    """True, relative to the mean of both lungs."""
    shown_flow: Float[np.ndarray, " territories"]
    """What the CT tells of the flow of each territory, by density and by the width of vessels."""
    shown_lumen: Float[np.ndarray, " segments"]
    """What the CT shows of each artery's lumen: clots look like blood, and vessels adapt to what they carry."""


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """What both machines saw."""

    ct: CtVolume
    spect: SpectVolume


def make_patient(plan: InsilicoPlan, patient: PatientId) -> InsilicoPatient:
    """Make one patient of a cohort; equal arguments give equal patients.

    Args:
        plan: of the cohort.
        patient: which of its patients.
    """
    draws = plan.draws(patient)
    hospital = draw_hospital(patient.cohort, draws)
    scanner = hospital.draw_scanner(draws.of("ct")).with_matrix(plan.ct.matrix)
    person = draw_person(
        draws.of("person"),
        demography=PEOPLE_OF[patient.cohort],
        state=BreathingState.FREE if scanner.free_breathing else BreathingState.DEEP,
        couch=CouchShape.FLAT if scanner.flat_couch else CouchShape.CURVED,
    )
    lungs = perfused_lungs(plan, patient, person, draws)
    images = scanned(plan, person, lungs, hospital, scanner, draws)
    return _handed_over(plan, patient, person, lungs, images, hospital, scanner)


def perfused_lungs(
    plan: InsilicoPlan, patient: PatientId, person: Person, draws: Draws, *, is_healthy: bool = False
) -> Lungs:
    """The lungs of a person with disease, or as they would be without, and their true perfusion."""
    frame = derived_uid(draws.name, plan.making_digest, "frame of reference")
    body = make_body(person, plan.body.spacing_mm, frame_of_reference_uid=frame)
    if not is_healthy:
        body = shaped_by_disease(patient.cohort, draws, person, body)
    arteries = grow_arteries(body, draws, territories=plan.body.territories)
    diseases = () if is_healthy else draw_diseases(patient.cohort, draws, person, body, arteries)
    tissue = reduce(lambda so_far, disease: disease.damage(so_far), diseases, LungTissue.healthy(body))
    lumen = _lumen(arteries, diseases)
    territories = territory_map(arteries, tissue.lobes, tissue.grid)
    bed = bed_conductance(tissue, draws)
    healthy = bed_conductance(LungTissue.healthy(body), draws)
    shares = flows(arteries, _by_territory(bed, territories, arteries), lumen, healthy_bed=float(healthy.sum()))
    perfusion = true_perfusion(bed, territories, shares, tissue.lobes)

    showing = [disease for disease in diseases if not isinstance(disease, HIDDEN)]
    seen = reduce(lambda so_far, disease: disease.damage(so_far), showing, LungTissue.healthy(body))
    shown_bed = bed_conductance(seen, draws, unseen=False)
    pressed = _lumen(arteries, showing)
    shown = flows(arteries, _by_territory(shown_bed, territories, arteries), pressed, healthy_bed=float(healthy.sum()))
    calibre = np.minimum(pressed, calibres(arteries, shown))
    return Lungs(tissue, arteries, diseases, lumen, territories, perfusion, shown, calibre)


def _by_territory(
    bed: Float32[np.ndarray, "slices rows columns"],
    territories: Int32[np.ndarray, "slices rows columns"],
    arteries: ArterialTree,
) -> Float[np.ndarray, " territories"]:
    """The capillary bed of each territory: its voxels side by side."""
    inside = territories >= 0
    return np.bincount(territories[inside], weights=bed[inside], minlength=int(arteries.end.max()) + 1)


def _lumen(arteries: ArterialTree, diseases: Sequence[Disease]) -> Float[np.ndarray, " segments"]:
    lumen = np.ones(len(arteries.parent))
    for disease in diseases:
        lumen *= disease.narrow(arteries)
    return lumen


def scanned(
    plan: InsilicoPlan, person: Person, lungs: Lungs, hospital: Hospital, scanner: CtScanner, draws: Draws
) -> Images:
    """CT and SPECT of one visit."""
    tissue, shown = lungs.tissue, lungs.shown_lumen
    hu = darkened_by_flow(tissue.hu, lungs.territories, lungs.shown_flow)
    hu = paint_vessels(hu, tissue.lobes, lungs.arteries, tissue.grid, shown, flow=lungs.shown_flow)
    study = derived_uid(draws.name, plan.making_digest, "study")
    breathing = person.breathing
    ct = scan_ct(hu, tissue.lobes, tissue.grid, scanner, draws.of("ct"), study_instance_uid=study, breathing=breathing)
    spect = scan_spect(
        lungs.perfusion, hu, tissue.grid, breathing, hospital.spect, draws.of("spect"), method=plan.spect.method
    )
    return Images(ct, spect)


def _handed_over(
    plan: InsilicoPlan,
    patient: PatientId,
    person: Person,
    lungs: Lungs,
    images: Images,
    hospital: Hospital,
    scanner: CtScanner,
) -> InsilicoPatient:
    tissue, age = lungs.tissue, int(person.age_years)
    truth = Truth(
        grid=tissue.grid,
        lobes=tissue.lobes,
        perfusion=lungs.perfusion,
        vessels=blood_share(tissue.lobes, lungs.arteries, tissue.grid, lungs.shown_lumen),
        territories=lungs.territories,
        diseases={**tissue.masks, **artery_masks(lungs.diseases, lungs.arteries, lungs.territories)},
        arteries=lungs.arteries,
        lumen=lungs.lumen,
    )
    of_ct = dicom_patient(patient, sex=person.sex, age_years=age, series_description=scanner.protocol)
    of_spect = dicom_patient(patient, sex=person.sex, age_years=age, series_description="MAA perfusion SPECT")
    instances = ct_datasets(
        images.ct,
        scanner,
        patient=of_ct,
        institution=hospital.institution,
        transfer_syntax=plan.ct.encoding.transfer_syntax,
    )
    nuclear = nuclear_instance(images.spect, patient=of_spect, ct=images.ct.source, institution=hospital.institution)
    return InsilicoPatient(patient, instances, nuclear, truth, _facts(person, lungs, images, hospital, scanner))


def _facts(person: Person, lungs: Lungs, images: Images, hospital: Hospital, scanner: CtScanner) -> dict[str, Any]:
    return {
        "person": person,
        "hospital": hospital.name,
        "ct": scanner,
        "spect": {
            "method": images.spect.method,
            "protocol": images.spect.protocol,
            "counts": images.spect.counts,
            "shift_mm": images.spect.shift_mm,
        },
        "diseases": [{"name": disease.name, **disease.record()} for disease in lungs.diseases],
    }
