"""What people do at the page, as messages that the schema of the standard accepts."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from lxml import etree
from pydicom.sr.codedict import codes as concepts

from dicom_node.audit import codes, people
from dicom_node.audit.events import Reporter, StudyTransfer
from dicom_node.audit.message import AuditMessage, AuditSource, Code, to_xml
from dicom_node.audit.people import AtPage
from dicom_node.audit.pseudonyms import Identifiers
from tests.audit_messages import schema

US = Reporter("PERFNODE", 4711, "perfusion-1", "ada@perfusion-1")
NOW = datetime(2026, 11, 26, 12, 0, 0, 5000, UTC)
ADA = AtPage("ada", "192.0.2.7")
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = StudyTransfer("1.2.3", "PAT1", {CT: 120})
KEY = Identifiers(b"k" * 32)

EVENTS: dict[str, Callable[[], AuditMessage]] = {
    "login": lambda: people.user_authentication(US, NOW, ADA, codes.LOGIN, how="as viewer"),
    "logout": lambda: people.user_authentication(US, NOW, ADA, codes.LOGOUT),
    "refused": lambda: people.user_authentication(US, NOW, AtPage("", "fd00::1"), codes.LOGIN, "SIGN_IN_REFUSED"),
    "seen": lambda: people.instances_accessed(US, NOW, ADA, "00ab", [STUDY], KEY),
    "listed": lambda: people.cases_listed(US, NOW, ADA, {"00ab": "PAT1", "00ac": "PAT1", "00ad": ""}, KEY)[0],
    "nowhere": lambda: people.instances_accessed(US, NOW, AtPage("ada"), "00ab", [], KEY),
}


def element(message: AuditMessage) -> etree._Element:
    return etree.fromstring(to_xml(message, AuditSource("perfusion-1")).encode())


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_obeys_the_schema_of_the_standard(name: str) -> None:
    schema().assertValid(element(EVENTS[name]()))


@pytest.mark.parametrize(
    "code",
    [codes.USER_AUTHENTICATION, codes.LOGIN, codes.LOGOUT, codes.INSTANCES_ACCESSED, codes.QUERY],
    ids=lambda c: c.value,
)
def test_the_codes_mean_what_the_standard_says(code: Code) -> None:
    assert getattr(concepts.DCM, code.meaning.replace(" ", "")).value == code.value


def test_a_sign_in_says_who_where_and_how() -> None:
    xml = element(EVENTS["login"]())
    person = xml.find("ActiveParticipant[@UserIsRequestor='true']")
    assert (person.get("UserID"), person.get("NetworkAccessPointID")) == ("ada", "192.0.2.7")
    assert person.get("NetworkAccessPointTypeCode") == "2"
    assert xml.xpath("string(EventIdentification/@EventActionCode)") == "E"
    assert xml.xpath("string(EventIdentification/EventOutcomeDescription)") == "as viewer"


def test_who_is_turned_away_is_nobody_and_a_minor_failure() -> None:
    xml = element(EVENTS["refused"]())
    assert xml.xpath("string(EventIdentification/@EventOutcomeIndicator)") == "4"
    assert xml.find("ActiveParticipant[@UserIsRequestor='true']").get("UserID") == people.NOBODY


def test_a_view_names_study_patient_and_case_and_no_patient_openly() -> None:
    xml = element(EVENTS["seen"]())
    ids = xml.xpath("ParticipantObjectIdentification/@ParticipantObjectID")
    assert ids == [KEY.study("1.2.3"), KEY.patient("PAT1"), "urn:perfusion-node:case:00ab"]
    assert "PAT1" not in etree.tostring(xml, encoding="unicode")
    assert xml.xpath("string(//SOPClass/@NumberOfInstances)") == "120"
    assert xml.xpath("string(EventIdentification/@EventActionCode)") == "R"


def test_a_list_is_a_query_that_names_its_cases_and_patients_and_not_what_was_looked_for() -> None:
    xml = element(EVENTS["listed"]())
    asked, *shown = xml.xpath("ParticipantObjectIdentification/@ParticipantObjectID")
    assert asked == people.LIST
    assert shown == [f"urn:perfusion-node:case:00a{end}" for end in "bcd"] + [KEY.patient("PAT1")]
    assert base64.b64decode(xml.findtext("ParticipantObjectIdentification/ParticipantObjectQuery")) == b"withheld"
    assert xml.xpath("string(EventIdentification/@EventActionCode)") == "E"
    roles = xml.xpath("ActiveParticipant/RoleIDCode/@csd-code")
    assert roles == [codes.SOURCE.value, codes.DESTINATION.value]
    assert "PAT1" not in etree.tostring(xml, encoding="unicode")


def test_a_long_list_is_told_in_messages_that_a_datagram_holds() -> None:
    many = {f"{number:016x}": f"PAT{number}" for number in range(120)}
    messages = people.cases_listed(US, NOW, ADA, many, KEY)
    written = [to_xml(message, AuditSource("perfusion-1")) for message in messages]
    assert max(map(len, written)) < 65_000
    assert [sum(f"case:{case}" in xml for xml in written) for case in many] == [1] * 120
    assert people.cases_listed(US, NOW, ADA, {}, KEY) == []
