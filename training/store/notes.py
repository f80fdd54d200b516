"""What people write about pairs and patients in their own words, kept beside the key and never in the store.

    STORE.key.notes/NAME.json     the last note on a pair or patient: who, when, what

A sentence may name a patient ("Mrs Smith moved between the scans"), and no program can tell. So it lies where the key
lies, which is never copied with the store; the store's audit holds only that somebody decided, and what.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from training.errors import StoreUnusable, WordsRefused
from training.insilico.files.whole_folder import write_whole

MOST_LETTERS: Final = 2000
"""Ours: a note is a sentence or some, not a report."""


@dataclass(frozen=True, slots=True)
class Note:
    """Some sentences of a person."""

    about: str
    """Name of a pair, or pseudonym of a patient."""
    text: str
    by: str
    at: str
    """ISO 8601 with zone."""


class Notes:
    """The notes of one store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def beside(cls, key: Path) -> "Notes":
        """Those that go with a key."""
        return cls(key.with_name(f"{key.name}.notes"))

    def keep(self, about: str, text: str, *, by: str, now: datetime) -> None:
        """Write a note in place of an earlier one; only its owner can read it.

        Args:
            about: name of a pair or pseudonym of a patient.
            text: any words.
            by: who wrote them.
            now: with zone.

        Raises:
            WordsRefused: there is no text, or too much of it.
            OSError: it cannot be written.
        """
        text = text.strip()
        if not 0 < len(text) <= MOST_LETTERS:
            raise WordsRefused(f"a reason has 1 to {MOST_LETTERS} letters")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        note = Note(about, text, by, now.isoformat(timespec="seconds"))
        write_whole(self._path(about), (json.dumps(asdict(note), ensure_ascii=False, indent=1) + "\n").encode())

    def on(self, about: str) -> Note | None:
        """The note on a pair or patient, if there is one.

        Raises:
            StoreUnusable: it is damaged.
        """
        path = self._path(about)
        try:
            return TypeAdapter(Note).validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as fault:
            raise StoreUnusable(str(path), "the note is damaged: write it again, or remove the file") from fault

    def forget(self, about: str) -> None:
        """Remove the note on a pair or patient, if there is one."""
        self._path(about).unlink(missing_ok=True)

    def clear_parts(self) -> None:
        """Remove what a process left that was killed while it wrote. Only for one who knows that nobody writes."""
        for part in self.folder.glob(".*"):
            part.unlink(missing_ok=True)

    def _path(self, about: str) -> Path:
        return self.folder / f"{about}.json"
