"""What happened, as audit messages of PS3.15 A.5.3: one function for each kind of event, without effects.

Two choices are ours. A peer that was turned away is a Security Alert with a minor failure, because turning it away is
what kept the node safe. Its type is Node Authentication where address, AE title or certificate did not fit, since each
is how a node says who it is (PS3.15 A.5.3.11 names this very case), and a code of our own where it asked too much: CID
403 has none, and may be extended. A person who changes the course of a case makes a Security Alert of the type Use of
Restricted Function with outcome success, "an informative alert": Application Activity is only for starts and stops
(A.5.3.1), and Instances Accessed needs a study and a patient, which the person did not look at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from dicom_node.audit import codes
from dicom_node.audit.message import ActiveParticipant, AuditMessage, Code, Outcome, ParticipantObject
from dicom_node.audit.pseudonyms import Identifiers

SUCCESS: Final = "SUCCESS"
"""Outcome of a transfer that went well; any other word is the code of an error."""

NODE_NOT_KNOWN: Final = frozenset(
    {"ADDRESS_NOT_ALLOWED", "UNKNOWN_CALLING_AE", "WRONG_CALLED_AE", "TLS_HANDSHAKE_FAILED"}
)
"""Codes of peers that could not say who they are."""

_PATIENT: Final = 1
_REPORT: Final = 3
_SECURITY_RESOURCE: Final = 13
_JOB: Final = 20
"""Roles of participant objects (PS3.15 A.5.1.2.2)."""


@dataclass(frozen=True, slots=True)
class StudyTransfer:
    """What of one study went over one association."""

    study_instance_uid: str
    patient_id: str
    sop_classes: Mapping[str, int]
    """Number of instances by SOP Class UID."""


@dataclass(frozen=True, slots=True)
class Reporter:
    """The process that reports."""

    ae_title: str
    process_id: int
    host: str
    """One name for all network cards, as PS3.15 A.5.2.4 asks."""
    login: str
    """Who runs the process, `login@host`."""

    def participant(self, *, is_requestor: bool, role: Code | None = None) -> ActiveParticipant:
        """The process as an active participant."""
        return ActiveParticipant(
            str(self.process_id), is_requestor, role, self.ae_title, "perfnode", self.host, address_is_name=True
        )

    def person(self, role: Code | None = None) -> ActiveParticipant:
        """The person, or the account, that runs the process."""
        return ActiveParticipant(self.login, is_requestor=True, role=role, name=self.login.partition("@")[0])


def application_activity(us: Reporter, time: datetime, event_type: Code) -> AuditMessage:
    """The node started or stopped (PS3.15 A.5.3.1)."""
    return AuditMessage(
        codes.APPLICATION_ACTIVITY,
        "E",
        time,
        Outcome.SUCCESS,
        (us.participant(is_requestor=False, role=codes.APPLICATION), us.person(codes.APPLICATION_LAUNCHER)),
        event_type,
    )


def association_refused(
    us: Reporter, time: datetime, ip: str, calling: str, called: str, code: str, repeated: int
) -> AuditMessage:
    """A peer was turned away (PS3.15 A.5.3.11); `repeated` is how often the same happened unreported before."""
    again = f", and {repeated} more since the last report" if repeated else ""
    subject = ParticipantObject(
        ip,
        codes.NODE_ID,
        2,
        _SECURITY_RESOURCE,
        name=calling or "unknown",
        details={"Alert Description": f"{code}: {calling or 'a peer'} at {ip} called {called or 'this node'}{again}"},
    )
    peer = ActiveParticipant(ip, is_requestor=False, ae_title=calling or None, address=ip)
    return AuditMessage(
        codes.SECURITY_ALERT,
        "E",
        time,
        Outcome.MINOR_FAILURE,
        (us.participant(is_requestor=False), peer),
        codes.NODE_AUTHENTICATION if code in NODE_NOT_KNOWN else codes.PEER_BEYOND_LIMITS,
        code,
        (subject,),
    )


def instances_received(
    us: Reporter,
    time: datetime,
    peer: tuple[str, str],
    association_id: str,
    studies: Sequence[StudyTransfer],
    identifiers: Identifiers,
) -> list[AuditMessage]:
    """What a peer, given as address and AE title, sent us (PS3.15 A.5.3.7); one message per patient."""
    ip, calling = peer
    return _transferred(
        time,
        "C",
        SUCCESS,
        (
            ActiveParticipant(ip, is_requestor=True, role=codes.SOURCE, ae_title=calling, address=ip),
            us.participant(is_requestor=False, role=codes.DESTINATION),
        ),
        studies,
        identifiers,
        {"Association": association_id[:8]},
    )


def instances_sent(
    us: Reporter,
    time: datetime,
    peer_address: str,
    studies: Sequence[StudyTransfer],
    outcome: str,
    identifiers: Identifiers,
) -> list[AuditMessage]:
    """What we sent (PS3.15 A.5.3.7); one message per patient. We cannot know what the peer held, so the action is R."""
    return _transferred(
        time,
        "R",
        outcome,
        (us.participant(is_requestor=True, role=codes.SOURCE), _peer(peer_address, codes.DESTINATION)),
        studies,
        identifiers,
        {},
    )


def query(us: Reporter, time: datetime, peer_address: str, sop_class: str, keys_digest: str) -> AuditMessage:
    """We asked a peer (PS3.15 A.5.3.10). In the place of the keys stands their hash: keys may name a patient."""
    asked = ParticipantObject(sop_class, codes.SOP_CLASS_UID, 2, _REPORT, query=f"sha256:{keys_digest}".encode())
    return AuditMessage(
        codes.QUERY,
        "E",
        time,
        Outcome.SUCCESS,
        (us.participant(is_requestor=True, role=codes.SOURCE), _peer(peer_address, codes.DESTINATION)),
        objects=(asked,),
    )


def operator_action(
    us: Reporter,
    time: datetime,
    action: str,
    object_id: str,
    by: str = "",
    details: Mapping[str, str] = MappingProxyType({}),
) -> AuditMessage:
    """A person changed the course of a case or a series (PS3.15 A.5.3.11).

    Args:
        us: the process.
        time: when.
        action: what was done.
        object_id: to what.
        by: who; whoever runs the process if empty.
        details: more that must be found again, for instance the number of the decision in the record of the case.
    """
    who = by or us.login
    subject = ParticipantObject(
        f"urn:perfusion-node:{object_id}",
        codes.URI,
        2,
        _JOB,
        name=action,
        details={"Alert Description": f"{action} of {object_id} by {who}", **details},
    )
    return AuditMessage(
        codes.SECURITY_ALERT,
        "E",
        time,
        Outcome.SUCCESS,
        (ActiveParticipant(who, is_requestor=True, name=who.partition("@")[0]), us.participant(is_requestor=False)),
        codes.USE_OF_RESTRICTED_FUNCTION,
        objects=(subject,),
    )


def log_used(
    us: Reporter, time: datetime, uri: str, who: ActiveParticipant | None = None, patient: str = ""
) -> AuditMessage:
    """A person read the audit trail with our command or on our page (PS3.15 A.5.3.2).

    Args:
        us: the process.
        time: when.
        uri: the file.
        who: reads; whoever runs the process if None.
        patient: as messages name the one whose messages were read; empty for all.
    """
    trail = ParticipantObject(uri, codes.URI, 2, _SECURITY_RESOURCE, name="Security Audit Log")
    about = (ParticipantObject(patient, codes.PATIENT_NUMBER, 1, _PATIENT, name="withheld"),) if patient else ()
    return AuditMessage(
        codes.AUDIT_LOG_USED,
        "R",
        time,
        Outcome.SUCCESS,
        (who or us.person(), us.participant(is_requestor=False)),
        objects=(trail, *about),
    )


def recording_resumed(us: Reporter, time: datetime, lost: int) -> AuditMessage:
    """Messages could not be written for a while, most likely because the disk was full (PS3.15 A.5.3.11)."""
    subject = ParticipantObject(
        us.host,
        codes.NODE_ID,
        2,
        _SECURITY_RESOURCE,
        name="Security Audit Log",
        details={"Alert Description": f"{lost} audit messages of this process could not be written"},
    )
    return AuditMessage(
        codes.SECURITY_ALERT,
        "E",
        time,
        Outcome.SERIOUS_FAILURE,
        (us.participant(is_requestor=False),),
        codes.AUDIT_RECORDING_STARTED,
        objects=(subject,),
    )


def _transferred(
    time: datetime,
    action: str,
    outcome: str,
    participants: tuple[ActiveParticipant, ...],
    studies: Sequence[StudyTransfer],
    identifiers: Identifiers,
    details: Mapping[str, str],
) -> list[AuditMessage]:
    messages = []
    for patient_id in dict.fromkeys(study.patient_id for study in studies):
        objects = [
            ParticipantObject(
                identifiers.study(study.study_instance_uid),
                codes.STUDY_INSTANCE_UID,
                2,
                _REPORT,
                name="study",
                details=details,
                sop_classes=study.sop_classes,
            )
            for study in studies
            if study.patient_id == patient_id
        ]
        patient = ParticipantObject(identifiers.patient(patient_id), codes.PATIENT_NUMBER, 1, _PATIENT, name="withheld")
        messages.append(
            AuditMessage(
                codes.INSTANCES_TRANSFERRED,
                "C" if action == "C" else "R",
                time,
                Outcome.SUCCESS if outcome == SUCCESS else Outcome.MINOR_FAILURE,
                participants,
                outcome_description="" if outcome == SUCCESS else outcome,
                objects=(*objects, patient),
            )
        )
    return messages


def _peer(peer_address: str, role: Code) -> ActiveParticipant:
    """A peer given as `AET@host:port`, or by the address of its web service."""
    if "://" in peer_address:
        ae_title, host = None, urlsplit(peer_address).hostname or "unknown"  # without name and password of a user
    else:
        ae_title, _, endpoint = peer_address.partition("@")
        host = endpoint.rpartition(":")[0].strip("[]") or "unknown"
    return ActiveParticipant(
        host, is_requestor=False, role=role, ae_title=ae_title, address=host, address_is_name=not _is_ip(host)
    )


def _is_ip(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
