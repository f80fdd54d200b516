"""What one attempt at a delivery becomes in the audit trail: what arrived, and what did not and why."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydicom import dcmread

from dicom_node.audit.trail import SUCCESS, AuditTrail, StudyTransfer
from dicom_node.network.delivery import Destination, InstanceDelivery
from dicom_node.network.web_peer import DicomwebPeer

_TAGS = ["StudyInstanceUID", "PatientID", "SOPClassUID"]


def tell_delivery(
    audit: AuditTrail,
    destination: Destination | DicomwebPeer,
    due: Mapping[str, Path],
    instances: Iterable[InstanceDelivery],
    outcome: str = SUCCESS,
) -> None:
    """Report one attempt; one message for what arrived and one for what did not, as PS3.15 A.5.2 asks.

    Args:
        audit: the trail.
        destination: where to.
        due: what was to be sent, by SOP Instance UID.
        instances: what the destination said.
        outcome: `SUCCESS`, or the code of the error that ended the attempt.
    """
    stored = {i.sop_instance_uid for i in instances if i.is_stored}
    address = destination.url if isinstance(destination, DicomwebPeer) else str(destination.address)
    arrived = [path for uid, path in due.items() if uid in stored]
    if arrived:
        audit.instances_sent(address, studies_in(arrived))
    missing = [path for uid, path in due.items() if uid not in stored]
    if missing and outcome != SUCCESS:
        audit.instances_sent(address, studies_in(missing), outcome)


def studies_in(paths: Iterable[Path]) -> list[StudyTransfer]:
    """The studies that DICOM files belong to, with the number of files of each SOP class."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for path in paths:
        header = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        classes = found.setdefault((str(header.StudyInstanceUID), str(header.get("PatientID", ""))), {})
        classes[str(header.SOPClassUID)] = classes.get(str(header.SOPClassUID), 0) + 1
    return [StudyTransfer(study, patient, classes) for (study, patient), classes in found.items()]
