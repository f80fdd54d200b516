"""Decisions at the page and by the JSON API: asked once more, by whom it may, with a reason, upon what was seen."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from dicom_node.durable_files import make_directory
from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.cases import CaseFolder
from dicom_node.operations import CaseDetails, Operations
from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.rights import PageRole
from tests.dicom_node.web.conftest import ClientFor
from tests.finished_jobs import delivered, write_rows
from tests.prepared_cases import prepare_case
from tests.small_ct import small_ct, write_file

HELD, SENT = f"{1:016x}", f"{2:016x}"
SCRIPT = "<script>alert(1)</script>"
WAITS = {"result": "held", "code": "AWAITS_RELEASE", "message": "It waits."}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of a case that is held for the destination, and of one that it has."""
    stages = {f"{HELD}:1:{stage}:1": {"result": "done"} for stage in ("read", "check")}
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder, {**stages, f"{HELD}:1:deliver.pacs:1": WAITS, **delivered(SENT, "pacs")})
    return folder


@pytest.fixture
def held(node_settings: NodeSettings, rows: Path) -> CaseFolder:
    """The case that is held; its patient is called like a program."""
    for path in rows.glob("node.sqlite*"):
        shutil.copy(path, node_settings.data_dir)
    first, _ = prepare_case(node_settings, 1), prepare_case(node_settings, 2)
    make_directory(first.received)
    dataset = small_ct(series="2.25.20")
    dataset.PatientName, dataset.PatientID = SCRIPT, "ZZ-4711"
    write_file(first.received, dataset)
    return first


def details(settings: NodeSettings, case_id: str = HELD) -> CaseDetails:
    with Operations(settings) as node:
        return node.show(case_id)


def asked(client: TestClient, action: str, case_id: str = HELD) -> dict[str, str]:
    """The hidden fields of the page that asks once more."""
    text = client.get(f"/cases/{case_id}/decide/{action}").text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))


def decide(client: TestClient, action: str, fields: dict[str, str], case_id: str = HELD, **more: str) -> Any:
    return client.post(f"/cases/{case_id}/decide/{action}", data={**fields, **more})


def test_the_page_asks_once_more_and_names_patient_case_destination_and_consequence(
    client_for: ClientFor, held: CaseFolder
) -> None:
    answer = client_for(PageRole.APPROVER).get(f"/cases/{HELD}/decide/release")
    assert answer.status_code == 200
    for word in ("&lt;script&gt;alert(1)&lt;/script&gt;", "ZZ-4711", HELD, "pacs", "cannot be taken back"):
        assert word in answer.text
    assert SCRIPT not in answer.text


def test_a_release_by_form_is_recorded_and_leads_back_to_the_case(
    client_for: ClientFor, held: CaseFolder, node_settings: NodeSettings
) -> None:
    client = client_for(PageRole.APPROVER)
    answer = decide(client, "release", asked(client, "release"), reason="lobes look right")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/cases/{HELD}#decisions")
    found = details(node_settings)
    assert found.case.state is CaseState.DELIVERING
    (decision,) = found.review.decisions
    assert (decision.by, decision.role, decision.reason) == ("approver-1", "approver", "lobes look right")
    assert decision.queued == (f"{HELD}:1:deliver.pacs:2",)


def test_two_clicks_decide_once(client_for: ClientFor, held: CaseFolder, node_settings: NodeSettings) -> None:
    client = client_for(PageRole.APPROVER)
    fields = asked(client, "release")
    assert decide(client, "release", fields).status_code == 303
    second = decide(client, "release", fields)
    assert second.status_code == 409
    assert "CASE_CHANGED" in second.text
    assert len(details(node_settings).review.decisions) == 1


def test_a_form_that_was_overtaken_keeps_what_was_written(client_for: ClientFor, held: CaseFolder) -> None:
    client = client_for(PageRole.APPROVER)
    fields = asked(client, "reject")
    decide(client, "cancel", asked(client, "cancel"), reason="wrong patient")
    answer = decide(client, "reject", fields, reason="no tumour <b>")
    assert (answer.status_code, "CASE_CHANGED" in answer.text) == (409, True)
    answer = decide(client, "rerun", asked(client, "rerun") | {"version": "of-then"}, reason="no tumour <b>")
    assert answer.status_code == 409
    assert "no tumour &lt;b&gt;</textarea>" in answer.text


@pytest.mark.parametrize("action", ["reject", "cancel", "rerun"])
def test_what_needs_a_reason_is_refused_without_one(
    client_for: ClientFor, held: CaseFolder, node_settings: NodeSettings, action: str
) -> None:
    client = client_for(PageRole.APPROVER)
    answer = decide(client, action, asked(client, action), reason="   ")
    assert answer.status_code == 422
    assert "REASON_MISSING" in answer.text
    assert details(node_settings).review.decisions == ()


def test_a_reason_of_500_characters_is_kept_and_one_more_is_refused(
    client_for: ClientFor, held: CaseFolder, node_settings: NodeSettings
) -> None:
    client = client_for(PageRole.APPROVER)
    fields = asked(client, "reject")
    assert "TEXT_TOO_LONG" in decide(client, "reject", fields, reason="x" * 501).text
    assert decide(client, "reject", fields, reason="x" * 500).status_code == 303
    assert [decision.reason for decision in details(node_settings).review.decisions] == ["x" * 500]


@pytest.mark.parametrize(
    ("role", "action", "status"),
    [
        (PageRole.VIEWER, "cancel", 403),
        (PageRole.VIEWER, "release", 403),
        (PageRole.OPERATOR, "release", 403),
        (PageRole.OPERATOR, "reject", 403),
        (PageRole.OPERATOR, "cancel", 303),
        (PageRole.OPERATOR, "rerun", 303),
        (PageRole.APPROVER, "reject", 303),
        (PageRole.ADMINISTRATOR, "release", 303),
    ],
)
def test_each_decision_takes_its_right(
    client_for: ClientFor, held: CaseFolder, node_settings: NodeSettings, role: PageRole, action: str, status: int
) -> None:
    client, seen = client_for(role), details(node_settings).review.version
    answer = decide(client, action, {"version": seen}, reason="because")
    assert answer.status_code == status
    assert len(details(node_settings).review.decisions) == (1 if status == 303 else 0)


def test_nothing_is_decided_without_the_token_of_the_form(
    client_for: ClientFor, held: CaseFolder, node_settings: NodeSettings
) -> None:
    client = client_for(PageRole.APPROVER)
    fields = asked(client, "release")
    del client.headers["X-CSRF-Token"]
    assert decide(client, "release", fields | {"csrf": "0" * 64}).status_code == 403
    assert details(node_settings).review.decisions == ()
    assert decide(client, "release", fields).status_code == 303


def test_what_cannot_be_decided_now_is_not_offered(client_for: ClientFor, held: CaseFolder) -> None:
    client = client_for(PageRole.APPROVER)
    answer = client.get(f"/cases/{SENT}/decide/release")
    assert answer.status_code == 409
    assert "<form" not in answer.text.partition('<main id="main"')[2]
    assert client.get("/cases/0000000000000009/decide/release").status_code == 404
    assert client.get("/cases/..%2F..%2Fetc/decide/release").status_code == 404


def test_the_api_offers_decides_and_refuses_alike(
    client_for: ClientFor, held: CaseFolder, node_settings: NodeSettings
) -> None:
    client = client_for(PageRole.APPROVER)
    path = f"/api/v1/cases/{HELD}/decisions"
    review = client.get(path).json()
    assert [offer["action"] for offer in review["offers"]] == ["release", "reject", "rerun", "cancel"]
    asked_for = {"action": "reject", "version": review["version"]}
    assert client.post(path, json=asked_for).json()["code"] == "REASON_MISSING"
    assert client.post(path, json={**asked_for, "reason": "x" * 501}).status_code == 422
    answer = client.post(path, json={**asked_for, "reason": "no tumour"})
    assert (answer.status_code, answer.json()["has_effect"]) == (200, True)
    again = client.post(path, json={**asked_for, "reason": "no tumour"})
    assert (again.status_code, again.json()["code"]) == (409, "CASE_CHANGED")
    assert details(node_settings).case.state is CaseState.DISCARDED


def test_whoever_may_not_see_patients_does_not_read_what_people_wrote(client_for: ClientFor, held: CaseFolder) -> None:
    approver = client_for(PageRole.APPROVER)
    decide(approver, "cancel", asked(approver, "cancel"), reason="ZZREASON")
    path = f"/api/v1/cases/{HELD}/decisions"
    assert "ZZREASON" in approver.get(path).text
    told = client_for(PageRole.VIEWER).get(path)
    assert "ZZREASON" not in told.text
    assert (told.json()["decisions"][0]["reason"], told.json()["offers"]) == (None, [])


def test_a_rating_is_kept_and_takes_the_right(
    client_for: ClientFor, held: CaseFolder, node_settings: NodeSettings
) -> None:
    client = client_for(PageRole.APPROVER)
    assert client.get(f"/cases/{HELD}/rate").status_code == 200
    path = f"/cases/{HELD}/rate"
    assert client.post(path, data={"changes": "minor", "minutes": "12.5", "words": "apex"}).status_code == 303
    assert client.post(path, data={"changes": "none", "minutes": ""}).status_code == 303
    assert client.post(path, data={"changes": "none", "minutes": "-1"}).status_code == 422
    assert client.post(path, data={"changes": "none", "minutes": "nan"}).status_code == 422
    assert client.post(path, data={"changes": "some"}).status_code == 422
    assert client_for(PageRole.OPERATOR).post(path, data={"changes": "none"}).status_code == 403
    ratings = details(node_settings).review.ratings
    assert [(r.by, r.changes.value, r.minutes, r.words) for r in ratings] == [
        ("approver-1", "minor", 12.5, "apex"),
        ("approver-1", "none", None, ""),
    ]
    api = client.post(f"/api/v1/cases/{HELD}/ratings", json={"changes": "major", "words": "lobes"})
    assert (api.status_code, api.json()["changes"]) == (201, "major")


def test_a_priority_is_changed_by_the_page_and_a_rule_that_nobody_knows_is_refused(
    client_for: ClientFor, held: CaseFolder, node_settings: NodeSettings
) -> None:
    client = client_for(PageRole.OPERATOR)
    answer = decide(client, "rerun", asked(client, "rerun"), reason="try", function_rule="made-up")
    assert (answer.status_code, "CHOICE_REFUSED" in answer.text) == (422, True)
    assert decide(client, "rerun", asked(client, "rerun"), reason="try", function_rule="quartiles").status_code == 303
    assert decide(client, "priority", asked(client, "priority"), priority="low").status_code == 303
    found = details(node_settings)
    assert found.record.priority == "low"
    assert [dict(d.details) for d in found.review.decisions] == [{"Function rule": "quartiles"}, {"Priority": "low"}]
