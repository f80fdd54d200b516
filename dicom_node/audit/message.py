r"""An audit message as PS3.15 A.5 defines it, and its XML.

Frozen types in the words of the schema (PS3.15 A.5.1); which event becomes which message stands in `events`. Text that
came over the network is made harmless here: the XML library escapes markup, and a character that a terminal, a syslog
line or XML cannot hold is written as `\x0a`.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final, Literal
from xml.etree import ElementTree

LONGEST_TEXT: Final = 1024
"""Nothing that a peer may choose is longer than an AE title; this is a bound for what it should not have sent."""


@dataclass(frozen=True, slots=True)
class Code:
    """A coded value; most are defined in PS3.16 annex D (`DCM`)."""

    value: str
    meaning: str
    scheme: str = "DCM"


class Outcome(IntEnum):
    """Event Outcome Indicator (PS3.15 table A.5.2-1)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


@dataclass(frozen=True, slots=True)
class ActiveParticipant:
    """A person, process or node that took part."""

    user_id: str
    """A process id of ours as in our logs, `login@host` of a person, or the address of a peer (PS3.15 A.5.2.1)."""
    is_requestor: bool
    role: Code | None = None
    ae_title: str | None = None
    name: str | None = None
    """Process name, or login of a person."""
    address: str | None = None
    """IP address or host name."""
    address_is_name: bool = False


@dataclass(frozen=True, slots=True)
class ParticipantObject:
    """A patient, study, query or other thing the event was about."""

    object_id: str
    id_type: Code
    type_code: Literal[1, 2]
    """1: person, 2: system object."""
    role_code: int
    """PS3.15 A.5.1.2.2, for instance 1 patient, 3 report (a study), 20 job."""
    name: str = ""
    query: bytes | None = None
    """Instead of a name."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Written in base64, as the schema asks, against text that tries to be markup."""
    sop_classes: Mapping[str, int] = field(default_factory=dict)
    """Number of instances by SOP Class UID."""


@dataclass(frozen=True, slots=True)
class AuditMessage:
    """One event."""

    event: Code
    """PS3.16 CID 400."""
    action: Literal["C", "R", "U", "D", "E"]
    time: datetime
    outcome: Outcome
    participants: tuple[ActiveParticipant, ...]
    """At least one."""
    event_type: Code | None = None
    """PS3.16 CID 401 for starts and stops, CID 403 for alerts."""
    outcome_description: str = ""
    objects: tuple[ParticipantObject, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditSource:
    """Who reports."""

    source_id: str
    enterprise_site_id: str | None = None


def to_xml(message: AuditMessage, source: AuditSource) -> str:
    """The message in the form of PS3.15 A.5.1, on one line."""
    root = ElementTree.Element("AuditMessage")
    _add_event(root, message)
    for participant in message.participants:
        _add_participant(root, participant)
    attributes = {"AuditSourceID": _clean(source.source_id)}
    if source.enterprise_site_id:
        attributes["AuditEnterpriseSiteID"] = _clean(source.enterprise_site_id)
    identification = ElementTree.SubElement(root, "AuditSourceIdentification", attributes)
    ElementTree.SubElement(identification, "AuditSourceTypeCode", {"csd-code": "4"})  # application server process
    for found in message.objects:
        _add_object(root, found)
    return '<?xml version="1.0" encoding="UTF-8"?>' + ElementTree.tostring(root, encoding="unicode")


def _add_event(root: ElementTree.Element, message: AuditMessage) -> None:
    event = ElementTree.SubElement(
        root,
        "EventIdentification",
        {
            "EventActionCode": message.action,
            "EventDateTime": message.time.astimezone(UTC).isoformat(timespec="milliseconds"),
            "EventOutcomeIndicator": str(int(message.outcome)),
        },
    )
    _add_code(event, "EventID", message.event)
    if message.event_type is not None:
        _add_code(event, "EventTypeCode", message.event_type)
    if message.outcome_description:
        ElementTree.SubElement(event, "EventOutcomeDescription").text = _clean(message.outcome_description)


def _add_participant(root: ElementTree.Element, participant: ActiveParticipant) -> None:
    attributes = {
        "UserID": _clean(participant.user_id),
        "UserIsRequestor": str(participant.is_requestor).lower(),
    }
    if participant.ae_title is not None:
        attributes["AlternativeUserID"] = f"AETITLES={_clean(participant.ae_title)}"  # PS3.15 A.5.2.2
    if participant.name is not None:
        attributes["UserName"] = _clean(participant.name)
    if participant.address is not None:
        attributes["NetworkAccessPointID"] = _clean(participant.address)
        attributes["NetworkAccessPointTypeCode"] = "1" if participant.address_is_name else "2"
    element = ElementTree.SubElement(root, "ActiveParticipant", attributes)
    if participant.role is not None:
        _add_code(element, "RoleIDCode", participant.role)


def _add_object(root: ElementTree.Element, found: ParticipantObject) -> None:
    element = ElementTree.SubElement(
        root,
        "ParticipantObjectIdentification",
        {
            "ParticipantObjectID": _clean(found.object_id),
            "ParticipantObjectTypeCode": str(found.type_code),
            "ParticipantObjectTypeCodeRole": str(found.role_code),
        },
    )
    _add_code(element, "ParticipantObjectIDTypeCode", found.id_type)
    if found.query is not None:
        ElementTree.SubElement(element, "ParticipantObjectQuery").text = base64.b64encode(found.query).decode()
    else:
        ElementTree.SubElement(element, "ParticipantObjectName").text = _clean(found.name)
    for kind, value in found.details.items():
        encoded = base64.b64encode(_clean(value).encode()).decode()
        ElementTree.SubElement(element, "ParticipantObjectDetail", {"type": _clean(kind), "value": encoded})
    if found.sop_classes:
        description = ElementTree.SubElement(element, "ParticipantObjectDescription")
        for uid, count in sorted(found.sop_classes.items()):
            ElementTree.SubElement(description, "SOPClass", {"UID": _clean(uid), "NumberOfInstances": str(count)})


def _add_code(parent: ElementTree.Element, name: str, code: Code) -> None:
    ElementTree.SubElement(
        parent, name, {"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning}
    )


def _clean(text: str) -> str:
    """The text without what would end a line, move a cursor or break XML, and not longer than is useful."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:LONGEST_TEXT])
