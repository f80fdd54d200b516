"""A folder full of in-silico patients: made by several processes, stopped and gone on with at any time.

A patient whose folder is there is whole (`whole_folder`) and is not made again. One that fails is told of at the end;
the others go on. `manifest.json` names all patients that are whole, with the digest of each one's record, which in
turn holds the digests of all its files.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from training.errors import CohortBusy, CohortUnwritable, NoPatient, OtherCohort
from training.insilico.cohort_name import CohortName
from training.insilico.cohort_plan import InsilicoPlan
from training.insilico.files.patient_files import RECORD, PatientFolder, write_patient
from training.insilico.files.patient_record import FORMAT, WHAT, json_bytes, plain, sha256_of
from training.insilico.files.whole_folder import clear_workshop, write_whole
from training.insilico.files.workers import Ended, Started, work_through
from training.insilico.patient import InsilicoPatient
from training.insilico.patient_id import PatientId

MANIFEST = "manifest.json"
_LOCK = ".lock"

Maker = Callable[[InsilicoPlan, PatientId], InsilicoPatient]


@dataclass(frozen=True, slots=True)
class MakingResult:
    """What a run did."""

    made: tuple[Ended[PatientId], ...]
    failed: tuple[Ended[PatientId], ...]
    kept: tuple[PatientId, ...]
    """Whole before the run began."""


def generated(plan: InsilicoPlan, patient: PatientId) -> InsilicoPatient:
    """The patient as `generation` makes it; loads it on first use, as it loads much else."""
    from training.insilico.generation import make_patient

    return make_patient(plan, patient)


def make_cohort(
    plan: InsilicoPlan,
    folder: Path,
    *,
    workers: int,
    remake: bool = False,
    make: Maker = generated,
    found: Callable[[int], None] = lambda whole: None,
    tell: Callable[[Started[PatientId] | Ended[PatientId]], None] = lambda event: None,
) -> MakingResult:
    """Make all patients of a plan that `folder` does not hold yet.

    Args:
        plan: what is made; equal plans give equal bytes, whatever the number of workers.
        folder: is made if need be.
        workers: processes; each needs up to 2 GB at the full resolution.
        remake: make patients of other settings or another version anew, instead of refusing.
        make: how a patient is made; a function of a module.
        found: is called once, with the number of patients that are there already.
        tell: is called at each start and end of a patient.

    Raises:
        OtherCohort: the folder holds patients that were made in another way; nothing was changed.
        CohortBusy: another process is at work in the folder.
        CohortUnwritable: the folder cannot be made or written.
    """
    with _sole_maker(folder):
        whole, others = _sorted_out(plan, folder)
        if others and not remake:
            raise OtherCohort(str(folder), tuple(str(patient) for patient in others))
        clear_workshop(folder)
        _write_manifest(plan, folder)
        wanted = [patient for patient in plan.patients if patient not in whole]
        found(len(plan.patients) - len(wanted))
        ends = []
        for event in work_through(wanted, partial(_make_one, make, plan, folder), workers=workers):
            tell(event)
            if isinstance(event, Ended):
                ends.append(event)
        clear_workshop(folder)
        _write_manifest(plan, folder)
    made = tuple(end for end in ends if end.failure is None)
    failed = tuple(end for end in ends if end.failure is not None)
    return MakingResult(made, failed, tuple(patient for patient in plan.patients if patient in whole))


def patient_folders(folder: Path) -> tuple[PatientFolder, ...]:
    """All whole patients in a folder, those without lung cancer first.

    Raises:
        NoPatient: a folder with the name of a patient is none; nothing but an accident leaves one.
    """
    named = [path for path in folder.iterdir() if path.is_dir() and _is_patient_name(path.name)]
    found = [PatientFolder.open(path) for path in named]
    order = list(CohortName)
    return tuple(sorted(found, key=lambda each: (order.index(each.patient.cohort), each.patient.number)))


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """The manifest of a cohort.

    Raises:
        NoPatient: there is none that this version reads.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except OSError as fault:
        raise NoPatient(str(folder), f"{MANIFEST} cannot be read: {fault.strerror}") from fault
    except ValueError as fault:
        raise NoPatient(str(folder), f"{MANIFEST} is not JSON") from fault
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise NoPatient(str(folder), f"{MANIFEST} is not of format {FORMAT}")
    return manifest


def _make_one(make: Maker, plan: InsilicoPlan, folder: Path, patient: PatientId) -> None:
    write_patient(make(plan, patient), plan, folder)


def _sorted_out(plan: InsilicoPlan, folder: Path) -> tuple[set[PatientId], list[PatientId]]:
    """Patients that are there as the plan wants them, and those that are there in another way."""
    whole, others = set(), []
    for each in patient_folders(folder):
        if each.making_digest == plan.making_digest:
            whole.add(each.patient)
        else:
            others.append(each.patient)
    return whole, others


def _write_manifest(plan: InsilicoPlan, folder: Path) -> None:
    """What the folder holds of the plan; patients of other plans, or beyond its counts, are not of this cohort."""
    whole = {each.patient: each for each in patient_folders(folder) if each.making_digest == plan.making_digest}
    here = [patient for patient in plan.patients if patient in whole]
    manifest = {
        "format": FORMAT,
        "what": WHAT,
        "plan": plain(asdict(plan)),
        "digest": plan.making_digest,
        "is_complete": len(here) == len(plan.patients),
        "cohorts": {cohort.value: [str(p) for p in here if p.cohort is cohort] for cohort in CohortName},
        "missing": [str(patient) for patient in plan.patients if patient not in whole],
        "record_sha256": {str(patient): sha256_of(whole[patient].path / RECORD) for patient in here},
    }
    write_whole(folder / MANIFEST, json_bytes(manifest))


def _is_patient_name(name: str) -> bool:
    try:
        PatientId.parse(name)
    except ValueError:
        return False
    return True


@contextmanager
def _sole_maker(folder: Path) -> Iterator[None]:
    """The folder for this process alone; the lock ends with the process, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor, folder)
            yield
        finally:
            os.close(descriptor)
    except OSError as fault:
        raise CohortUnwritable(str(folder), fault.strerror or type(fault).__name__) from fault


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as fault:
        raise CohortBusy(str(folder)) from fault
