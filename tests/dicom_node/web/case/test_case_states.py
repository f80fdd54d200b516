"""The page of a case in every state: what happened, what is waited for, and a calm page where there is no case."""

from typing import Any

import pytest
from pydicom import dcmread

from dicom_node.jobs.attempts import CaseState
from dicom_node.keeping.removal_proof import RemovalLog
from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.rights import PageRole
from dicom_node.web.case.wording import MEANINGS
from tests.dicom_node.web.case import stories
from tests.dicom_node.web.case.conftest import AddCase
from tests.dicom_node.web.case.test_case_page import text_of
from tests.dicom_node.web.conftest import ClientFor


@pytest.mark.parametrize(
    ("case_id", "state", "words"),
    [
        (stories.DELIVERED, CaseState.DELIVERED, "1 of 1 instances stored, 1 confirmed"),
        (stories.FAILED, CaseState.FAILED, "refused with 0xA900"),
        (stories.WAITING, CaseState.DELIVERING, "waits for its turn (deliver) PEER_UNREACHABLE"),
        (stories.HELD, CaseState.HELD, "waits for a person since"),
        (stories.DRY, CaseState.DRY_RUN, "2 objects would be sent"),
        (stories.CANCELLED, CaseState.CANCELLED, "No object was made."),
        (stories.CHECK_FAILED, CaseState.FAILED, "Check: failed. SET_EMPTY in structure-set.dcm"),
    ],
)
def test_each_state_says_what_it_means_and_what_is_with_the_destination(
    add_case: AddCase, client_for: ClientFor, case_id: str, state: CaseState, words: str
) -> None:
    has_objects = state is not CaseState.CANCELLED
    add_case(case_id, *(() if has_objects else ("objects", "objects.json", "result.*", "lobes.*", "summary.png")))
    read = text_of(client_for(PageRole.OPERATOR), f"/cases/{case_id}")
    assert state.value.replace("_", " ") in read
    assert MEANINGS[state] in read
    assert words in read


def test_every_state_has_a_meaning() -> None:
    assert set(MEANINGS) == set(CaseState)


def details(client_for: ClientFor, case_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client_for(PageRole.OPERATOR).get(f"/api/v1/cases/{case_id}/details").json()
    return found


def test_a_failed_delivery_shows_instances_tries_and_pauses(add_case: AddCase, client_for: ClientFor) -> None:
    add_case(stories.FAILED)
    said = details(client_for, stories.FAILED)
    (pacs,) = said["deliveries"]
    assert (pacs["outcome"], pacs["code"], pacs["tries"], pacs["waited_s"]) == ("failed", "STORE_REFUSED", 2, 60.0)
    assert [(i["sop_instance_uid"], i["status"], i["stored"]) for i in pacs["instances"]] == [
        ("1.2.3.1", "0x0000", True),
        ("1.2.3.2", "0xA900", False),
    ]
    tries = [m for m in said["moments"] if m["kind"] == "delivery"]
    assert [(m["attempt"], m["outcome"], m["code"]) for m in tries] == [
        (1, "again", "PEER_UNREACHABLE"),
        (2, "failed", "STORE_REFUSED"),
    ]


def test_a_rejected_case_has_no_result_and_shows_its_notice(add_case: AddCase, client_for: ClientFor) -> None:
    add_case(stories.REJECTED, "ct.*", "lobes.*", "result.*", "objects", "objects.json", "summary.png")
    said, read = (
        details(client_for, stories.REJECTED),
        text_of(client_for(PageRole.VIEWER), f"/cases/{stories.REJECTED}"),
    )
    assert said["result"] is None
    assert said["has_ct"] is False
    (notice,) = said["deliveries"]
    assert (notice["kind"], notice["stored"]) == ("notice", 1)
    assert "There are 4 slices; at least 16 are needed." in read
    assert "Notice of refusal to pacs" in read
    assert "Summary page" not in read
    for part in ("summary.pdf", "summary.png"):
        assert "no result yet" in text_of(client_for(PageRole.VIEWER), f"/cases/{stories.REJECTED}/{part}", 404)
    answer = client_for(PageRole.VIEWER).get(f"/api/v1/cases/{stories.REJECTED}/densities")
    assert (answer.status_code, answer.json()["code"]) == (404, "NO_RESULT")


def test_a_half_done_case_says_what_is_being_done(add_case: AddCase, client_for: ClientFor) -> None:
    folder = add_case(stories.HALF_DONE, "lobes.*", "result.*", "objects", "objects.json", "summary.png")
    folder.show_progress("finding <lobes>")
    read = text_of(client_for(PageRole.VIEWER), f"/cases/{stories.HALF_DONE}")
    assert "Now: finding <lobes>." in read
    assert "The objects have not been checked yet" in read
    standing = client_for(PageRole.VIEWER).get(f"/api/v1/cases/{stories.HALF_DONE}/standing").json()
    assert (standing["state"], standing["is_finished"]) == ("PROCESSING", False)
    assert standing["progress"] == "finding <lobes>"


@pytest.mark.parametrize("case_id", ["ffffffffffffffff", "FFFFFFFFFFFFFFFF", "a" * 200, "..%5ccases", "é", "%00"])
def test_a_case_that_never_was_is_a_calm_page(client_for: ClientFor, case_id: str) -> None:
    client = client_for(PageRole.VIEWER)
    assert "There is no such case" in text_of(client, f"/cases/{case_id}", 404)
    for part in ("details", "standing", "densities"):
        answer = client.get(f"/api/v1/cases/{case_id}/{part}")
        assert (answer.status_code, answer.json()["code"]) == (404, "UNKNOWN_CASE")


def test_a_case_without_rows_is_about_to_begin(add_case: AddCase, client_for: ClientFor) -> None:
    folder = add_case(stories.DELIVERED)
    begun = folder.path.rename(folder.path.with_name("00000000000000ff"))
    assert "about to begin" in text_of(client_for(PageRole.VIEWER), f"/cases/{begun.name}", 404)


def test_a_case_that_is_being_removed_or_was_is_told_with_its_proof(
    add_case: AddCase, client_for: ClientFor, node_settings: NodeSettings
) -> None:
    folder = add_case(stories.DELIVERED)
    leaving = node_settings.shared_dir / "removing" / folder.case_id
    leaving.parent.mkdir()
    folder.path.rename(leaving)
    address = f"/cases/{folder.case_id}"
    assert "The case is being removed" in text_of(client_for(PageRole.VIEWER), address, 404)
    leaving.rename(leaving.with_name("gone"))
    there = {"stored": 3, "confirmed": 2, "objects": [{}, {}, {}]}
    proof = {"case": folder.case_id, "removed_at": "2026-11-01T00:00:00.000+00:00", "because": "AGED", "code": ""}
    times = {"first_seen": "2026-10-01T00:00:00.000+00:00", "last_attempt": "2026-10-01T00:01:00.000+00:00"}
    RemovalLog.under(node_settings.shared_dir).append(
        {**proof, **times, "state": "DELIVERED", "instances_received": 48, "destinations": {"pacs": there}}
    )
    read = text_of(client_for(PageRole.VIEWER), address, 404)
    assert "it was kept as long as the site wants" in read
    assert "3 of 3 objects stored, 2 confirmed" in read
    assert client_for(PageRole.VIEWER).get(f"/api/v1{address}/details").json()["code"] == "CASE_REMOVED"


def test_files_that_go_while_they_are_read_are_a_removal_and_no_fault(add_case: AddCase, client_for: ClientFor) -> None:
    folder = add_case(stories.DELIVERED, "received")
    assert client_for(PageRole.VIEWER).get(f"/cases/{folder.case_id}").status_code == 404


def test_objects_are_listed_with_class_uid_size_and_rules(add_case: AddCase, client_for: ClientFor) -> None:
    folder = add_case(stories.DELIVERED)
    said = details(client_for, stories.DELIVERED)
    objects = {each["role"]: each for each in said["objects"]}
    path = folder.object("structure-set")
    made = objects["structure-set"]
    assert made["sop_class"] == "RT Structure Set Storage"
    assert made["sop_instance_uids"] == [str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)]
    assert made["bytes"] == path.stat().st_size
    assert len(objects["mr-twin"]["sop_instance_uids"]) == 48
    assert made["rules"] > objects["summary-pdf"]["rules"] > 0
    assert said["checked"]["verdict"] == "passed"


def test_a_check_on_demand_finds_what_was_altered_and_is_kept_until_objects_change(
    add_case: AddCase, client_for: ClientFor
) -> None:
    folder = add_case(
        stories.DELIVERED, "mr-twin-*", "parametric-map.dcm", "report.dcm", "segmentation*", "summary-pdf*"
    )
    address = f"/cases/{folder.case_id}/check"
    assert client_for(PageRole.VIEWER).post(address).status_code == 403
    path = folder.object("structure-set")
    dataset = dcmread(path)
    dataset.ApprovalStatus = "APPROVED"
    dataset.save_as(path, enforce_file_format=True)
    operator = client_for(PageRole.OPERATOR)
    answer = operator.post(address)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/cases/{folder.case_id}#objects")
    said = details(client_for, folder.case_id)
    assert said["checked"]["verdict"] == "failed"
    assert "SET_APPROVED" in [f["code"] for each in said["objects"] for f in each["faults"]]
    assert "SET_APPROVED" in text_of(operator, f"/cases/{folder.case_id}")
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.save_as(path, enforce_file_format=True)
    assert details(client_for, folder.case_id)["checked"]["again_at"] is None
    path.unlink()
    assert operator.post("/cases/ffffffffffffffff/check").status_code == 404


def test_the_summary_page_is_the_one_that_was_sent_and_names_nobody_to_viewers(
    add_case: AddCase, client_for: ClientFor
) -> None:
    folder = add_case(stories.DELIVERED)
    sent = dcmread(folder.object("summary-pdf"))
    address = f"/cases/{folder.case_id}/summary.pdf"
    for_operator, for_viewer = (client_for(role).get(address) for role in (PageRole.OPERATOR, PageRole.VIEWER))
    assert for_operator.headers["content-type"] == "application/pdf"
    assert for_operator.content == sent.EncapsulatedDocument[: sent.EncapsulatedDocumentLength]
    assert for_viewer.content.startswith(b"%PDF")
    assert for_viewer.content != for_operator.content
    folder.object("summary-pdf").unlink()  # nobody ordered one: it is drawn, to the same bytes
    assert client_for(PageRole.OPERATOR).get(address).content == for_operator.content
    picture = client_for(PageRole.VIEWER).get(f"/cases/{folder.case_id}/summary.png")
    assert picture.content == folder.summary.read_bytes()
    assert "no-store" in picture.headers["cache-control"]


def test_nothing_of_the_patient_is_in_the_file_names(add_case: AddCase, client_for: ClientFor) -> None:
    add_case(stories.DELIVERED)
    answer = client_for(PageRole.OPERATOR).get(f"/cases/{stories.DELIVERED}/summary.png")
    assert answer.headers["content-disposition"] == f'inline; filename="perfusion-{stories.DELIVERED}.png"'
