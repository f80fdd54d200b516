"""Stand-in patients for what is done with patients when they are made: real files, drawn in a moment."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from pydicom.dataset import FileDataset

from inference.ct.instances import PhantomPatient, ct_instances
from inference.geometry import Grid
from inference.phantom.build import varied
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, draw_thorax
from training.insilico.cohort_plan import BodyPlan, Counts, CtPlan, InsilicoPlan, SpectPlan
from training.insilico.patient import InsilicoPatient, Truth
from training.insilico.patient_id import PatientId
from training.insilico.spect.spect_protocol import SpectMethod

GRID = Grid.axial(
    (30, 40, 44), (10.0, 9.0, 9.0), (-193.5, -175.0, -155.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)
"""Axes of different lengths and spacings, and a position of its own, so that a mistaken axis shows."""
CT_GRID = Grid.axial(
    (41, 48, 52), (7.0, 7.5, 7.5), (-190.0, -170.0, -148.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)


def plan_of(non_cancer: int, lung_cancer: int = 0, *, seed: int = 7) -> InsilicoPlan:
    return InsilicoPlan(
        name="standin",
        statement="Stand-ins for tests.",
        seed=seed,
        counts=Counts(non_cancer, lung_cancer),
        body=BodyPlan(spacing_mm=8.0, territories=50),
        ct=CtPlan(matrix=64),
        spect=SpectPlan(SpectMethod.FAST),
    )


def standin_patient(plan: InsilicoPlan, patient: PatientId) -> InsilicoPatient:
    """A thorax of the digital phantom; the same for equal seeds and patients."""
    draws = plan.draws(patient)
    build = varied(draws.whole("build", 0, 10_000))
    thorax, ct = draw_thorax(GRID, build=build), draw_thorax(CT_GRID, build=build).ct
    vessels = np.where(thorax.ct.hu > -200.0, 0.5, 0.0).astype(np.float32) * (thorax.lobes.labels > 0)
    territories = thorax.lobes.labels.astype(np.int32) - 1
    truth = Truth(
        GRID, thorax.lobes.labels, thorax.perfusion.values, vessels, territories, {"tumour": thorax.tumour.copy()}
    )
    who = PhantomPatient(name=f"Insilico^{patient}", patient_id=f"INSILICO-{patient}")
    facts = {"who": {"sex": "F"}, "hospital": {"name": "stand-in"}, "diseases": [{"name": "tumour"}]}
    instances = ct_instances(ct, patient=who, transfer_syntax=plan.ct.encoding.transfer_syntax)
    return InsilicoPatient(patient, instances, instances[0], truth, facts)


def second_fails_and_third_dies(plan: InsilicoPlan, patient: PatientId) -> InsilicoPatient:
    """The second patient cannot be made; the process of the third is killed, as by a kernel that is out of memory."""
    if patient.number == 2:
        raise ValueError("no room for a heart")
    if patient.number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return standin_patient(plan, patient)


def third_never_ends(plan: InsilicoPlan, patient: PatientId) -> InsilicoPatient:
    """Of the third patient's CT three slices come, and then nothing."""
    made = standin_patient(plan, patient)
    return replace(made, ct=_three_and_no_more(made.ct)) if patient.number == 3 else made


def _three_and_no_more(instances: Iterable[FileDataset]) -> Iterator[FileDataset]:
    for number, instance in enumerate(instances):
        if number == 3:
            time.sleep(600.0)
        yield instance
