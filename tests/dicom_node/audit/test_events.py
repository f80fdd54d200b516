"""Every event as a message that the standard's schema accepts, with what the standard's tables ask for."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from lxml import etree
from pydicom.sr.codedict import codes as concepts

from dicom_node.audit import codes, events
from dicom_node.audit.events import Reporter, StudyTransfer
from dicom_node.audit.message import AuditMessage, AuditSource, Code, to_xml
from dicom_node.audit.pseudonyms import Identifiers
from dicom_node.objects.codes import PRIVATE_SCHEME
from tests.audit_messages import schema

US = Reporter("PERFNODE", 4711, "perfusion-1", "ada@perfusion-1")
NOW = datetime(2026, 11, 25, 12, 0, 0, 5000, UTC)
CT, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.481.3"
STUDIES = [
    StudyTransfer("1.2.3", "PAT1", {CT: 120, RTSTRUCT: 1}),
    StudyTransfer("1.2.4", "PAT1", {CT: 80}),
    StudyTransfer("1.2.5", "PAT2", {CT: 3}),
]
PLAIN = Identifiers(None)


def received(identifiers: Identifiers = PLAIN) -> list[AuditMessage]:
    return events.instances_received(US, NOW, ("10.1.2.3", "CT1"), "a1b2c3d4e5f6", STUDIES, identifiers)


EVENTS: dict[str, Callable[[], AuditMessage]] = {
    "start": lambda: events.application_activity(US, NOW, codes.APPLICATION_START),
    "refused": lambda: events.association_refused(US, NOW, "10.9.9.9", "CT1", "PERFNODE", "ADDRESS_NOT_ALLOWED", 7),
    "nameless": lambda: events.association_refused(US, NOW, "fd00::1", "", "", "TLS_HANDSHAKE_FAILED", 0),
    "received": lambda: received()[0],
    "sent": lambda: events.instances_sent(US, NOW, "PACS@10.0.0.5:104", STUDIES, "STORE_REFUSED", PLAIN)[0],
    "stowed": lambda: events.instances_sent(US, NOW, "https://u:pw@pacs.x/rs?k=1", STUDIES, events.SUCCESS, PLAIN)[0],
    "query": lambda: events.query(US, NOW, "PACS@pacs.hospital:104", "1.2.840.10008.5.1.4.1.2.2.1", "ab" * 32),
    "action": lambda: events.operator_action(US, NOW, "retry", "case-0123"),
    "log used": lambda: events.log_used(US, NOW, "file:///data/audit/audit.log"),
    "resumed": lambda: events.recording_resumed(US, NOW, 12),
}


def element(message: AuditMessage) -> etree._Element:
    xml = to_xml(message, AuditSource("perfusion-1", "hospital"))
    assert "\n" not in xml
    return etree.fromstring(xml.encode())


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_obeys_the_schema_of_the_standard(name: str) -> None:
    schema().assertValid(element(EVENTS[name]()))


def test_the_schema_refuses_what_the_standard_does() -> None:
    message = element(EVENTS["received"]())
    message.find("ParticipantObjectIdentification").remove(message.find(".//ParticipantObjectName"))
    assert not schema().validate(message)


def test_a_message_is_about_one_patient_and_counts_instances_by_class() -> None:
    first, second = (element(message) for message in received())
    patient = "ParticipantObjectIdentification[@ParticipantObjectTypeCode='1']/@ParticipantObjectID"
    assert (first.xpath(patient), second.xpath(patient)) == (["PAT1"], ["PAT2"])
    studies = first.xpath("ParticipantObjectIdentification[@ParticipantObjectTypeCodeRole='3']/@ParticipantObjectID")
    assert studies == ["1.2.3", "1.2.4"]
    assert {e.get("UID"): e.get("NumberOfInstances") for e in first.iterfind(".//SOPClass")} == {
        CT: "80",
        RTSTRUCT: "1",
    }


def test_source_and_destination_are_told_apart() -> None:
    def ae_titles(message: AuditMessage) -> dict[str, str]:
        participants = element(message).findall("ActiveParticipant")
        return {p.find("RoleIDCode").get("csd-code"): p.get("AlternativeUserID") for p in participants}

    assert ae_titles(received()[0]) == {"110153": "AETITLES=CT1", "110152": "AETITLES=PERFNODE"}
    assert ae_titles(EVENTS["sent"]()) == {"110153": "AETITLES=PERFNODE", "110152": "AETITLES=PACS"}


def test_what_did_not_go_well_is_told() -> None:
    sent = element(EVENTS["sent"]())
    assert sent.find("EventIdentification").get("EventOutcomeIndicator") == "4"
    assert sent.findtext("EventIdentification/EventOutcomeDescription") == "STORE_REFUSED"
    assert element(EVENTS["stowed"]()).find("EventIdentification").get("EventOutcomeIndicator") == "0"


def test_the_password_in_the_url_of_a_web_service_is_not_written() -> None:
    xml = to_xml(EVENTS["stowed"](), AuditSource("x"))
    assert "pacs.x" in xml
    assert "pw" not in xml


def test_a_refusal_names_the_node_and_says_how_often() -> None:
    refused = element(EVENTS["refused"]())
    assert refused.xpath("string(EventIdentification/EventTypeCode/@csd-code)") == "110126"
    subject = refused.find("ParticipantObjectIdentification")
    assert subject.get("ParticipantObjectID") == "10.9.9.9"
    detail = subject.find("ParticipantObjectDetail")
    assert detail.get("type") == "Alert Description"
    words = base64.b64decode(detail.get("value")).decode()
    assert words == "ADDRESS_NOT_ALLOWED: CT1 at 10.9.9.9 called PERFNODE, and 7 more since the last report"


def test_a_peer_that_asks_too_much_is_told_apart_from_one_that_nobody_knows() -> None:
    kinds = {}
    for code in ("ADDRESS_NOT_ALLOWED", "UNKNOWN_CALLING_AE", "WRONG_CALLED_AE", "TOO_MANY_CONNECTIONS"):
        message = element(events.association_refused(US, NOW, "10.9.9.9", "", "", code, 0))
        schema().assertValid(message)
        kinds[code] = message.find("EventIdentification/EventTypeCode").get("codeSystemName")
    assert list(kinds.values()) == ["DCM", "DCM", "DCM", PRIVATE_SCHEME]


def test_pseudonyms_hide_patient_and_study_and_stay_valid() -> None:
    messages = received(Identifiers(b"k" * 32))
    xml = "".join(to_xml(message, AuditSource("x")) for message in messages)
    for identifier in ("PAT1", "PAT2", "1.2.3", "1.2.4", "1.2.5"):
        assert f'ParticipantObjectID="{identifier}"' not in xml
    for message in messages:
        schema().assertValid(element(message))


HOSTILE = [
    "EVIL\n<85>1 forged",
    'A"/><ActiveParticipant UserID="x',
    "]]>&amp;<!--",
    "\x00\x1b[2J\x7f",
    "\u2028\u202e\ud800\ufffe\uffff",
    "ä" * 5000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_the_network_cannot_leave_its_field(text: str) -> None:
    message = events.association_refused(US, NOW, "10.9.9.9", text, text, "UNKNOWN_CALLING_AE", 0)
    xml = to_xml(message, AuditSource("x"))
    assert xml.isprintable()
    assert len(xml) < 20_000
    parsed = etree.fromstring(xml.encode())
    schema().assertValid(parsed)
    assert len(parsed.findall("ActiveParticipant")) == 2
    assert parsed.findall("ActiveParticipant")[1].get("AlternativeUserID").startswith("AETITLES=")


def test_codes_are_those_of_the_standard() -> None:
    """Held against pydicom's copy of PS3.16 CID 400 to 404."""
    groups = (concepts.cid400, concepts.cid401, concepts.cid402, concepts.cid403, concepts.cid404)
    known = {getattr(g, n).value: getattr(g, n).meaning for g in groups for n in dir(g) if n[0].isupper()}
    ours = {v.value: v.meaning for v in vars(codes).values() if isinstance(v, Code) and v.scheme == "DCM"}
    assert len(ours) == 21
    assert ours.items() <= known.items()
