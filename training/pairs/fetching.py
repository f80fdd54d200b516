"""From a list of patients, through an archive, into a study store: one patient at a time, each with what became of it.

    list ── perfnode fetch, as a child ── STORE's scratch folder ── find pairs ── de-identified into STORE ── emptied

Files that name a patient lie on the disk for as long as that one patient is worked on. All pairs of a patient who came
in as a whole get a line `fetched` in the store's audit, so that the same call goes on where it was; a patient of whom
anything failed is asked for again. Patients are told by the line of the list, never by their IDs.
"""

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from training.errors import StoreBusy
from training.pairs.archive_command import ArchiveCommand
from training.pairs.importing import hand_over
from training.pairs.pairing import find_pairs
from training.pairs.patient_list import ListedPatient
from training.pairs.scratch import empty, scratch_folder
from training.store.stored_pair import StoredPair
from training.store.study_store import StudyStore

FAILURES_IN_A_ROW = 3
"""Patients for whom the archive could not even be asked; then the rest is left for another day."""
_FETCHED = "fetched"


class Outcome(StrEnum):
    """What became of a patient of the list. Codes stay as they are."""

    IN = "IN"
    """All that the archive gave is in the store, with one pair or more."""
    ALREADY_IN = "ALREADY_IN"
    """That was so in an earlier call; the archive was not asked."""
    NOT_FOUND = "NOT_FOUND"
    """The archive has no CT, NM, PET or registration series of the patient."""
    FETCH_FAILED = "FETCH_FAILED"
    """Something did not come; nothing was looked at, since a link may hang on what is missing."""
    NO_PAIR = "NO_PAIR"
    """All came, and there is no pair in it."""
    REFUSED = "REFUSED"
    """The store did not take a pair."""
    OPTED_OUT = "OPTED_OUT"
    """The patient is on the store's list; the archive was not asked."""
    NOT_TRIED = "NOT_TRIED"
    """The archive had failed too often before."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One thing to know of a patient."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class FetchedPatient:
    """One line of the list, and what became of it."""

    line: int
    outcome: Outcome
    pairs: tuple[StoredPair, ...] = ()
    details: tuple[Detail, ...] = ()

    @property
    def is_in(self) -> bool:
        """Whether the store has all of the patient."""
        return self.outcome in (Outcome.IN, Outcome.ALREADY_IN)


def fetch_pairs(
    patients: Sequence[ListedPatient], archive: ArchiveCommand, store: StudyStore, *, by: str, again: bool = False
) -> Generator[FetchedPatient, None, None]:
    """Fetch patients and keep their pairs; one answer for each, in the order of the list, as soon as it is known.

    Args:
        patients: of the list.
        archive: where they are asked for.
        store: takes the pairs.
        by: who gave the command, for the store's audit.
        again: also ask for those who came in before, as for a new study.

    Raises:
        StoreBusy: another call fetches for this store, or another process writes into it.
        OSError: a file cannot be read or written.
    """
    scratch = store.folder.with_name(f".{store.folder.name}.fetching")
    failures = 0
    with scratch_folder(scratch, lambda: StoreBusy(str(store.folder))):
        for patient in patients:
            told = _known_before(patient, store, again=again)
            if told is None and failures >= FAILURES_IN_A_ROW:
                told = FetchedPatient(patient.line, Outcome.NOT_TRIED)
            if told is None:
                told, could_ask = _fetched(patient, archive, store, scratch, by)
                failures = 0 if could_ask else failures + 1
                empty(scratch)
            yield told


def _known_before(patient: ListedPatient, store: StudyStore, *, again: bool) -> FetchedPatient | None:
    pseudonym = store.pseudonym(patient.patient_id)
    if pseudonym in store.opted_out():
        return FetchedPatient(patient.line, Outcome.OPTED_OUT)
    whole = set()
    for line in store.audit().lines:
        if line["event"] == _FETCHED:
            whole.add(line["pair"])
        elif line["event"] in ("taking", "removed"):
            whole.discard(line["pair"])
    pairs = tuple(pair for pair in store.pairs() if pair.patient == pseudonym)
    if again or not any(pair.name in whole for pair in pairs):
        return None
    return FetchedPatient(patient.line, Outcome.ALREADY_IN, pairs)


def _fetched(
    patient: ListedPatient, archive: ArchiveCommand, store: StudyStore, scratch: Path, by: str
) -> tuple[FetchedPatient, bool]:
    """What became of a patient, and whether the archive could be asked."""
    folder = scratch / "in"
    answer = archive.fetch(patient.patient_id, folder, scratch)
    if answer.failures:
        details = tuple(Detail(failure.code, failure.sentence) for failure in answer.failures)
        return FetchedPatient(patient.line, Outcome.FETCH_FAILED, details=details), answer.could_ask
    if not answer.series:
        return FetchedPatient(patient.line, Outcome.NOT_FOUND), True
    return _imported(patient, folder, store, _peer_word(archive), by), True


def _imported(patient: ListedPatient, folder: Path, store: StudyStore, peer: str, by: str) -> FetchedPatient:
    pairs: list[StoredPair] = []
    refusals: list[Detail] = []
    details: list[Detail] = []
    asked = store.pseudonym(patient.patient_id)
    for findings in find_pairs(folder, is_wanted=lambda patient_id: store.pseudonym(patient_id) == asked):
        handed = hand_over(findings, store, by=by)
        pairs += handed.stored
        refusals += [Detail(each.code, each.sentence) for each in handed.refusals]
        details += [Detail(each.code.value, each.sentence) for each in handed.problems]
    outcome = Outcome.REFUSED if refusals else Outcome.IN if pairs else Outcome.NO_PAIR
    for pair in pairs if outcome is Outcome.IN else ():
        store.record(_FETCHED, pair.name, by=by, words={"peer": peer})
    return FetchedPatient(patient.line, outcome, tuple(pairs), (*refusals, *details))


def _peer_word(archive: ArchiveCommand) -> str:
    """The name of the peer as a word of the audit."""
    return re.sub("[^A-Z0-9_]", "_", archive.peer.upper())
