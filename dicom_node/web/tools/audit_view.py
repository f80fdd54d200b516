"""Every message of the audit trail about one patient, or one case, in words; looking is audited, too.

A patient is asked for in the body of a request: an address stands in the histories of browsers and in logs. The trail
writes pseudonyms; those of the patient and study that were asked for are resolved, others stay what they are.
"""

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field
from pydicom import dcmread

from dicom_node.audit.people import AtPage
from dicom_node.audit.reading import Entry, read_entries
from dicom_node.audit.trail import AuditTrail
from dicom_node.audit.words import sentence
from dicom_node.errors import NodeError, UnknownCase
from dicom_node.jobs.cases import CaseFolder
from dicom_node.web.guard import Administrator
from dicom_node.web.node import TheNode, WebNode
from dicom_node.web.page import page
from dicom_node.web.today.case_index import CaseIndex
from dicom_node.web.today.subject import key_of

router = APIRouter()
MOST: Final = 1000
_PAGE: Final = "/tools/audit"
_UNREADABLE: Final = "The audit trail or the key of its pseudonyms cannot be read."


class AuditQuestion(BaseModel):
    """Whose messages: of a patient, or of a case; not both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patient_id: Annotated[str, Field(max_length=64)] = ""
    case: Annotated[str, Field(max_length=16, pattern="^[0-9a-f]*$")] = ""
    """Id of a case, or its first characters."""


@dataclass(frozen=True, slots=True)
class AuditedPatient:
    """Who was asked for."""

    cases: list[str]
    """Ids: the case that was asked for, or those of the patient that are still here."""
    patient_id: str
    """Empty where nobody knows it any more: the case has been removed."""
    patient: str
    """As messages name the patient."""
    study_instance_uid: str
    study: str
    """As messages name the study."""


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One message."""

    at: str
    """UTC, ISO 8601."""
    event: str
    kind: str
    outcome: str
    said: str
    """In words."""
    participants: list[str]
    patients: list[str]
    """By Patient ID where that was resolved."""
    studies: list[str]
    instances: int


@dataclass(frozen=True, slots=True)
class AuditAnswer:
    """All that the trail of this host says."""

    about: AuditedPatient
    lines: list[AuditLine]
    """The oldest first."""
    is_cut: bool
    """Whether there were more before these."""


class NothingAsked(NodeError):
    """Neither a patient nor a case was named, or both were."""

    code = "NOTHING_ASKED"
    permanent = True

    def __init__(self) -> None:
        super().__init__("Name a patient or a case, one of both.")


def asked_for(node: WebNode, question: AuditQuestion) -> AuditedPatient:
    """Who is meant, and how messages name them.

    Raises:
        NothingAsked: nobody, or two.
        UnknownCase: no case has an id that begins so, or several have.
        OSError: the key of the pseudonyms cannot be read.
    """
    patient_id, study_uid = question.patient_id.strip(), ""
    if bool(patient_id) == bool(question.case):
        raise NothingAsked
    if question.case:
        folder = node.settings.cases().find(question.case)
        cases, (patient_id, study_uid) = [folder.case_id], _identity(folder)
    else:
        lines = CaseIndex.under(node.settings.data_dir).lines("patient_key = ?", (key_of(patient_id),))
        cases = [line.case_id for line in lines if line.subject.patient_id == patient_id]
    trail = node.audit
    study = trail.study_pseudonym(study_uid) if study_uid else ""
    return AuditedPatient(cases, patient_id, trail.pseudonym(patient_id), study_uid, study)


def answer_of(trail: AuditTrail, about: AuditedPatient, who: AtPage, most: int = MOST) -> AuditAnswer:
    """What the trail says, which is then told that somebody looked.

    Args:
        trail: of this host.
        about: whose messages.
        who: looks.
        most: the newest so many.
    """
    found: deque[Entry] = deque(maxlen=most + 1)
    found.extend(_entries(trail.log_file, about))
    trail.log_used(who, about.patient)
    known = {about.patient: about.patient_id, about.study: about.study_instance_uid}
    lines = [_line(entry, known) for entry in found]
    return AuditAnswer(about, lines[-most:], len(lines) > most)


def _entries(log_file: Path, about: AuditedPatient) -> list[Entry]:
    if not log_file.exists():
        return []
    is_pseudonym = about.patient != about.patient_id
    texts = tuple(filter(None, (about.patient, *about.cases))) if is_pseudonym or not about.patient else ()
    cases = {f"case:{case}" for case in about.cases}
    return [
        entry
        for entry in read_entries(log_file, texts)
        if (about.patient and about.patient in entry.patients) or cases.intersection(entry.subjects)
    ]


def _identity(folder: CaseFolder) -> tuple[str, str]:
    """Patient ID and Study Instance UID of a case; empty where its images are gone."""
    for path in folder.instances()[:1]:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["PatientID", "StudyInstanceUID"])
        return str(header.get("PatientID", "") or ""), str(header.get("StudyInstanceUID", ""))
    return "", ""


def _line(entry: Entry, known: dict[str, str]) -> AuditLine:
    def resolved(names: tuple[str, ...]) -> list[str]:
        return [known.get(name, name) for name in names]

    said = sentence(entry)
    return AuditLine(
        entry.time, entry.event, entry.kind, entry.outcome, said, [*entry.participants], resolved(entry.patients),
        resolved(entry.studies), entry.instances,
    )  # fmt: skip


@router.get(_PAGE, response_class=HTMLResponse, include_in_schema=False)
def show_question(request: Request, person: Administrator) -> HTMLResponse:
    """Asks for a patient or a case."""
    return page(request, "tools_audit.html", person, answer=None, fault="", most=MOST)


@router.post(_PAGE, response_class=HTMLResponse, include_in_schema=False)
def show_answer(
    request: Request,
    person: Administrator,
    node: TheNode,
    patient_id: Annotated[str, Form(max_length=64)] = "",
    case: Annotated[str, Form(max_length=16, pattern="^[0-9a-f]*$")] = "",
) -> HTMLResponse:
    """The messages of one patient or case."""
    try:
        about = asked_for(node, AuditQuestion(patient_id=patient_id, case=case))
        answer = answer_of(node.audit, about, AtPage(person.name, person.address))
    except (NothingAsked, UnknownCase) as fault:
        return page(request, "tools_audit.html", person, status=422, answer=None, fault=str(fault), most=MOST)
    except OSError:
        return page(request, "tools_audit.html", person, status=503, answer=None, fault=_UNREADABLE, most=MOST)
    return page(request, "tools_audit.html", person, answer=answer, fault="", most=MOST)


@router.post("/api/v1/audit/messages", tags=["tools"])
def read_messages(question: AuditQuestion, person: Administrator, node: TheNode) -> AuditAnswer:
    """Every message about one patient or case that the audit trail of this host holds; this is audited itself."""
    try:
        return answer_of(node.audit, asked_for(node, question), AtPage(person.name, person.address))
    except OSError as fault:
        raise HTTPException(503, f"AUDIT_UNREADABLE: {_UNREADABLE}") from fault
