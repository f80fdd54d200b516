"""Files of received instances: what they are called, and what says that two hold the same."""

import hashlib
from pathlib import Path

from dicom_node.reception.part10 import dataset_offset


def key_of(uid: str) -> str:
    """A name for a UID that is safe in paths and says nothing about the patient in logs."""
    return hashlib.sha256(uid.encode("ascii", "replace")).hexdigest()[:32]


def content_digest(instances: tuple[Path, ...]) -> str:
    """SHA-256 over what a series holds: each instance's key with the hash of its transfer syntax and dataset bytes.

    The order of arrival, the sender and the version of this node do not change it; one other byte of a dataset does.
    """
    digest = hashlib.sha256()
    for path in sorted(instances, key=lambda path: path.name):
        content = path.read_bytes()
        offset, transfer_syntax_uid = dataset_offset(content)
        dataset = hashlib.sha256(transfer_syntax_uid.encode() + b"\n")
        dataset.update(memoryview(content)[offset:])
        digest.update(f"{path.stem} {dataset.hexdigest()}\n".encode())
    return digest.hexdigest()


def has_content(path: Path, transfer_syntax_uid: str, encoded_dataset: bytes) -> bool:
    """Whether the file of an instance holds this dataset in this transfer syntax."""
    content = path.read_bytes()
    offset, syntax = dataset_offset(content)
    return syntax == transfer_syntax_uid and memoryview(content)[offset:] == encoded_dataset
