"""Whether the receiver would take a file: what it asks of an instance that a peer sends, asked of a file.

Nothing is decoded and nothing is kept; the file is read through a map of it, so its size costs no memory.
"""

import mmap
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.uid import UID

from dicom_node.errors import InstanceMismatch, InvalidInstance
from dicom_node.network.acceptance import STORAGE_CLASSES
from dicom_node.network.foreign_file import read_foreign_file
from dicom_node.reception.encoded_dataset import InstanceHeader, read_header

NOT_DICOM: Final = "NOT_DICOM"
SYNTAX_NOT_TAKEN: Final = "SYNTAX_NOT_TAKEN"
CLASS_NOT_TAKEN: Final = "CLASS_NOT_TAKEN"
_META_BYTES: Final = 1 << 16
"""File meta information lies within this; real ones have a few hundred bytes."""


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Why the receiver would not take a file. Holds no patient data."""

    code: str
    sentence: str


def read_at_door(path: Path, transfer_syntaxes: Collection[str]) -> InstanceHeader | TurnedAway:
    """The identity of the instance in a file, or why it would not be received.

    Args:
        path: a file of whatever content.
        transfer_syntaxes: UIDs of those that the receiver takes.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            return TurnedAway(NOT_DICOM, "The file is empty.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _read(content, transfer_syntaxes)


def _read(content: mmap.mmap, transfer_syntaxes: Collection[str]) -> InstanceHeader | TurnedAway:
    try:
        start = read_foreign_file(content[:_META_BYTES])
    except ValueError as fault:
        return TurnedAway(NOT_DICOM, f"The file is not DICOM as PS3.10 has it: {fault}.")
    if start.transfer_syntax_uid not in transfer_syntaxes:
        name = UID(start.transfer_syntax_uid).name
        return TurnedAway(SYNTAX_NOT_TAKEN, f"The receiver does not take the transfer syntax {_shown(name)}.")
    with memoryview(content)[start.dataset_offset :] as dataset:
        try:
            header = read_header(dataset, start.transfer_syntax_uid)
        except InvalidInstance as fault:
            return TurnedAway(fault.code, str(fault))
    if header.sop_class_uid not in STORAGE_CLASSES:
        return TurnedAway(CLASS_NOT_TAKEN, f"The receiver does not take {_shown(UID(header.sop_class_uid).name)}.")
    if (start.sop_class_uid, start.sop_instance_uid) != (header.sop_class_uid, header.sop_instance_uid):
        sentence = "Its file meta information names another SOP class or instance than its dataset."
        return TurnedAway(InstanceMismatch.code, sentence)
    return header


def _shown(name: str) -> str:
    """The name of the standard; what is not in it could be anything."""
    return name if name and not name[0].isdigit() and name.isprintable() and len(name) <= 64 else "that it has"
