"""What the conformance statement says of associations that we open: storage, verification, query and retrieval."""

from typing import Final

from pydicom.datadict import tag_for_keyword
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from dicom_node.documents.page import Tables, table
from dicom_node.network.acceptance import STORAGE_CLASSES
from dicom_node.network.delivery import InstanceDelivery
from dicom_node.network.query import SERIES_FIELDS, STUDY_FIELDS
from dicom_node.network.verification_mode import Verify
from dicom_node.objects.kinds import OBJECT_SERIES

_STATUSES: Final = (
    (0x0000, "Success"),
    (0x0105, "No such attribute"),
    (0x0106, "Invalid attribute value"),
    (0x0110, "Processing failure"),
    (0x0111, "Duplicate SOP instance"),
    (0x0117, "Invalid SOP instance"),
    (0x0122, "SOP class not supported"),
    (0x0124, "Not authorised"),
    (0x0210, "Duplicate invocation"),
    (0x0211, "Unrecognised operation"),
    (0x0212, "Mistyped argument"),
    (0xA700, "Out of resources (A7xx)"),
    (0xA900, "Data set does not match SOP class (A9xx)"),
    (0xB000, "Coercion of data elements"),
    (0xB006, "Elements discarded"),
    (0xB007, "Data set does not match SOP class, stored"),
    (0xC000, "Cannot understand (Cxxx)"),
)
"""Statuses of C-STORE (PS3.4 table B.2-1, PS3.7 annex C), as far as this node tells them apart."""

_VERIFY_MEANS: Final = {
    Verify.AUTO: "commitment where it is accepted and answered at once, else query, else not verified, which is said",
    Verify.COMMITMENT: "N-ACTION; done when every instance is reported as committed",
    Verify.FIND: "done when a query by study and series lists every instance",
    Verify.NONE: "the C-STORE status is all there is",
}


def network_services_table() -> str:
    """Every service with its SOP classes and our roles."""
    returned = len({series.sop_class_uid for series in OBJECT_SERIES.values()})
    rows = [
        (Verification.name, "yes", "yes"),
        ("Storage: what is received (section 4.2)", "", f"{len(STORAGE_CLASSES)} SOP classes"),
        ("Storage: what is returned (section 5.1)", f"{returned} SOP classes", ""),
        (StorageCommitmentPushModel.name, "yes", "yes"),
        (StudyRootQueryRetrieveInformationModelFind.name, "yes", ""),
        (StudyRootQueryRetrieveInformationModelMove.name, "yes", ""),
        (StudyRootQueryRetrieveInformationModelGet.name, "yes", ""),
    ]
    return table(("service", "as user (SCU)", "as provider (SCP)"), rows)


def sent_classes_table() -> str:
    """Every SOP class that is sent, with the objects of that class."""
    kinds: dict[UID, list[str]] = {}
    for kind, series in OBJECT_SERIES.items():
        kinds.setdefault(series.sop_class_uid, []).append(f"`{kind}`")
    names = {series.sop_class_uid: series.sop_class_uid.name for series in OBJECT_SERIES.values()}
    return table(("SOP class", "UID", "objects"), [(names[u], str(u), ", ".join(found)) for u, found in kinds.items()])


def send_statuses_table() -> str:
    """What is done about each C-STORE status of a destination."""
    rows = []
    for status, name in _STATUSES:
        answer = InstanceDelivery("", "", status)
        if answer.is_stored:
            done = "stored; shown as a warning" if answer.is_warning else "stored"
        elif answer.is_doubtful:
            done = "sent once more, since peers answer so for passing troubles, too"
        elif answer.is_permanent:
            done = "not sent again by itself"
        else:
            done = "sent again, with the waits of `retry_delays_s`"
        rows.append((f"0x{status:04X}", name, done))
    return table(("status", "meaning", "what is done"), rows)


def verification_table() -> str:
    """The ways to make sure that a destination has kept what it was sent."""
    return table(("`verify`", "meaning"), [(f"`{way}`", _VERIFY_MEANS[way]) for way in Verify])


def query_keys_table() -> str:
    """The keys of queries by level."""
    rows = [("STUDY", _tagged(keyword)) for keyword in STUDY_FIELDS]
    rows += [("SERIES", _tagged(keyword)) for keyword in SERIES_FIELDS]
    rows.append(("IMAGE", _tagged("SOPInstanceUID")))
    return table(("level", "attribute"), rows)


def _tagged(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return f"{keyword} {Tag(tag)}"


TABLES: Tables = {
    "network-services": network_services_table,
    "sent-classes": sent_classes_table,
    "send-statuses": send_statuses_table,
    "verification": verification_table,
    "query-keys": query_keys_table,
}
