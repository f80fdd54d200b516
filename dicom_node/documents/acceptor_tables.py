"""What the conformance statement says of associations that others open: acceptance, storage, commitment."""

from collections.abc import Mapping
from typing import Final

from pydicom.uid import UID
from pynetdicom.sop_class import RTStructureSetStorage, Verification

from dicom_node.documents.page import Tables, table
from dicom_node.network.acceptance import (
    LOSSY_TRANSFER_SYNTAXES,
    STATUS_BY_ERROR,
    STORAGE_CLASSES,
    SUCCESS,
    TRANSFER_SYNTAXES,
)
from dicom_node.network.access import (
    ADDRESS_NOT_ALLOWED,
    UNKNOWN_CALLING_AE,
    WRONG_CALLED_AE,
    AccessPolicy,
    Refusal,
    Sender,
    parse_network,
)
from dicom_node.network.commitment_messages import FAILURE_REASONS, MAXIMUM_INSTANCES, PUSH_MODEL
from dicom_node.network.receiver import ReceiverSettings
from inference.ct.frames import CT_CLASSES

FURTHER_STATUSES: Final[Mapping[str, str]] = {
    "SpoolFull": "less free disk than `minimum_free_mb`, or the disk is full; send again later",
    "OSError": "the disk failed; send again later",
    "InstanceMismatch": "the dataset has another SOP Instance or SOP Class UID than the request",
    "InstanceConflict": "an instance with this SOP Instance UID and other content is here already; the first one stays",
    "InvalidInstance": "the dataset is cut off, malformed, too deeply nested, without identifying UIDs, or its pixel "
    "data are not as long as its attributes say",
    "SpoolError": "the instance could not be kept; send again later",
    "Exception": "an unexpected fault; nothing was kept",
}
"""What each error at reception means to a sender, by the name of the error."""

_REFUSED_BECAUSE: Final = {
    ADDRESS_NOT_ALLOWED: "the calling AE title is known, but not from this address",
    UNKNOWN_CALLING_AE: "the calling AE title is no sender",
    WRONG_CALLED_AE: "the called AE title is not ours",
}
_LOCAL_LIMIT: Final = Refusal("TOO_MANY_ASSOCIATIONS", 2, 3, 2)


def acceptance_table() -> str:
    """Limits and times of associations that peers open, with their defaults."""
    settings = ReceiverSettings("PERFNODE")
    limits = settings.limits
    rows = (
        ("application context", "1.2.840.10008.3.1.1.1"),
        ("associations at the same time", f"{settings.maximum_associations} (`maximum_associations`)"),
        ("connections from one address", f"{settings.maximum_connections_per_address}"),
        ("receiving processes behind the port", f"{settings.processes} (`receiver_processes`)"),
        ("asynchronous operations", "1"),
        ("largest PDU received", f"{limits.maximum_pdu_bytes} bytes, announced"),
        ("largest message received", f"{limits.maximum_message_bytes >> 20} MiB"),
        ("from connection to complete association request", f"{settings.association_timeout_s:g} s, TLS included"),
        ("for one PDU, from its first byte", f"{limits.pdu_deadline_s:g} s"),
        ("idle association", f"aborted after {settings.idle_timeout_s:g} s"),
    )
    return table(("parameter", "value"), rows)


def refusals_table() -> str:
    """Every way in which an association is rejected."""
    rows = [
        (
            str(r.result),
            str(r.source),
            str(r.reason),
            _REFUSED_BECAUSE.get(r.code, "all associations are in use"),
            f"`{r.code}`",
        )
        for r in (*_refusals(), _LOCAL_LIMIT)
    ]
    return table(("result", "source", "reason", "because", "code in log and audit trail"), rows)


def _refusals() -> list[Refusal]:
    """What the access policy answers when provoked in every way."""
    policy = AccessPolicy(
        "OURS", senders=(Sender("TPS", (parse_network("10.0.0.1"),)), Sender("X", (parse_network("10.0.0.2"),)))
    )
    provoked = (
        policy.refusal("10.0.0.2", "TPS", "OURS"),
        policy.refusal("10.0.0.1", "NOBODY", "OURS"),
        policy.refusal("10.0.0.1", "TPS", "OTHER"),
    )
    return [refusal for refusal in provoked if refusal is not None]


def received_classes_table() -> str:
    """Every accepted abstract syntax and what becomes of it."""
    rows = [(Verification.name, str(Verification), "answered")]
    for sop_class in STORAGE_CLASSES:
        if sop_class in CT_CLASSES:
            becomes = "processed"
        elif sop_class == RTStructureSetStorage:
            becomes = "kept with the CT it references; its structures can be subtracted from the function regions"
        else:
            becomes = "kept for a while and listed with a reason, never processed"
        rows.append((UID(sop_class).name, str(sop_class), becomes))
    rows.append((UID(PUSH_MODEL).name, PUSH_MODEL, "answered, in both roles"))
    return table(("SOP class", "UID", "what becomes of it"), rows)


def received_syntaxes_table() -> str:
    """Every transfer syntax that images are accepted in."""
    rows = [(UID(syntax).name, str(syntax), "always") for syntax in TRANSFER_SYNTAXES]
    rows += [(UID(syntax).name, str(syntax), '`[input] lossy = "flag"`') for syntax in LOSSY_TRANSFER_SYNTAXES]
    return table(("transfer syntax", "UID", "accepted"), rows)


def receive_statuses_table() -> str:
    """Every C-STORE status that a sender can get."""
    rows = [(f"0x{SUCCESS:04X}", "Success", "the instance is durably stored")]
    for error, status in STATUS_BY_ERROR:
        code = getattr(error, "code", "")
        rows.append((f"0x{status:04X}", f"`{code}`" if code else "", FURTHER_STATUSES[error.__name__]))
    return table(("status", "code in the log", "meaning"), rows)


def commitment_table() -> str:
    """Storage Commitment Push Model as SCP."""
    rows = [
        ("committed", "the instance is durably held in the spool or with its case"),
        *((f"failed, 0x{reason:04X}", meaning) for reason, meaning in sorted(FAILURE_REASONS.items())),
        ("instances in one transaction", f"at most {MAXIMUM_INSTANCES}"),
        ("report", "on the same association while it lasts, otherwise on a new one to the address of the AE title"),
        (
            "for how long",
            "as long as the data of the case are kept; nothing in work is removed",
        ),
    ]
    return table(("answer or property", "meaning"), rows)


TABLES: Tables = {
    "acceptance": acceptance_table,
    "refusals": refusals_table,
    "received-classes": received_classes_table,
    "received-syntaxes": received_syntaxes_table,
    "receive-statuses": receive_statuses_table,
    "commitment": commitment_table,
}
