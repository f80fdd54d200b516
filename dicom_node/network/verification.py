"""Asks a destination whether it still has what it was sent: by Storage Commitment, by C-FIND, or both.

A commitment is the archive's promise and comes first. C-FIND says only that an instance is listed now. Instances are
looked for series by series with no other key than study and series: every archive answers that, while some answer lists
of SOP Instance UIDs with the first one only. The series are our own and hold little else.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pydicom import dcmread

from dicom_node.errors import CommitmentRefused, DeliveryInterrupted, QueryInterrupted, QueryRefused
from dicom_node.network.commitment import CommitmentBook, request_commitment
from dicom_node.network.commitment_messages import (
    CLASS_INSTANCE_CONFLICT,
    FAILURE_REASONS,
    NO_SUCH_INSTANCE,
    CommitmentReport,
    InstanceReference,
)
from dicom_node.network.delivery import Destination
from dicom_node.network.query import find_instances
from dicom_node.network.verification_mode import Verify
from dicom_node.network.web_peer import DicomwebPeer

_NOT_THERE: Final = (NO_SUCH_INSTANCE, CLASS_INSTANCE_CONFLICT)


@dataclass(frozen=True, slots=True)
class SentInstance:
    """An instance that was sent, and where an archive files it."""

    reference: InstanceReference
    study_instance_uid: str
    series_instance_uid: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """The instance in a DICOM file."""
        tags = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
        header = dcmread(path, stop_before_pixels=True, specific_tags=tags)
        reference = InstanceReference(str(header.SOPClassUID), str(header.SOPInstanceUID))
        return cls(reference, str(header.StudyInstanceUID), str(header.SeriesInstanceUID))

    @property
    def uid(self) -> str:
        """Its SOP Instance UID."""
        return self.reference.sop_instance_uid


@dataclass(frozen=True, slots=True)
class Verification:
    """What a destination said of each instance, by SOP Instance UID."""

    confirmed: Mapping[str, Verify]
    """And by which service."""
    missing: Mapping[str, str]
    """And why: the destination itself says that it has no such instance."""
    absent: tuple[str, ...]
    """Not found by a query; an archive may need a while to list what it has."""
    waiting: tuple[str, ...]
    """No answer yet, or one that says nothing."""
    is_offered: bool
    """Whether the destination offers a service that can say anything."""


def verify(
    instances: Sequence[SentInstance],
    destination: Destination | DicomwebPeer,
    book: CommitmentBook,
    *,
    transaction_uid: str,
    earlier: Iterable[str] = (),
    wait_s: float,
) -> Verification:
    """Ask a destination in the way that it is set to be asked.

    Args:
        instances: what it has answered for with Success, a warning or "duplicate".
        destination: whom to ask.
        book: where commitments are kept.
        transaction_uid: for a commitment, see `request_commitment`.
        earlier: transactions for the same instances, oldest first, whose answers count if they have come by now; only
            what they leave open is asked.
        wait_s: how long to hold the association for a commitment.

    Raises:
        PeerUnreachable, DeliveryInterrupted: it could not be asked.
        CommitmentRefused, QueryRefused, QueryTooWide: it offers the service but did not answer the question, or does
            not offer the one that it must be asked by.
    """
    reports = [report for known in earlier if (report := book.report(known)) is not None]
    confirmed, missing = _said(reports)
    taken, listed = bool(reports), False
    rest = [i for i in instances if i.uid not in confirmed and i.uid not in missing]
    if rest and isinstance(destination, Destination) and destination.verify in (Verify.AUTO, Verify.COMMITMENT):
        try:
            report = request_commitment([i.reference for i in rest], destination, transaction_uid, book, wait_s=wait_s)
        except (CommitmentRefused, DeliveryInterrupted):  # some archives abort what they do not allow
            if destination.verify is Verify.COMMITMENT:
                raise
        else:
            taken = True
            confirmed, missing = _said([*reports, report] if report else reports)
    rest = [i for i in instances if i.uid not in confirmed and i.uid not in missing]
    if rest and destination.verify in (Verify.AUTO, Verify.FIND):
        try:
            found = _listed(rest, destination)
        except QueryInterrupted:
            if destination.verify is not Verify.AUTO:
                raise
            found, taken = None, True  # some archives abort what they do not allow; others are only busy
        listed = found is not None
        confirmed |= {i.uid: Verify.FIND for i in rest if i.uid in (found or ())}
    left = tuple(i.uid for i in rest if i.uid not in confirmed)
    return Verification(confirmed, missing, left if listed else (), () if listed else left, taken or listed)


def _said(reports: Iterable[CommitmentReport]) -> tuple[dict[str, Verify], dict[str, str]]:
    """What is committed to, and what an archive says it does not have; of several reports the last one counts."""
    confirmed: dict[str, Verify] = {}
    missing: dict[str, str] = {}
    for report in reports:
        for instance in report.committed:
            confirmed[instance.sop_instance_uid] = Verify.COMMITMENT
            missing.pop(instance.sop_instance_uid, None)
        for instance, reason in report.failed.items():
            confirmed.pop(instance.sop_instance_uid, None)
            if reason in _NOT_THERE:
                missing[instance.sop_instance_uid] = FAILURE_REASONS[reason]
    return confirmed, missing


def _listed(instances: Sequence[SentInstance], destination: Destination | DicomwebPeer) -> set[str] | None:
    """The SOP Instance UIDs that the destination lists in the series of these instances; `None`: it offers no query."""
    found: set[str] = set()
    try:
        for study, series in sorted({(i.study_instance_uid, i.series_instance_uid) for i in instances}):
            found |= _instances_at(destination, study, series)
    except QueryRefused:
        if destination.verify is Verify.AUTO:  # not offered, or not to us
            return None
        raise
    return found


def _instances_at(destination: Destination | DicomwebPeer, study: str, series: str) -> set[str]:
    if isinstance(destination, DicomwebPeer):
        from dicom_node.network.dicomweb import stored_instances  # loads an HTTP library that most sites do not need

        return stored_instances(destination, study, series)
    return find_instances(destination, study, series)
