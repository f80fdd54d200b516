"""Views of cases in the audit trail."""

from pathlib import Path

import pytest

from dicom_node.audit.reading import read_entries
from dicom_node.errors import UnknownCase
from dicom_node.jobs.cases import CaseFolder, CaseRecord
from dicom_node.operations import Operations
from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.rights import PageRole, Person
from dicom_node.web.node import WebNode
from dicom_node.web.viewing import told_list, told_view
from dicom_node.web.views_told import AGAIN_AFTER_S, ViewsTold
from tests.audit_messages import Line, read_lines
from tests.small_ct import small_ct, write_file

ADA = Person("ada", PageRole.OPERATOR, "192.0.2.7", "s1")


@pytest.fixture
def node(node_settings: NodeSettings) -> WebNode:
    return WebNode(node_settings, Operations(node_settings), node_settings.audit_trail())


def add_case(settings: NodeSettings, number: int = 1) -> CaseFolder:
    case = settings.cases().folder(f"{number:016x}")
    case.received.mkdir(parents=True)
    write_file(case.received, small_ct())
    case.write_record(CaseRecord(case.case_id, "1.2", "", 120, "CT"))
    return case


def seen(node: WebNode) -> list[tuple[str, str]]:
    """Who looked, and at which case."""
    lines = lines_of(node.audit.log_file)
    case = "ParticipantObjectIdentification[last()]/@ParticipantObjectID"
    return [(line.value("ActiveParticipant[1]/@UserID"), line.value(case).rpartition(":")[2]) for line in lines]


def test_a_page_with_many_pictures_is_one_view(node: WebNode) -> None:
    case = add_case(node.settings)
    for _ in range(20):
        told_view(node, ADA, case.case_id)
    assert seen(node) == [("ada", case.case_id)]
    (line,) = read_lines(node.audit.log_file)
    assert line.event == "DICOM Instances Accessed"
    patient = line.value("ParticipantObjectIdentification[2]/@ParticipantObjectID")
    assert patient == node.audit.pseudonym(str(small_ct().PatientID))
    assert line.value("//SOPClass/@NumberOfInstances") == "120"


def test_other_cases_other_people_and_other_sign_ins_are_views_of_their_own(node: WebNode) -> None:
    first, second = add_case(node.settings, 1), add_case(node.settings, 2)
    told_view(node, ADA, first.case_id)
    told_view(node, ADA, second.case_id)
    told_view(node, Person("bob", PageRole.VIEWER, "192.0.2.8", "s2"), first.case_id)
    told_view(node, Person("ada", PageRole.OPERATOR, "192.0.2.7", "s3"), first.case_id)
    assert seen(node) == [
        ("ada", first.case_id),
        ("ada", second.case_id),
        ("bob", first.case_id),
        ("ada", first.case_id),
    ]


def test_a_view_is_told_again_after_a_while() -> None:
    views = ViewsTold()
    assert views.must_tell(ADA, "1", 0.0)
    assert not views.must_tell(ADA, "1", AGAIN_AFTER_S - 1.0)
    assert views.must_tell(ADA, "1", AGAIN_AFTER_S)
    assert not views.must_tell(ADA, "1", AGAIN_AFTER_S + 1.0)


def test_a_case_whose_images_are_gone_is_told_by_its_id(node: WebNode) -> None:
    case = add_case(node.settings)
    for path in case.received.iterdir():
        path.unlink()
    told_view(node, ADA, case.case_id)
    assert seen(node) == [("ada", case.case_id)]


def test_images_that_cannot_be_read_hold_no_view_up(node: WebNode) -> None:
    case = add_case(node.settings)
    for path in case.received.iterdir():
        path.write_bytes(b"no DICOM")
    told_view(node, ADA, case.case_id)
    assert seen(node) == [("ada", case.case_id)]


@pytest.mark.parametrize("case_id", ["0000000000000009", "..", "", "%2e", "a/b", "A0", "\x00", "0" * 65])
def test_what_is_no_case_is_not_told(node: WebNode, case_id: str) -> None:
    with pytest.raises(UnknownCase):
        told_view(node, ADA, case_id)
    assert seen(node) == []


def listed(node: WebNode) -> list[tuple[str, list[str]]]:
    """Who was shown lists, and of which cases."""
    log = node.audit.log_file
    entries = read_entries(log) if log.exists() else ()
    cases = [[s.removeprefix("case:") for s in e.subjects if s.startswith("case:")] for e in entries]
    return list(zip([line.value("ActiveParticipant[1]/@UserID") for line in lines_of(log)], cases, strict=True))


def lines_of(log: Path) -> list[Line]:
    return read_lines(log) if log.exists() else []


def test_a_list_is_one_message_without_those_it_has_told_before(node: WebNode) -> None:
    told_list(node, ADA, {"0a": "PAT1", "0b": "PAT2"})
    told_list(node, ADA, {"0b": "PAT2", "0c": ""})
    told_list(node, ADA, {"0a": "PAT1", "0c": ""})
    bob = Person("bob", PageRole.OPERATOR, "192.0.2.8", "s2")
    told_list(node, bob, {"0a": "PAT1"})
    assert listed(node) == [("ada", ["0a", "0b"]), ("ada", ["0c"]), ("bob", ["0a"])]
    assert {line.event for line in lines_of(node.audit.log_file)} == {"Query"}
    entry = next(iter(read_entries(node.audit.log_file)))
    assert entry.patients == (node.audit.pseudonym("PAT1"), node.audit.pseudonym("PAT2"))


def test_a_list_without_patients_is_not_told(node: WebNode) -> None:
    told_list(node, Person("vic", PageRole.VIEWER, "192.0.2.9", "s9"), {"0a": "PAT1"})
    told_list(node, ADA, {})
    assert listed(node) == []


def test_a_look_at_a_case_is_told_also_to_whom_a_list_showed_it(node: WebNode) -> None:
    case = add_case(node.settings)
    told_list(node, ADA, {case.case_id: "PAT1"})
    told_view(node, ADA, case.case_id)
    assert [line.event for line in lines_of(node.audit.log_file)] == ["Query", "DICOM Instances Accessed"]


def test_the_trail_names_no_patient(node: WebNode, tmp_path: Path) -> None:
    told_view(node, ADA, add_case(node.settings).case_id)
    text = node.audit.log_file.read_text()
    assert str(small_ct().PatientID) not in text
    assert str(small_ct().PatientName) not in text
