"""A folder of de-identified pairs for training: what comes in, what is there, what goes, and whether all is as it was.

    STORE/store.json       format, and which key it was made with
    STORE/pairs/NAME/      ct/, nuclear/, registration/ and pair.json with the SHA-256 of every file
    STORE/opted-out.json   pseudonyms of patients who must never be in it
    STORE/audit.jsonl      every change, chained (`audit_lines`)
    STORE.key              the key of the pseudonyms, beside the store, mode 0600; may be kept elsewhere
    STORE.key.notes/       what people wrote in their own words (`notes`); always beside the key

A pair is there as a whole or not at all, also after kill -9: its folder is filled under another name and renamed. The
next writer finishes what a killed one began, and who opted out or was removed is not seen by readers until then either.
Removed files are unlinked, not overwritten: on a disk that others can take away, encrypt it.

The file is longer than most, since it is the one place that knows in which order audit, list and folders are written.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from training.errors import PairRefused, StoreUnusable, WordsRefused
from training.insilico.files.whole_folder import whole_folder
from training.store.audit_lines import PAIR_EVENTS, AuditTrail, append_audit, read_audit
from training.store.entry import Entry
from training.store.header import read_key_id, write_header
from training.store.notes import Note, Notes
from training.store.opt_outs import EVENT, OptedOut, OptOuts, told
from training.store.pseudonyms import Pseudonyms
from training.store.repetition import AlreadyStored, require_new
from training.store.shelf import Shelf, patient_of
from training.store.store_lock import for_owner_only, writing
from training.store.stored_pair import MANIFEST, PairFiles, StoredPair, file_sha256
from training.store.verification import problems_of

PATIENCE_S: Final = 300.0
"""How long a writer waits for another one (ours): 141 slices took half a minute on a busy computer."""
FINISHED: Final = "(finished what an interrupted command began)"
"""Stands in the audit for who did it."""
MOST_OF_A_NAME: Final = 64
"""Letters of the name of a person, as in a DICOM name (PS3.5 6.2)."""
_PARTS: Final = ".*.json.*"
"""Files of a process that was killed while it wrote (`write_whole`)."""


class StudyStore:
    """The store in one folder. Reading needs no lock; each change takes it for as long as it lasts."""

    def __init__(self, folder: Path, pseudonyms: Pseudonyms, notes: Notes, now: Callable[[], datetime]) -> None:
        self.folder = folder
        self.patience_s = PATIENCE_S
        self._pseudonyms = pseudonyms
        self._notes = notes
        self._now = now
        self._opt_outs = OptOuts(folder / "opted-out.json")
        self._shelf = Shelf(folder / "pairs")
        self._audit = folder / "audit.jsonl"

    @classmethod
    def create(
        cls, folder: Path, key: Path | None = None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> "StudyStore":
        """Make an empty store and, where there is none yet, its key.

        Args:
            folder: must not hold anything.
            key: file of the key, outside of the folder; without it, beside the folder with `.key` behind its name.
            now: the clock of the audit.

        Raises:
            StoreUnusable: the folder holds something, or the key cannot be used.
            OSError: the file system refuses.
        """
        path = key_path(folder, key)
        if folder.exists() and set(folder.iterdir()) - set(folder.glob(_PARTS)):
            raise StoreUnusable(str(folder), "it is not empty, so no store can be made there")
        if path.resolve().is_relative_to(folder.resolve()):
            raise StoreUnusable(str(folder), "its key would lie inside of it, and be copied with it")
        with for_owner_only():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            if not path.exists():
                Pseudonyms.make_key(path)
            pseudonyms = Pseudonyms.from_file(path, store=folder)
            write_header(folder, pseudonyms.key_id)
        return cls(folder, pseudonyms, Notes.beside(path), now)

    @classmethod
    def open(
        cls, folder: Path, key: Path | None = None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> "StudyStore":
        """Open a store.

        Args:
            folder: the store.
            key: as in `create`.
            now: the clock of the audit.

        Raises:
            StoreUnusable: it is none, or the key is not the one it was made with.
        """
        made_with, path = read_key_id(folder), key_path(folder, key)
        pseudonyms = Pseudonyms.from_file(path, store=folder)
        if pseudonyms.key_id != made_with:
            raise StoreUnusable(str(folder), "the key is not the one it was made with")
        return cls(folder, pseudonyms, Notes.beside(path), now)

    def pairs(self) -> tuple[StoredPair, ...]:
        """All pairs, by name; of a patient who opted out there is none, also before all files are gone.

        Raises:
            StoreUnusable: a manifest or the list of opt-outs is missing or damaged.
        """
        trail = self.audit()
        gone = {name for name, line in trail.last_of_pairs.items() if line["event"] == "removed"}
        opted_out = self._opt_outs.patients(trail)
        return tuple(pair for pair in self._shelf.pairs() if pair.name not in gone and pair.patient not in opted_out)

    def pair(self, name: str) -> StoredPair:
        """One pair.

        Raises:
            StoreUnusable: there is none of this name.
        """
        found = next((pair for pair in self.pairs() if pair.name == name), None)
        if found is None:
            raise StoreUnusable(str(self.folder), f"it holds no pair {name}")
        return found

    def patients(self) -> tuple[str, ...]:
        """Pseudonyms of all patients; what `training.folds.part_of` is asked for."""
        return tuple(sorted({pair.patient for pair in self.pairs()}))

    def opted_out(self) -> tuple[str, ...]:
        """Pseudonyms of all who opted out.

        Raises:
            StoreUnusable: the list is damaged.
        """
        return tuple(sorted(self._opt_outs.patients(self.audit())))

    def pseudonym(self, patient_id: str) -> str:
        """What stands here for a Patient ID of the hospital, whether or not the store holds that patient."""
        return self._pseudonyms.patient(patient_id)

    def found(self, patient_id: str) -> frozenset[str]:
        """Pseudonyms of patients in the store that a Patient ID may mean; leading zeros do not count."""
        return self._pseudonyms.spellings(patient_id) & {patient_of(name) for name in self._shelf.names()}

    def audit(self) -> AuditTrail:
        """Every change so far; a broken chain is told in it."""
        return read_audit(self._audit)

    def note(self, about: str) -> Note | None:
        """What a person wrote of a pair or patient; lies beside the key.

        Raises:
            StoreUnusable: the note is damaged.
        """
        return self._notes.on(about)

    def take(self, files: PairFiles, *, by: str) -> StoredPair:
        """De-identify a pair and keep it. The same pair again gives what is there, and nothing is written twice.

        Args:
            files: the hospital's.
            by: who gave the command.

        Raises:
            PairRefused: it may not come in; the codes are those of `entry` and `repetition`, and OPTED_OUT.
            StoreBusy: another process writes.
            OSError: the file system refuses.
        """
        with self._writing(by) as by:
            entry = Entry.of(files, self._pseudonyms)
            if entry.spellings & self._opt_outs.patients(self.audit()):
                raise PairRefused("OPTED_OUT", f"{entry.patient} opted out")
            name = entry.name(self._pseudonyms)
            folder = self._shelf.folder / name
            try:
                with whole_folder(folder) as part:
                    manifest = entry.write(part, self._pseudonyms)
                    require_new(manifest, self.pairs())
                    sha256 = file_sha256(part / MANIFEST)
                    words = {"pair": name, "patient": entry.patient, "files": len(manifest.files), "manifest": sha256}
                    self._tell("taking", by, words)
            except AlreadyStored as known:
                return known.pair
            self._tell("taken", by, words)
            return StoredPair(folder, manifest)

    def remove(self, patient: str, *, by: str, reason: str = "") -> int:
        """Remove all pairs of a patient, and what was written of them.

        Args:
            patient: pseudonym.
            by: who gave the command.
            reason: why; is kept beside the key. Without it, an earlier one stays.

        Returns:
            How many pairs there were.

        Raises:
            WordsRefused: nobody is named, or the reason is too long.
            StoreBusy: another process writes.
        """
        with self._writing(by) as by:
            gone = self._shelf.names_of(patient)
            if gone and reason:
                self._notes.keep(patient, reason, by=by, now=self._now())
            self._remove(gone, by)
            return len(gone)

    def opt_out(self, patient_ids: Iterable[str], *, by: str) -> tuple[OptedOut, ...]:
        """Let patients never come in again, and remove what is there of them.

        Args:
            patient_ids: as the hospital writes them; only keyed hashes are kept. Leading zeros do not count.
            by: who gave the command.

        Returns:
            What became of each, in their order.

        Raises:
            WordsRefused: nobody is named.
            StoreBusy: another process writes.
        """
        with self._writing(by) as by:
            meant = [(self.pseudonym(one), self.found(one)) for one in patient_ids if one.strip()]
            known = self._opt_outs.patients(self.audit())
            gone = {name for patient, found in meant for name in (patient, *found)}
            self._opt_outs.write(known | gone)  # first: a crash must not let them back in
            counts = {patient: len(self._shelf.names_of(patient)) for patient in gone}
            for patient in sorted(gone):
                if patient not in known:
                    self._tell(EVENT, by, {"patient": patient})
                self._notes.forget(patient)
                self._remove(self._shelf.names_of(patient), by)
        return tuple(OptedOut(patient, sum(counts[name] for name in {patient, *found})) for patient, found in meant)

    def record(self, event: str, pair: str, *, by: str, words: Mapping[str, str], note: str = "") -> None:
        """Add a line of another room to the audit, as that a person accepted a pair.

        Args:
            event: one word in small letters.
            pair: name of the pair.
            by: who did it.
            words: codes; sentences could name the patient.
            note: sentences; are kept beside the key.

        Raises:
            ValueError: an event or a word is no code, or the event is one of the store's own.
            WordsRefused: nobody is named, or the note is too long.
            StoreUnusable: there is no such pair.
        """
        if not re.fullmatch("[a-z][a-z-]*", event) or not all(
            re.fullmatch("[a-z_0-9]+", key) and re.fullmatch("[A-Z0-9_]+", word) for key, word in words.items()
        ):
            raise ValueError("an audit line of a store holds codes")
        if event in (*PAIR_EVENTS, EVENT):
            raise ValueError(f"the store itself says {event}")
        with self._writing(by) as by:
            found = self.pair(pair)
            if note:
                self._notes.keep(pair, note, by=by, now=self._now())
            self._tell(event, by, {"pair": found.name, "patient": found.patient, **words})

    def verify(self) -> tuple[str, ...]:
        """Look at every file, every link and every audit line, and at who may read them.

        Returns:
            What is wrong, one sentence each; empty if nothing is.
        """
        trail = self.audit()
        try:
            listed, problems = self._opt_outs.listed(), list[str]()
        except StoreUnusable as fault:
            listed, problems = told(trail), [fault.reason]
        lost = sorted(told(trail) - listed)
        problems += [f"{patient} opted out, and opted-out.json does not say so" for patient in lost]
        return (*problems, *problems_of(self.folder, trail, listed | told(trail)))

    def _remove(self, names: Iterable[str], by: str) -> None:
        for name in names:
            self._tell("removed", by, {"pair": name, "patient": patient_of(name)})
            self._discard(name)

    def _discard(self, name: str) -> None:
        self._notes.forget(name)
        self._shelf.discard(name)

    def _tell(self, event: str, by: str, words: Mapping[str, Any]) -> None:
        try:
            append_audit(self._audit, event, self._now(), by, words)
        except ValueError as fault:
            raise StoreUnusable(str(self.folder), f"its audit trail was changed: {fault}") from fault

    @contextmanager
    def _writing(self, by: str) -> Iterator[str]:
        """One writer at a time, by name; what a killed one left is cleared, and what it began is finished."""
        by = by.strip()
        if not (by.isprintable() and 0 < len(by) <= MOST_OF_A_NAME):
            raise WordsRefused(f"who gives the command must be named, in 1 to {MOST_OF_A_NAME} printable letters")
        with writing(self.folder, patience_s=self.patience_s):
            self._shelf.clear_up()
            for part in self.folder.glob(_PARTS):
                part.unlink()
            self._notes.clear_parts()
            self._finish()
            yield by

    def _finish(self) -> None:
        trail = self.audit()
        opted_out = self._opt_outs.patients(trail)
        if opted_out - self._opt_outs.listed():
            self._opt_outs.write(opted_out)
        for patient in sorted(opted_out - told(trail)):
            self._tell(EVENT, FINISHED, {"patient": patient})
        lines = trail.last_of_pairs
        for name in self._shelf.names():
            line = lines.get(name, {})
            if line.get("event") == "removed":
                self._discard(name)
            elif patient_of(name) in opted_out:
                self._remove([name], FINISHED)
            elif line.get("event") == "taking":
                self._tell("taken", FINISHED, {k: line[k] for k in ("pair", "patient", "files", "manifest")})


def key_path(folder: Path, key: Path | None) -> Path:
    """Where the key of a store lies, unless it is said: beside it."""
    return key or folder.parent / f"{folder.name}.key"
