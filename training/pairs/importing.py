"""From the findings of a folder into a study store, pair by pair, with the reason for each that does not come in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.errors import PairRefused
from training.pairs.pair import ClinicalPair, PatientFindings, Problem
from training.pairs.pairing import find_pairs
from training.store.stored_pair import PairFiles, StoredLink, StoredPair
from training.store.study_store import StudyStore


@dataclass(frozen=True, slots=True)
class Refusal:
    """A pair that the store did not take."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class ImportedPatient:
    """What became of one patient of a folder."""

    patient_id: str
    """As the hospital writes it: for the screen of whoever imports, and nothing else. Empty for files of nobody."""
    stored: tuple[StoredPair, ...]
    refusals: tuple[Refusal, ...]
    problems: tuple[Problem, ...]
    """Of the patient and of all its pairs."""

    @property
    def is_in(self) -> bool:
        """Whether the store has a pair of the patient, and refused none."""
        return bool(self.stored) and not self.refusals


def import_folder(folder: Path, store: StudyStore, *, by: str) -> Iterator[ImportedPatient]:
    """Find all pairs in a folder and hand them to the store, which de-identifies them before it writes.

    What is there already is not written twice, so the same call goes on after an interruption.

    Args:
        folder: of the hospital's files; is only read.
        store: takes them.
        by: who gave the command, for the store's audit.

    Raises:
        StoreBusy: another process writes into the store.
        OSError: a file cannot be read or written.
    """
    for findings in find_pairs(folder):
        yield hand_over(findings, store, by=by)


def hand_over(findings: PatientFindings, store: StudyStore, *, by: str) -> ImportedPatient:
    """Hand the pairs of one patient to a store.

    Args:
        findings: of the patient.
        store: takes them.
        by: who gave the command.

    Raises:
        StoreBusy, OSError: as `import_folder`.
    """
    stored, refusals = [], []
    problems = list(findings.problems)
    for pair in findings.pairs:
        problems += pair.all_problems
        try:
            stored.append(store.take(_files(pair), by=by))
        except PairRefused as fault:
            refusals.append(Refusal(fault.reason_code, str(fault)))
    return ImportedPatient(findings.patient_id, tuple(stored), tuple(refusals), tuple(problems))


def _files(pair: ClinicalPair) -> PairFiles:
    """The pair as the store takes it: codes of problems instead of sentences."""
    codes = tuple(sorted({problem.code.value for problem in pair.all_problems}))
    matrix = tuple(float(value) for value in pair.link.rigid.matrix.ravel())
    link = StoredLink(pair.link.kind.value, matrix, dict(pair.link.quality), codes)
    return PairFiles(pair.ct.files, pair.spect.files, pair.registration, link)
