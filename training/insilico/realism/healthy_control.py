"""Healthy controls: patients of the generator with nothing wrong, for figures that were published of healthy people.

They belong to no cohort and leave no images: each is made in memory with the settings of a cohort and measured.
"""

import hashlib
import itertools
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from inference.phantom.couch import CouchShape
from training.insilico.cohort_name import CohortName
from training.insilico.cohort_plan import InsilicoPlan
from training.insilico.ct.ct_scanner import CtScanner
from training.insilico.draws import Draws
from training.insilico.files.whole_folder import write_whole
from training.insilico.generation import perfused_lungs, scanned
from training.insilico.hospitals import HOSPITALS, Hospital
from training.insilico.patient import Truth
from training.insilico.patient_id import PatientId
from training.insilico.people.person import BreathingState, draw_person
from training.insilico.realism.realism import VERSION, PatientFigures, Views, measure

COHORT = "healthy control"


def control_figures(plan: InsilicoPlan, number: int) -> PatientFigures:
    """Make and measure one control: those of odd number in free breathing, those of even number at deep inspiration.

    Args:
        plan: of the cohort that it is a control for; it shares all settings, and the seed.
        number: from 1.
    """
    draws = Draws(f"{plan.draws(PatientId(CohortName.NON_CANCER, number)).name}/healthy control")
    hospital, scanner = _examined(draws.of("examination"), free_breathing=number % 2 == 1)
    scanner = scanner.with_matrix(plan.ct.matrix)
    person = draw_person(
        draws.of("person"),
        state=BreathingState.FREE if scanner.free_breathing else BreathingState.DEEP,
        couch=CouchShape.FLAT if scanner.flat_couch else CouchShape.CURVED,
    )
    lungs = perfused_lungs(plan, PatientId(CohortName.NON_CANCER, number), person, draws, is_healthy=True)
    images = scanned(plan, person, lungs, hospital, scanner, draws)
    truth = Truth(
        grid=lungs.tissue.grid,
        lobes=lungs.tissue.lobes,
        perfusion=lungs.perfusion,
        vessels=np.zeros(lungs.tissue.grid.shape, np.float32),
        territories=lungs.territories,
        arteries=lungs.arteries,
        lumen=lungs.lumen,
    )
    facts = {
        "patient": f"control-{number:03d}",
        "cohort": COHORT,
        "hospital": hospital.name,
        "breath": person.state.value,
        "counts": images.spect.counts,
        "tumour_grade": -1,
    }
    return measure(Views(truth, images.ct, images.spect.values, images.spect.grid), facts)[0]


def _examined(draws: Draws, *, free_breathing: bool) -> tuple[Hospital, CtScanner]:
    """Hospital and scanner of one control: drawn until the scanner lets patients breathe as is wanted."""
    tries = itertools.count()
    while True:
        these = draws.of(f"try {next(tries)}")
        hospital = these.choice("hospital", dict.fromkeys(HOSPITALS, 1.0))
        scanner = hospital.draw_scanner(these.of("ct"))
        if scanner.free_breathing is free_breathing:
            return hospital, scanner


def kept_control(plan: InsilicoPlan, number: int, kept: Path) -> None:
    """Make and measure a control if its figures are not kept.

    Args:
        plan: of the cohort.
        number: from 1.
        kept: folder of the figures; is made.
    """
    file = control_file(plan, number, kept)
    if file.is_file():
        return
    figures = control_figures(plan, number)
    kept.mkdir(parents=True, exist_ok=True)
    write_whole(file, TypeAdapter(PatientFigures).dump_json(figures, indent=1))


def control_file(plan: InsilicoPlan, number: int, kept: Path) -> Path:
    """Where the figures of a control are kept, by what it is made from."""
    digest = hashlib.sha256(f"{plan.making_digest} {VERSION}".encode()).hexdigest()[:16]
    return kept / f"control-{number:03d}.{digest}.json"
