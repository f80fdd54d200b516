"""What travels in Storage Commitment (PS3.4 annex J): transactions, references and failure reasons, read with care.

Everything here comes from or goes to another program; a dataset that is not what it should be is a `ValueError`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DatasetSequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

PUSH_MODEL: Final = str(StorageCommitmentPushModel)
PUSH_MODEL_INSTANCE: Final = str(StorageCommitmentPushModelInstance)
SYNTAXES: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)

MAXIMUM_INSTANCES: Final = 10_000
"""In one transaction; 1.1 MB of references. The longest CT series have 3,000 slices."""
MAXIMUM_BYTES: Final = 4 << 20

SUCCESS: Final = 0x0000
PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_INSTANCE: Final = 0x0112
NO_SUCH_EVENT_TYPE: Final = 0x0113
INVALID_ARGUMENT: Final = 0x0115
CLASS_INSTANCE_CONFLICT: Final = 0x0119
CLASS_NOT_SUPPORTED: Final = 0x0122
NO_SUCH_ACTION: Final = 0x0123
DUPLICATE_TRANSACTION: Final = 0x0131
RESOURCE_LIMITATION: Final = 0x0213

FAILURE_REASONS: Final[Mapping[int, str]] = {
    PROCESSING_FAILURE: "processing failure",
    NO_SUCH_INSTANCE: "no such object instance",
    CLASS_INSTANCE_CONFLICT: "stored under another SOP class",
    CLASS_NOT_SUPPORTED: "SOP class not supported for commitment",
    DUPLICATE_TRANSACTION: "transaction UID is in use",
    RESOURCE_LIMITATION: "resource limitation",
}
"""Failure Reason (0008,1197), PS3.3 C.14.1.1."""

ALL_COMMITTED: Final = 1
FAILURES_EXIST: Final = 2
"""Event Type IDs (PS3.4 table J.3-2)."""
REQUEST_COMMITMENT: Final = 1
"""Action Type ID (PS3.4 table J.3-1)."""
_UID: Final = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True, order=True)
class InstanceReference:
    """One SOP Instance, by name only."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What an archive said about the instances of one transaction."""

    transaction_uid: str
    committed: tuple[InstanceReference, ...]
    failed: Mapping[InstanceReference, int]
    """Failure reason by instance; 0 if the archive gave none."""


def action_information(transaction_uid: str, instances: Iterable[InstanceReference]) -> Dataset:
    """What N-ACTION carries."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = DatasetSequence(_item(i) for i in instances)
    return information


def read_action(information: Dataset) -> tuple[str, list[InstanceReference]]:
    """Transaction UID and instances of an N-ACTION.

    Raises:
        ValueError: it is not such a dataset, or names no instance, or too many.
    """
    instances = _references(information, "ReferencedSOPSequence")
    if not instances:
        raise ValueError("no instance is named")
    return _checked_uid(information, "TransactionUID"), instances


def event_information(report: CommitmentReport) -> tuple[int, Dataset]:
    """Event type and what N-EVENT-REPORT carries."""
    information = Dataset()
    information.TransactionUID = report.transaction_uid
    if report.committed:
        information.ReferencedSOPSequence = DatasetSequence(_item(i) for i in report.committed)
    if not report.failed:
        return ALL_COMMITTED, information
    items = []
    for instance, reason in report.failed.items():
        items.append(_item(instance))
        items[-1].FailureReason = reason
    information.FailedSOPSequence = DatasetSequence(items)
    return FAILURES_EXIST, information


def read_report(information: Dataset) -> CommitmentReport:
    """What an N-EVENT-REPORT says.

    Raises:
        ValueError: it is not such a dataset.
    """
    failed = {}
    for item, instance in zip(
        information.get("FailedSOPSequence") or [], _references(information, "FailedSOPSequence"), strict=True
    ):
        failed[instance] = int(item.get("FailureReason") or 0)
    committed = tuple(_references(information, "ReferencedSOPSequence"))
    return CommitmentReport(_checked_uid(information, "TransactionUID"), committed, failed)


def _item(instance: InstanceReference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = instance.sop_class_uid
    item.ReferencedSOPInstanceUID = instance.sop_instance_uid
    return item


def _references(information: Dataset, keyword: str) -> list[InstanceReference]:
    items = information.get(keyword) or []
    if len(items) > MAXIMUM_INSTANCES:
        raise ValueError(f"more than {MAXIMUM_INSTANCES} instances")
    return [
        InstanceReference(_checked_uid(i, "ReferencedSOPClassUID"), _checked_uid(i, "ReferencedSOPInstanceUID"))
        for i in items
    ]


def _checked_uid(dataset: Dataset, keyword: str) -> str:
    uid = str(dataset.get(keyword, ""))
    if not _UID.fullmatch(uid):
        raise ValueError(f"{keyword} is no UID")
    return uid
