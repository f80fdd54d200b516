"""A study store of six coarse in-silico patients whose key is chosen so that the small recipe deals them well."""

from pathlib import Path

import numpy as np

from tests.training.small_cohort import make_cohort
from training.folds import part_of
from training.insilico.files.patient_files import PatientFolder
from training.pairs.review import decide
from training.store.pseudonyms import Pseudonyms
from training.store.stored_pair import PairFiles, StoredLink
from training.store.study_store import StudyStore

NAMES = tuple(f"{letters}-{number:03d}" for letters in ("LC", "NC") for number in (1, 2, 3))


def make_patients(folder: Path) -> Path:
    """The six patients as DICOM."""
    return make_cohort(
        folder,
        ("non_cancer = 2", "non_cancer = 3"),
        ("lung_cancer = 1", "lung_cancer = 3"),
        ("spacing_mm = 5.0", "spacing_mm = 6.0"),
        ("territories = 150", "territories = 120"),
    )


def make_store(cohort: Path, folder: Path) -> StudyStore:
    """All six in a store, accepted; two are held out and each fold has two."""
    key = folder.parent / f"{folder.name}.key"
    key.write_text(_key().hex() + "\n")
    key.chmod(0o600)
    store = StudyStore.create(folder)
    link = StoredLink("frame-of-reference", tuple(np.eye(4).ravel()))
    for name in NAMES:
        patient = PatientFolder.open(cohort / name)
        pair = store.take(PairFiles(tuple(patient.ct_files), (patient.nuclear_file,), None, link), by="a test")
        decide(store, pair.name, is_accepted=True, by="a test", reason="drawn so")
    return store


def _key() -> bytes:
    """The first key by which parts 0, 1 and 2 of three have two patients each, one of whom chooses the step."""
    for number in range(100_000):
        key = number.to_bytes(32)
        patients = [Pseudonyms(key).patient(f"INSILICO-{name}") for name in NAMES]
        dealt = sorted((part_of(each, 3), part_of(f"validation/{each}", 3) == 0) for each in patients)
        if [part for part, _ in dealt] == [0, 0, 1, 1, 2, 2] and [chooses for _, chooses in dealt[2:]] == [
            False,
            True,
        ] * 2:
            return key
    raise AssertionError("no key deals the patients well")
