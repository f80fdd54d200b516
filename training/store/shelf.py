"""`pairs/` of a store: one folder for each pair, there as a whole or not at all.

Whose pair it is stands in the folder's name too, so a patient can be removed whose manifest is damaged.
"""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from training.errors import StoreUnusable
from training.insilico.files.whole_folder import WORKSHOP, clear_workshop
from training.store.stored_pair import PairManifest, StoredPair


class Shelf:
    """The folders of all pairs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> tuple[str, ...]:
        """Of all pairs."""
        return tuple(sorted(path.name for path in self.folder.glob("*") if path.name != WORKSHOP))

    def names_of(self, patient: str) -> tuple[str, ...]:
        """Of the pairs of one patient."""
        return tuple(name for name in self.names() if patient_of(name) == patient)

    def pairs(self) -> Iterator[StoredPair]:
        """All pairs, by name. One that another process removes meanwhile is left out.

        Raises:
            StoreUnusable: a manifest is missing or damaged.
        """
        for path in (self.folder / name for name in self.names()):
            try:
                yield StoredPair(path, PairManifest.read(path))
            except StoreUnusable:
                if path.exists():
                    raise

    def discard(self, name: str) -> None:
        """Remove a pair: its name first, as a whole, then its files. Only under the lock of the store."""
        workshop = self.folder / WORKSHOP
        workshop.mkdir(exist_ok=True)
        (self.folder / name).rename(workshop / uuid4().hex)
        clear_workshop(self.folder)

    def clear_up(self) -> None:
        """Make the folder if there is none, and remove what killed processes left. Only under the lock of the store."""
        self.folder.mkdir(exist_ok=True)
        clear_workshop(self.folder)


def patient_of(name: str) -> str:
    """Pseudonym in the name of a pair (`entry.Entry.name`)."""
    return name.rpartition("-")[0]
