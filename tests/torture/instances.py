"""Small and large CT instances with known bytes, and the ledger of what a node has said about them.

The ledger is what makes a loss visible: it knows the SHA-256 of every dataset that was sent whole, and which of them
got Success.
"""

import hashlib
import itertools
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from inference.ct.instances import ct_instances
from inference.geometry import Grid
from inference.volumes import CtVolume, SeriesReference
from tests.small_ct import dataset_bytes, encoded, small_ct

SYNTAXES: Final = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless)
_SERIES_DIGITS: Final = 24
_counter = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Instance:
    """One encoded dataset."""

    sop_instance_uid: str
    series_instance_uid: str
    dataset: bytes

    @property
    def sha256(self) -> str:
        """Of the dataset."""
        return hashlib.sha256(self.dataset).hexdigest()


@dataclass(slots=True)
class SeriesMaker:
    """Makes series of new instances fast: one template, other UIDs and other pixels in every instance."""

    side: int
    chance: random.Random
    _head: bytes = field(init=False)
    _pixels: bytes = field(init=False)
    _old: bytes = field(init=False)

    def __post_init__(self) -> None:
        self._old = b"9" * _SERIES_DIGITS
        template = encoded(small_ct(100001, series=f"2.25.{self._old.decode()}", side=self.side))
        size = self.side * self.side * 2
        self._head, self._pixels = template[:-size], self.chance.randbytes(size)

    def series(self, count: int) -> list[Instance]:
        """A series that nobody has sent before."""
        digits = str(next(_counter)) + str(self.chance.randrange(10**20)).zfill(20)
        digits = digits[:_SERIES_DIGITS].ljust(_SERIES_DIGITS, "7").replace("0", "1", 1)
        series = f"2.25.{digits}"
        instances = []
        for number in range(1, count + 1):
            head = self._head.replace(self._old, digits.encode()).replace(b".100001", f".1{number:05d}".encode())
            pixels = self.chance.randbytes(16) + self._pixels[16:]
            instances.append(Instance(f"{series}.1{number:05d}", series, head + pixels))
        return instances


def small_files() -> dict[UID, Instance]:
    """The same full CT header with few pixels in each of `SYNTAXES`."""
    return {syntax: _small_file(syntax, f"2.25.31.{number}") for number, syntax in enumerate(SYNTAXES)}


def _small_file(syntax: UID, series: str) -> Instance:
    grid = Grid.axial((1, 8, 8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), frame_of_reference_uid="2.25.9")
    hu = np.arange(64, dtype=np.float32).reshape(grid.shape)
    source = SeriesReference("2.25.7", series, "2.25.9", (f"{series}.1",))
    (dataset,) = ct_instances(CtVolume(hu, grid, source))
    dataset.ReferencedImageSequence = [Dataset()]
    dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "2.25.3"
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    return Instance(
        f"{series}.1", series, encoded(dataset, ExplicitVRLittleEndian if syntax.is_encapsulated else syntax)
    )


@dataclass(slots=True)
class Ledger:
    """What was sent whole, and what the node has acknowledged."""

    acknowledged: dict[str, Instance] = field(default_factory=dict)
    """By SOP Instance UID, of series that are still in the spool."""
    sent: set[str] = field(default_factory=set)
    """SHA-256 of every dataset that was sent whole; nothing else may ever lie in the spool."""
    violations: list[str] = field(default_factory=list)
    verified: int = 0

    def note(self, instance: Instance, status: int | None) -> bool:
        """Remember an answer; whether it was Success. Threads may call it at the same time."""
        self.sent.add(instance.sha256)
        if status == 0x0000:
            self.acknowledged[instance.sop_instance_uid] = instance
        return status == 0x0000

    def verify(self, spool: Path) -> None:
        """Every acknowledged instance must be there with the same bytes, and nothing that was never sent whole."""
        present = set()
        for path in (spool / "incoming").glob("*/*.dcm"):
            digest = hashlib.sha256(dataset_bytes(path)).hexdigest()
            present.add(digest)
            if digest not in self.sent:
                self.violations.append("the spool holds an instance that was never sent whole")
            if path.name.strip("0123456789abcdef") != ".dcm":
                self.violations.append("a file name in the spool is no hash")
        self.verified += len(self.acknowledged)
        lost = sum(instance.sha256 not in present for instance in self.acknowledged.values())
        self.violations += ["an acknowledged instance is missing or altered"] * lost

    def clear(self, spool: Path) -> None:
        """Take all that was verified out of the spool, in one rename each, as the node itself does."""
        for folder in list((spool / "incoming").iterdir()):
            taken = spool / f"taken-{folder.name}"
            folder.rename(taken)
            shutil.rmtree(taken)
        self.acknowledged.clear()
