"""Volumes for the browser, made once and kept in the folder of their case, so that they go when the case goes.

    cases/<case id>/view/
        <volume>-<version>.nii      from one CT or result; another result makes another version
        <volume>-<version>.nii.gz   beside volumes that are sent packed
        lock                        held by whoever makes one

Whatever is here can be made again. Over all cases only so much is kept; what was looked at longest ago goes first.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from dicom_node.durable_files import remove_abandoned_parts, written_durably
from dicom_node.held_files import locked
from dicom_node.jobs.cases import CaseFolder
from dicom_node.web.viewer.volumes import VolumeName, pack, write_volume

VIEW_FOLDER: Final = "view"
"""In the folder of a case; a backup leaves it out."""
MOST_BYTES: Final = 4_000_000_000
"""About 25 cases of 512 x 512 x 200."""
_FORMAT: Final = "1"
"""Changes when the same input makes other files."""


@dataclass(frozen=True, slots=True)
class VolumeCache:
    """The volumes of one case."""

    case: CaseFolder
    most_bytes: int = MOST_BYTES
    """Of all cases beside it together."""

    def version(self, name: VolumeName) -> str:
        """Changes with what the volume is made from.

        Raises:
            FileNotFoundError: the case has no CT or result, or is not there any more.
        """
        source = self.case.result if name.is_of_result else self.case.ct
        facts = [path.stat() for path in (source, source.with_suffix(".json"))]
        text = "/".join(f"{fact.st_size}.{fact.st_mtime_ns}.{fact.st_ino}" for fact in facts)
        return hashlib.sha256(f"{_FORMAT}/{text}".encode()).hexdigest()[:16]

    def opened(self, name: VolumeName, *, packed: bool = False) -> BinaryIO:
        """A volume as an open file, made if it is not there; it stays readable whatever becomes of the case.

        Args:
            name: which.
            packed: by gzip.

        Raises:
            FileNotFoundError: the case has no CT or result, or is not there any more.
            OSError: the disk.
        """
        path = self._path(name)
        wanted = path.with_suffix(".nii.gz") if packed else path
        with suppress(FileNotFoundError):
            return _used(wanted)
        with self._lock():
            if not wanted.exists():
                self._make(name, path)
            return _used(wanted)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        folder = self.case.path / VIEW_FOLDER
        folder.mkdir(exist_ok=True)  # never its parent: the case may have gone
        with locked(folder / "lock"):
            yield

    def _path(self, name: VolumeName) -> Path:
        return self.case.path / VIEW_FOLDER / f"{name}-{self.version(name)}.nii"

    def _make(self, name: VolumeName, path: Path) -> None:
        remove_abandoned_parts(path.parent, "*.part")
        for old in path.parent.glob(f"{name}-????????????????.nii*"):
            old.unlink()
        with written_durably(path) as part:
            write_volume(self.case, name, part)
        if name.is_packed:
            with written_durably(path.with_suffix(".nii.gz")) as part:
                pack(path, part)
        self._make_room(path)

    def _make_room(self, newest: Path) -> None:
        kept = []
        for path in self.case.path.parent.glob(f"*/{VIEW_FOLDER}/*.nii*"):
            with suppress(FileNotFoundError):
                facts = path.stat()
                kept.append((facts.st_mtime, facts.st_size, path))
        too_much = sum(size for _, size, _ in kept) - self.most_bytes
        for _, size, path in sorted(kept):
            if too_much <= 0:
                return
            if not path.name.startswith(newest.name):
                path.unlink(missing_ok=True)
                too_much -= size


def _used(path: Path) -> BinaryIO:
    file = path.open("rb")
    with suppress(OSError):
        os.utime(path, (time.time(), time.time()))
    return file
