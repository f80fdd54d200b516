"""What people do at the page, as audit messages of PS3.15 A.5.3: one function for each kind of event, without effects.

A name that nobody has is not told: who types a password into the field of the name must not find it in the trail.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from dicom_node.audit import codes
from dicom_node.audit.events import Reporter, StudyTransfer
from dicom_node.audit.message import ActiveParticipant, AuditMessage, Code, Outcome, ParticipantObject
from dicom_node.audit.pseudonyms import Identifiers

NOBODY: Final = "unknown"
"""Stands for a name that no person has here."""

LIST: Final = "urn:perfusion-node:cases"
"""Stands for the list of cases, as what was asked for."""

_ROWS: Final = 50
"""Of a list in one message: about 35 kB, which a datagram of syslog holds whole."""
_PATIENT: Final = 1
_REPORT: Final = 3
_JOB: Final = 20
"""Roles of participant objects (PS3.15 A.5.1.2.2)."""


@dataclass(frozen=True, slots=True)
class AtPage:
    """A person at the page, as the trail names them."""

    name: str
    """Empty: nobody here has the name that was given."""
    address: str = ""
    """IP address that they ask from; empty: not known."""

    def participant(self) -> ActiveParticipant:
        """As an active participant."""
        name = self.name or NOBODY
        return ActiveParticipant(name, is_requestor=True, name=name, address=self.address or None)


def user_authentication(
    us: Reporter, time: datetime, who: AtPage, event_type: Code, refused: str = "", how: str = ""
) -> AuditMessage:
    """Somebody signed in or out, or tried to (PS3.15 A.5.3.12).

    Args:
        us: the process that asked who they are.
        time: when.
        who: the person, authenticated or claimed.
        event_type: `codes.LOGIN` or `codes.LOGOUT`.
        refused: code of the reason if they were turned away.
        how: more in words, for instance the role that they have.
    """
    return AuditMessage(
        codes.USER_AUTHENTICATION,
        "E",
        time,
        Outcome.MINOR_FAILURE if refused else Outcome.SUCCESS,
        (who.participant(), us.participant(is_requestor=False)),
        event_type,
        refused or how,
    )


def instances_accessed(
    us: Reporter, time: datetime, who: AtPage, case_id: str, studies: Sequence[StudyTransfer], identifiers: Identifiers
) -> AuditMessage:
    """Somebody looked at a case (PS3.15 A.5.3.6): its studies, its patient, and the case itself as an object of ours.

    Args:
        us: the process that showed it.
        time: when.
        who: the person.
        case_id: of the case.
        studies: that it is of, all of one patient.
        identifiers: how study and patient are named.
    """
    found = [
        ParticipantObject(
            identifiers.study(study.study_instance_uid),
            codes.STUDY_INSTANCE_UID,
            2,
            _REPORT,
            name="study",
            sop_classes=study.sop_classes,
        )
        for study in studies
    ]
    patients = _patients([study.patient_id for study in studies], identifiers)
    return AuditMessage(
        codes.INSTANCES_ACCESSED,
        "R",
        time,
        Outcome.SUCCESS,
        (who.participant(), us.participant(is_requestor=False)),
        objects=(*found, *patients, _case(case_id)),
    )


def cases_listed(
    us: Reporter, time: datetime, who: AtPage, patient_ids: Mapping[str, str], identifiers: Identifiers
) -> list[AuditMessage]:
    """Somebody was shown whose cases these are, in a list (PS3.15 A.5.3.10, Query); one message for each fifty.

    Instances Accessed (A.5.3.6) and Patient Record (A.5.3.14) are about one patient each, and the first "not queries";
    a list would be a message for each of its rows. Query may be of other protocols than DICOM's, and its action is E.
    It does not have to tell what was answered. Ours does: whoever asks who saw a patient finds it here. What was
    looked for is withheld, since it may name a patient.

    Args:
        us: the process that showed it.
        time: when.
        who: the person.
        patient_ids: Patient IDs by the ids of the cases in the list; empty where an image has none.
        identifiers: how patients are named.
    """
    rows = list(patient_ids.items())
    return [_listed(us, time, who, rows[k : k + _ROWS], identifiers) for k in range(0, len(rows), _ROWS)]


def _listed(
    us: Reporter, time: datetime, who: AtPage, rows: Sequence[tuple[str, str]], identifiers: Identifiers
) -> AuditMessage:
    participants = (
        replace(who.participant(), role=codes.SOURCE),
        us.participant(is_requestor=False, role=codes.DESTINATION),
    )
    asked = ParticipantObject(LIST, codes.URI, 2, _REPORT, query=b"withheld")
    cases = [_case(case_id) for case_id, _ in rows]
    patients = _patients([patient_id for _, patient_id in rows if patient_id], identifiers)
    return AuditMessage(codes.QUERY, "E", time, Outcome.SUCCESS, participants, objects=(asked, *cases, *patients))


def _patients(patient_ids: Iterable[str], identifiers: Identifiers) -> list[ParticipantObject]:
    return [
        ParticipantObject(identifiers.patient(patient_id), codes.PATIENT_NUMBER, 1, _PATIENT, name="withheld")
        for patient_id in dict.fromkeys(patient_ids)
    ]


def _case(case_id: str) -> ParticipantObject:
    return ParticipantObject(f"urn:perfusion-node:case:{case_id}", codes.URI, 2, _JOB, name="case")
