"""The audit trail of one patient on the page: whose messages, in words, and that somebody looked."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from dicom_node.audit.people import AtPage
from dicom_node.audit.reading import Entry, read_entries
from dicom_node.audit.trail import AuditSettings, AuditTrail, StudyTransfer
from dicom_node.jobs.attempts import Case, CaseState
from dicom_node.jobs.cases import CaseRecord
from dicom_node.jobs.stages import Stage
from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.rights import PageRole
from dicom_node.web.today.case_index import CaseIndex
from dicom_node.web.today.case_line import line_of
from dicom_node.web.tools.audit_view import AuditedPatient, answer_of
from tests.dicom_node.web.conftest import ClientFor
from tests.small_ct import small_ct, write_file

ADDRESS = "/api/v1/audit/messages"
CASE, OTHER = "00aa00aa00aa00aa", "00bb00bb00bb00bb"
PATIENT, STUDY = "CANARY-ID", "1.2.826.0.1.3680043.8.498"


@pytest.fixture
def administrator(client_for: ClientFor) -> TestClient:
    return client_for(PageRole.ADMINISTRATOR)


@pytest.fixture
def case(node_settings: NodeSettings) -> str:
    """A case of a patient, which the index knows, and messages about it and about somebody else."""
    store = node_settings.cases()
    for case_id in (CASE, OTHER):
        folder = store.folder(case_id)
        folder.received.mkdir(parents=True)
        folder.write_record(CaseRecord(case_id, "1.2.3", "d", 1, "CT1"))
    write_file(store.folder(CASE).received, small_ct())
    index = CaseIndex.under(node_settings.data_dir)
    index.prepare()
    known = Case(CASE, CaseState.HELD, Stage.DELIVER, "", "", 1.0, 2.0, ())
    index.put([line_of(known, store.folder(CASE))])
    trail = node_settings.audit_trail()
    trail.instances_received("10.1.2.3", "CT1", "a1", [StudyTransfer(STUDY, PATIENT, {"1.3": 7})])
    trail.instances_received("10.1.2.3", "CT1", "a2", [StudyTransfer("1.9", "SOMEBODY-ELSE", {"1.3": 9})])
    trail.operator_action("release", f"case:{CASE}", by="ben")
    trail.operator_action("release", f"case:{OTHER}", by="ben")
    return CASE


def entries(settings: NodeSettings) -> list[Entry]:
    return list(read_entries(settings.audit_trail().log_file))


@pytest.mark.parametrize("question", [{"patient_id": PATIENT}, {"case": CASE[:6]}])
def test_all_messages_of_the_patient_and_of_no_other(
    administrator: TestClient, case: str, question: dict[str, str]
) -> None:
    found = administrator.post(ADDRESS, json=question).json()
    assert found["about"]["patient_id"] == PATIENT
    assert found["about"]["cases"] == [case]
    said = [line["said"] for line in found["lines"]]
    assert said[0].startswith("7 instances went from CT1@10.1.2.3")
    assert said[1] == f"release of case:{case} by ben"
    assert len(said) == 2
    assert found["lines"][0]["patients"] == [PATIENT], "the pseudonym is resolved"
    assert (found["lines"][0]["studies"] == [STUDY]) is ("case" in question)


def test_who_looks_is_audited_with_name_and_patient(
    administrator: TestClient, case: str, node_settings: NodeSettings
) -> None:
    before = len(entries(node_settings))
    administrator.post(ADDRESS, json={"patient_id": PATIENT})
    new = entries(node_settings)[before:]
    (used,) = [entry for entry in new if entry.event == "Audit Log Used"]
    assert used.participants[0].startswith("administrator-1")
    assert used.patients == (node_settings.audit_trail().pseudonym(PATIENT),)
    again = administrator.post(ADDRESS, json={"patient_id": PATIENT}).json()
    assert "read this patient's messages" in again["lines"][-1]["said"]


def test_the_page_audits_too_and_shows_text(administrator: TestClient, case: str, node_settings: NodeSettings) -> None:
    node_settings.audit_trail().operator_action("<script>alert(1)</script>", f"case:{case}")
    page = administrator.post("/tools/audit", data={"case": case})
    assert page.status_code == 200
    assert "7 instances went from CT1@10.1.2.3" in page.text
    assert "<script>alert" not in page.text
    assert PATIENT in page.text
    assert any(entry.event == "Audit Log Used" for entry in entries(node_settings))


def test_a_case_whose_images_are_gone_still_has_its_decisions(administrator: TestClient, case: str) -> None:
    found = administrator.post(ADDRESS, json={"case": OTHER}).json()
    assert found["about"]["patient_id"] == ""
    assert [line["said"] for line in found["lines"]] == [f"release of case:{OTHER} by ben"]


def test_plain_identifiers_are_found_as_they_are(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, "PERFNODE", AuditSettings(plain_identifiers=True))
    for patient in ("A&B", "A"):
        trail.instances_received("10.1.2.3", "CT1", "a1", [StudyTransfer("1.2", patient, {"1.3": 2})])
    about = AuditedPatient([], "A&B", trail.pseudonym("A&B"), "", "")
    assert [line.patients for line in answer_of(trail, about, AtPage("ann")).lines] == [["A&B"]]


def test_only_the_newest_messages_are_shown(administrator: TestClient, case: str, node_settings: NodeSettings) -> None:
    trail = node_settings.audit_trail()
    about = AuditedPatient([case], PATIENT, trail.pseudonym(PATIENT), "", "")
    found = answer_of(trail, about, AtPage("ann"), most=1)
    assert (found.is_cut, [line.said for line in found.lines]) == (True, [f"release of case:{case} by ben"])


@pytest.mark.parametrize("question", [{}, {"patient_id": "x", "case": "00aa"}, {"patient_id": "  "}])
def test_one_of_both_must_be_named(administrator: TestClient, case: str, question: dict[str, Any]) -> None:
    answer = administrator.post(ADDRESS, json=question)
    assert (answer.status_code, answer.json()["code"]) == (422, "NOTHING_ASKED")
    assert administrator.post("/tools/audit", data=question).status_code == 422


def test_what_is_not_there_or_does_not_fit(administrator: TestClient, case: str) -> None:
    assert administrator.post(ADDRESS, json={"case": "ffff"}).json()["code"] == "UNKNOWN_CASE"
    assert administrator.post(ADDRESS, json={"case": "../../x"}).status_code == 422
    assert administrator.post(ADDRESS, json={"patient_id": "x" * 65}).status_code == 422
    assert administrator.post(ADDRESS, json={"patient_id": "nobody"}).json()["lines"] == []


def test_the_trail_is_for_administrators(client_for: ClientFor, case: str) -> None:
    approver = client_for(PageRole.APPROVER)
    assert approver.get("/tools/audit").status_code == 403
    assert approver.post("/tools/audit", data={"case": case}).status_code == 403
    assert approver.post(ADDRESS, json={"case": case}).status_code == 403
