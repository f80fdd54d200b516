"""A folder of de-identified pairs for training: what comes in, what is there, what goes, and whether all is as it was.

    STORE/store.json       format, and which key it was made with
    STORE/pairs/NAME/      ct/, nuclear/, registration/ and pair.json with the SHA-256 of every file
    STORE/opted-out.json   pseudonyms of patients who must never be in it
    STORE/audit.jsonl      every change, chained (`audit_lines`)
    STORE.key              the key of the pseudonyms, beside the store, mode 0600; may be kept elsewhere

A pair is there as a whole or not at all, also after kill -9: its folder is filled under another name and renamed.
Removed files are unlinked, not overwritten: on a disk that others can take away, encrypt it.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from training.errors import PairRefused, StoreBusy, StoreUnusable
from training.insilico.files.whole_folder import WORKSHOP, clear_workshop, whole_folder, write_whole
from training.store.audit_lines import append_audit, read_audit
from training.store.entry import Entry
from training.store.pseudonyms import Pseudonyms
from training.store.repetition import AlreadyStored, require_new
from training.store.stored_pair import MANIFEST, PairFiles, PairManifest, StoredPair, file_sha256
from training.store.verification import problems_of

FORMAT = 1


class StudyStore:
    """The store in one folder. Reading needs no lock; each change takes it for as long as it lasts."""

    def __init__(self, folder: Path, pseudonyms: Pseudonyms, now: Callable[[], datetime]) -> None:
        self.folder = folder
        self._pseudonyms = pseudonyms
        self._now = now

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
        """
        path = _key_path(folder, key)
        if folder.exists() and any(folder.iterdir()):
            raise StoreUnusable(str(folder), "it is not empty, so no store can be made there")
        if path.resolve().is_relative_to(folder.resolve()):
            raise StoreUnusable(str(folder), "its key would lie inside of it, and be copied with it")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            Pseudonyms.make_key(path)
        pseudonyms = Pseudonyms.from_file(path, store=folder)
        content = json.dumps({"format": FORMAT, "key_id": pseudonyms.key_id}) + "\n"
        write_whole(folder / "store.json", content.encode())
        return cls(folder, pseudonyms, now)

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
        try:
            content = json.loads((folder / "store.json").read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"it is not of format {FORMAT}")
            key_id = content["key_id"]
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise StoreUnusable(str(folder), "store.json is missing or damaged") from fault
        pseudonyms = Pseudonyms.from_file(_key_path(folder, key), store=folder)
        if pseudonyms.key_id != key_id:
            raise StoreUnusable(str(folder), "the key is not the one it was made with")
        return cls(folder, pseudonyms, now)

    def pairs(self) -> tuple[StoredPair, ...]:
        """All pairs, by name.

        Raises:
            StoreUnusable: a manifest is missing or damaged.
        """
        folders = sorted(path for path in self._pairs_folder.glob("*") if path.name != WORKSHOP)
        return tuple(StoredPair(path, PairManifest.read(path)) for path in folders)

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
        """Pseudonyms of all patients; what `training.folds` deals out."""
        return tuple(sorted({pair.patient for pair in self.pairs()}))

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
        with self._locked():
            entry = Entry.of(files, self._pseudonyms)
            if entry.patient in self._opted_out():
                raise PairRefused("OPTED_OUT", f"{entry.patient} opted out")
            name = entry.name(self._pseudonyms)
            folder = self._pairs_folder / name
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

    def remove(self, patient: str, *, by: str) -> int:
        """Remove all pairs of a patient.

        Args:
            patient: pseudonym.
            by: who gave the command.

        Returns:
            How many pairs there were.

        Raises:
            StoreBusy: another process writes.
        """
        with self._locked():
            return self._remove(patient, by)

    def opt_out(self, patient_ids: Iterable[str], *, by: str) -> tuple[str, ...]:
        """Let patients never come in again, and remove what is there of them.

        Args:
            patient_ids: as the hospital writes them; only keyed hashes are kept.
            by: who gave the command.

        Returns:
            Their pseudonyms.

        Raises:
            StoreBusy: another process writes.
        """
        gone = tuple(sorted({self._pseudonyms.patient(one) for one in patient_ids if one.strip()}))
        with self._locked():
            content = json.dumps(sorted({*self._opted_out(), *gone}), indent=1) + "\n"
            write_whole(self.folder / "opted-out.json", content.encode())  # first: a crash must not let them back in
            for patient in gone:
                self._tell("opted-out", by, {"patient": patient})
                self._remove(patient, by)
        return gone

    def record(self, event: str, pair: str, *, by: str, words: Mapping[str, str]) -> None:
        """Add a line of another room to the audit, as that a person accepted a pair.

        Args:
            event: one word in small letters.
            pair: name of the pair.
            by: who did it.
            words: codes; sentences could name the patient.

        Raises:
            ValueError: an event or a word is no code.
            StoreUnusable: there is no such pair.
        """
        if not re.fullmatch("[a-z][a-z-]*", event) or not all(
            re.fullmatch("[a-z_]+", key) and re.fullmatch("[A-Z0-9_]+", word) for key, word in words.items()
        ):
            raise ValueError("an audit line of a store holds codes")
        with self._locked():
            found = self.pair(pair)
            self._tell(event, by, {"pair": found.name, "patient": found.patient, **words})

    def verify(self) -> tuple[str, ...]:
        """Look at every file, every link and every audit line.

        Returns:
            What is wrong, one sentence each; empty if nothing is.
        """
        return problems_of(self._pairs_folder, self._audit, self._opted_out())

    @property
    def _pairs_folder(self) -> Path:
        return self.folder / "pairs"

    @property
    def _audit(self) -> Path:
        return self.folder / "audit.jsonl"

    def _opted_out(self) -> frozenset[str]:
        path = self.folder / "opted-out.json"
        try:
            return frozenset(json.loads(path.read_text(encoding="utf-8")) if path.exists() else ())
        except ValueError as fault:
            raise StoreUnusable(str(self.folder), "opted-out.json is damaged") from fault

    def _remove(self, patient: str, by: str) -> int:
        gone = [pair for pair in self.pairs() if pair.patient == patient]
        for pair in gone:
            self._tell("removed", by, {"pair": pair.name, "patient": patient})
            self._discard(pair.folder)
        return len(gone)

    def _discard(self, folder: Path) -> None:
        workshop = self._pairs_folder / WORKSHOP
        workshop.mkdir(exist_ok=True)
        folder.rename(workshop / uuid4().hex)  # gone as a whole, before its files are
        clear_workshop(self._pairs_folder)

    def _tell(self, event: str, by: str, words: Mapping[str, Any]) -> None:
        try:
            append_audit(self._audit, event, self._now(), by, words)
        except ValueError as fault:
            raise StoreUnusable(str(self.folder), f"its audit trail was changed: {fault}") from fault

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time; what a killed one left is cleared, and its removal finished."""
        descriptor = os.open(self.folder / "store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            os.close(descriptor)
            raise StoreBusy(str(self.folder)) from fault
        try:
            self._pairs_folder.mkdir(exist_ok=True)
            clear_workshop(self._pairs_folder)
            self._finish_removals()
            yield
        finally:
            os.close(descriptor)

    def _finish_removals(self) -> None:
        last = {line["pair"]: line["event"] for line in read_audit(self._audit).lines if "pair" in line}
        for name, event in last.items():
            if event == "removed" and (self._pairs_folder / name).exists():
                self._discard(self._pairs_folder / name)


def _key_path(folder: Path, key: Path | None) -> Path:
    return key or folder.parent / f"{folder.name}.key"
