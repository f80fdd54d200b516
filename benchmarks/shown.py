"""How much of perfusion the CTs of the cohort could tell at best, and how much their density tells.

    make bench-shown          (SHOWN="--patients 40"; 8 s of processor time each)

A CT of generator 2 shows flow by the width of vessels and the density of lung, and nothing of clots, of spasms and of
the unseen part of healthy variation (`training.insilico.generation`). Here both are set against the true perfusion by
Spearman's R, patient by patient, away from the surface of the lungs and as coarse as a SPECT:

* shown: perfusion as it would be without all that leaves no sign. A network that read widths and densities without any
  error would reach it.
* density: density of lung without noise, the simplest thing to be read.

The first number is not what a network can be asked for: density goes with the 0.15th power of flow and widths with the
third root, so that a tenth more flow is two HU and three hundredths of a vessel's width.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from statistics import mean

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage, stats

from training.insilico.cohort_name import CohortName
from training.insilico.cohort_plan import InsilicoPlan, read_plan
from training.insilico.ct.ct_scanner import CtScanner
from training.insilico.diseases.diseases import shaped_by_disease
from training.insilico.draws import Draws
from training.insilico.generation import HIDDEN, Lungs, perfused_lungs
from training.insilico.hospitals import draw_hospital
from training.insilico.patient_id import PatientId
from training.insilico.people.body import make_body
from training.insilico.people.demography import PEOPLE_OF
from training.insilico.people.person import BreathingState, Person, draw_person
from training.insilico.tissue.blood_density import darkened_by_flow
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.perfusion import bed_conductance, true_perfusion

SMOOTH_MM, MARGIN_MM = 6.0, 12.0
"""Standard deviation of a SPECT of 14 mm (full width at half maximum), and how far from the surface is looked."""

Image = Float32[np.ndarray, "slices rows columns"]


@dataclass(frozen=True)
class Told:
    """Spearman's R with the true perfusion of one patient."""

    patient: PatientId
    shown: float
    density: float


def told(plan: InsilicoPlan, patient: PatientId) -> Told:
    """How much the CT of a patient could tell."""
    draws = plan.draws(patient)
    person = _person(draws, draw_hospital(patient.cohort, draws).draw_scanner(draws.of("ct")), patient)
    lungs = perfused_lungs(plan, patient, person, draws)
    density = darkened_by_flow(lungs.tissue.hu, lungs.territories, lungs.shown_flow) + np.float32(1000.0)
    truth = _as_spect(lungs.perfusion, lungs)
    shown = _as_spect(_shown_perfusion(plan, patient, person, lungs, draws), lungs)
    return Told(patient, _r(shown, truth), _r(_as_spect(density, lungs), truth))


def _person(draws: Draws, scanner: CtScanner, patient: PatientId) -> Person:
    state = BreathingState.FREE if scanner.free_breathing else BreathingState.DEEP
    return draw_person(draws.of("person"), demography=PEOPLE_OF[patient.cohort], state=state)


def _shown_perfusion(plan: InsilicoPlan, patient: PatientId, person: Person, lungs: Lungs, draws: Draws) -> Image:
    """Perfusion without clots, spasms and unseen variation."""
    body = make_body(person, plan.body.spacing_mm, frame_of_reference_uid=lungs.tissue.grid.frame_of_reference_uid)
    healthy = LungTissue.healthy(shaped_by_disease(patient.cohort, draws, person, body))
    showing = [disease for disease in lungs.diseases if not isinstance(disease, HIDDEN)]
    tissue = reduce(lambda so_far, disease: disease.damage(so_far), showing, healthy)
    bed = bed_conductance(tissue, draws, unseen=False)
    return true_perfusion(bed, lungs.territories, lungs.shown_flow, tissue.lobes)


def _as_spect(image: Image, lungs: Lungs) -> Float32[np.ndarray, " voxels"]:
    """Blurred within the lungs, on every second or so voxel of the inner lungs."""
    grid, inside = lungs.tissue.grid, lungs.tissue.lobes > 0
    sigma = [SMOOTH_MM / spacing for spacing in grid.spacing_mm]
    share = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    blurred = ndimage.gaussian_filter(image * inside, sigma) / np.maximum(share, np.float32(1e-3))
    inner: Bool[np.ndarray, "slices rows columns"] = (
        ndimage.distance_transform_edt(inside, sampling=grid.spacing_mm) > MARGIN_MM
    )
    thinned = tuple(slice(None, None, max(1, round(SMOOTH_MM / spacing))) for spacing in grid.spacing_mm)
    values: Float32[np.ndarray, " voxels"] = blurred[thinned][inner[thinned]]
    return values


def _r(one: Float32[np.ndarray, " voxels"], other: Float32[np.ndarray, " voxels"]) -> float:
    return float(stats.spearmanr(one, other).statistic)


def _patients(plan: InsilicoPlan, count: int) -> Iterator[PatientId]:
    """As many of each cohort, spread over it."""
    for cohort in CohortName:
        of_cohort = [patient for patient in plan.patients if patient.cohort is cohort]
        yield from of_cohort[:: max(1, len(of_cohort) // count)][:count]


def main() -> int:
    """Print a line for each patient and the means of both cohorts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", default="full", help="plan of the cohort")
    parser.add_argument("--patients", type=int, default=20, help="of each cohort")
    chosen = parser.parse_args()
    plan, found = read_plan(chosen.plan), []
    for patient in _patients(plan, chosen.patients):
        found.append(told(plan, patient))
        print(f"{patient}  shown {found[-1].shown:.3f}  density {found[-1].density:.3f}", flush=True)
    for cohort in CohortName:
        these = [one for one in found if one.patient.cohort is cohort]
        print(f"{cohort.value}: {len(these)} patients, means: shown {mean(one.shown for one in these):.3f}", end="")
        print(f", density {mean(one.density for one in these):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
