"""Which received instances this node still holds durably: what it can honestly commit to when a peer asks.

An instance counts only if it lies under its final name, which it gets after the flush to disk, and only as the SOP
class that it was received as. Nothing is remembered apart from the files: what an operator has removed is not claimed.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydicom.filereader import read_file_meta_info

from dicom_node.durable_files import sync_directory
from dicom_node.reception.spool import key_of


@dataclass(frozen=True, slots=True)
class Holdings:
    """The folders of one node in which received instances lie, as `<key of the SOP Instance UID>.dcm`.

    In the order in which instances move on: one that moves while we look is found in the later folder.
    """

    roots: tuple[Path, ...]

    @classmethod
    def under(cls, data_dir: Path, shared_dir: Path) -> Self:
        """The holdings of a node with these directories. What an operator has discarded is none: it goes soon."""
        return cls((data_dir / "spool", data_dir / "unmatched", shared_dir / "cases", shared_dir / "structures"))

    def classes_of(self, sop_instance_uids: Sequence[str]) -> dict[str, str]:
        """The SOP Class UID of each of these instances that is held; the others are absent."""
        wanted = {f"{key_of(uid)}.dcm": uid for uid in sop_instance_uids}
        held: dict[str, str] = {}
        folders: set[Path] = set()
        for root in self.roots:
            for name, path in _files(root):
                if name in wanted and (sop_class := _class_of(Path(path), wanted[name])):
                    held[wanted[name]] = sop_class
                    folders.add(Path(path).parent)
        for folder in folders:  # a name may have come a moment ago, from a process that has not made it durable yet
            with contextlib.suppress(FileNotFoundError):  # moved meanwhile, which makes it durable at its new place
                sync_directory(folder)
        return held


def _files(root: Path) -> Iterator[tuple[str, str]]:
    for folder, _, names in os.walk(root):
        for name in names:
            yield name, f"{folder}/{name}"


def _class_of(path: Path, sop_instance_uid: str) -> str | None:
    """The SOP class of a file, if it is that instance and still there."""
    try:
        meta = read_file_meta_info(path)
    except Exception:  # moved or removed since it was listed, or spoilt on the disk: not held
        return None
    if str(meta.get("MediaStorageSOPInstanceUID", "")) != sop_instance_uid:
        return None
    return str(meta.get("MediaStorageSOPClassUID", "")) or None
