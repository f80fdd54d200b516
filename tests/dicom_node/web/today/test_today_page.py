"""The page of today and the JSON API, for those who may see patients and for those who may not."""

import html
import re
import shutil
from datetime import datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from dicom_node.audit.reading import read_entries
from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.rights import PageRole
from tests.dicom_node.web.conftest import ClientFor
from tests.dicom_node.web.today.conftest import Looking
from tests.dicom_node.web.today.made_cases import CASES, DELIVERED, HELD, SCRIPT, SECRETS, WAITING, YAMADA
from tests.peers import eventually


def ids(client: TestClient, question: str) -> set[str]:
    answer = client.get(f"/api/v1/cases?{question}")
    assert answer.status_code == 200, answer.text
    return {case["case_id"] for case in answer.json()["cases"]}


def test_every_case_stands_on_the_page_with_its_patient(looking: Looking) -> None:
    answer = looking(PageRole.OPERATOR).get("/")
    assert answer.status_code == 200
    text = html.unescape(re.sub(r"<[^>]+>", "", answer.text))
    for words in ("Müller, Anna Maria", "Yamada, Tarou (山田 太郎)", "O'Neil, Zoë", "AWAITS_RELEASE", "2 (flag)"):
        assert words in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, Bobby" in answer.text
    assert "<script>alert" not in answer.text
    assert 'x" onclick' not in answer.text


def test_who_may_not_see_patients_reads_nothing_of_them(looking: Looking) -> None:
    viewer = looking(PageRole.VIEWER)
    for address in (
        "/",
        "/?state=HELD",
        "/today/node",
        "/api/v1/cases",
        f"/api/v1/cases/{DELIVERED.case_id}",
        "/api/v1/node",
    ):
        answer = viewer.get(address)
        assert answer.status_code == 200
        assert [word for word in SECRETS if word in answer.text] == [], address
    assert "your role does not show who patients are" in viewer.get("/").text
    assert {case["patient"] for case in viewer.get("/api/v1/cases").json()["cases"]} == {None}


@pytest.mark.parametrize("question", ["patient_id=PID", "patient_name=anna", "accession_number=ACC"])
def test_who_may_not_see_patients_cannot_look_for_them(looking: Looking, question: str) -> None:
    answer = looking(PageRole.VIEWER).get(f"/api/v1/cases?{question}")
    assert (answer.status_code, answer.json()["code"]) == (403, "NOT_ALLOWED")


def test_the_free_search_of_a_viewer_finds_cases_by_their_id_alone(looking: Looking) -> None:
    viewer, operator = looking(PageRole.VIEWER), looking(PageRole.OPERATOR)
    assert ids(operator, "q=anna") == ids(operator, "q=pid-100") == ids(operator, "q=acc 77") == {DELIVERED.case_id}
    assert ids(viewer, "q=anna") == ids(viewer, "q=pid-100") == ids(viewer, "q=acc 77") == set()
    assert ids(viewer, f"q={DELIVERED.case_id}") == {DELIVERED.case_id}
    assert DELIVERED.case_id not in viewer.get("/?q=anna").text
    assert DELIVERED.case_id in operator.get("/?q=anna").text


def test_the_search_takes_names_states_and_days(looking: Looking) -> None:
    operator = looking(PageRole.OPERATOR)
    assert ids(operator, "patient_name=山田") == {YAMADA.case_id}
    assert ids(operator, "patient_id=PID%25") == {WAITING.case_id}
    assert ids(operator, "patient_id=%27%20or%201--") == set()
    assert ids(operator, "state=HELD&state=REJECTED") == {HELD.case_id, SCRIPT.case_id}
    assert ids(operator, "received_to=2001-01-01") == set()
    assert len(ids(operator, "received_from=2001-01-01&received_to=2999-12-31")) == len(CASES)


def test_both_days_of_a_span_belong_to_it(looking: Looking) -> None:
    operator = looking(PageRole.OPERATOR)
    arrived = {
        case["case_id"]: datetime.fromisoformat(case["created_at"]).astimezone().date()
        for case in operator.get("/api/v1/cases").json()["cases"]
    }
    first, last = min(arrived.values()), max(arrived.values())
    assert ids(operator, f"received_from={first}&received_to={last}") == arrived.keys()
    assert ids(operator, f"received_from={last + timedelta(days=1)}") == set()
    assert ids(operator, f"received_to={first - timedelta(days=1)}") == set()


def test_pages_of_cases_follow_each_other(looking: Looking) -> None:
    operator = looking(PageRole.OPERATOR)
    first = operator.get("/api/v1/cases?limit=3").json()
    second = operator.get(f"/api/v1/cases?limit=3&cursor={first['next_cursor']}").json()
    found = [case["case_id"] for case in (*first["cases"], *second["cases"])]
    assert sorted(found) == sorted(case.case_id for case in CASES)
    assert (second["next_cursor"], second["matching"]) == ("", len(CASES))


@pytest.mark.parametrize(
    ("question", "status"),
    [
        ("cursor=nonsense", 400),
        ("limit=0", 422),
        ("limit=1000000", 422),
        ("state=NONE", 422),
        ("received_from=yesterday", 422),
        ("received_to=9999-12-31", 422),
        ("received_from=0001-01-01", 422),
        ("unknown=1", 422),
        (f"q={'x' * 300}", 422),
    ],
)
def test_a_question_that_is_none_is_refused(looking: Looking, question: str, status: int) -> None:
    operator = looking(PageRole.OPERATOR)
    assert operator.get(f"/api/v1/cases?{question}").status_code == status
    page = operator.get(f"/?{question}")
    assert page.status_code == (200 if question.startswith(("limit", "unknown")) else 422)


def test_a_case_is_told_alone_and_none_that_is_not_here(looking: Looking) -> None:
    operator = looking(PageRole.OPERATOR)
    told: dict[str, Any] = operator.get(f"/api/v1/cases/{YAMADA.case_id}").json()
    assert (told["state"], told["stage"], told["patient"]["dicom_name"]) == (
        "PROCESSING",
        "segment",
        YAMADA.patient_name,
    )
    answer = operator.get("/api/v1/cases/%27")
    assert (answer.status_code, answer.json()["code"]) == (404, "UNKNOWN_CASE")


def test_the_node_says_what_waits_and_which_destination_is_away(looking: Looking) -> None:
    client = looking(PageRole.VIEWER)
    assert eventually(lambda: client.get("/api/v1/node").json()["queues"] != [], 30.0)
    node = client.get("/api/v1/node").json()
    assert node["cases"] == {"DELIVERED": 1, "DELIVERING": 1, "HELD": 1, "PROCESSING": 1, "REJECTED": 1}
    assert node["oldest"]["case_id"] == YAMADA.case_id
    assert [(q["queue"], q["waiting"]) for q in node["queues"]] == [("send-pacs", 1), ("work", 1)]
    (pacs,) = node["destinations"]
    assert (pacs["name"], pacs["mode"], pacs["standing"], pacs["waiting"]) == ("pacs", "hold", "away", 1)
    assert pacs["last_code"] == "PEER_UNREACHABLE"
    assert {check["name"]: check["ok"] for check in node["checks"]}["database"] is True
    assert node["model"] == "densitometric"
    assert [disk["name"] for disk in node["disks"]] == ["data"]


def test_a_database_that_is_away_is_an_alarm_and_the_cases_stay(looking: Looking, busy_node: NodeSettings) -> None:
    client = looking(PageRole.OPERATOR)
    shutil.move(busy_node.data_dir / "node.sqlite", busy_node.data_dir / "away.sqlite")
    with TestClient(client.app, base_url="http://127.0.0.1:8080") as again:
        assert eventually(lambda: "DATABASE_AWAY" in again.get("/").text, 60.0)
        assert "Müller, Anna Maria" in again.get("/").text


def test_a_node_that_has_never_run_has_a_page(client_for: ClientFor, node_settings: NodeSettings) -> None:
    (node_settings.data_dir / "node.sqlite").unlink()
    answer = client_for(PageRole.OPERATOR).get("/")
    assert answer.status_code == 200
    assert "No case is here." in answer.text


def lists_told(settings: NodeSettings) -> list[tuple[str, set[str]]]:
    """Each list that was shown: to whom, and of which cases."""
    log = settings.audit_trail().log_file
    entries = [entry for entry in read_entries(log) if entry.event == "Query"] if log.exists() else []
    ours = [(e.participants[0], {s.removeprefix("case:") for s in e.subjects if "case:" in s}) for e in entries]
    return [(who.partition("@")[0], cases) for who, cases in ours]


@pytest.mark.parametrize("address", ["/", "/api/v1/cases"])
def test_a_list_of_patients_is_told_to_the_audit_trail_once(
    looking: Looking, node_settings: NodeSettings, address: str
) -> None:
    operator, viewer = looking(PageRole.OPERATOR), looking(PageRole.VIEWER)
    for _ in range(3):
        assert viewer.get(address).status_code == 200
        assert operator.get(address).status_code == 200
    assert lists_told(node_settings) == [("operator-1", {case.case_id for case in CASES})]


def test_a_search_tells_only_of_those_it_found(looking: Looking, node_settings: NodeSettings) -> None:
    operator = looking(PageRole.OPERATOR)
    operator.get("/?q=anna")
    operator.get("/api/v1/cases?patient_name=anna")
    operator.get("/api/v1/cases?q=nobody")
    assert lists_told(node_settings) == [("operator-1", {DELIVERED.case_id})]
    assert "anna" not in node_settings.audit_trail().log_file.read_text().lower()


def test_one_case_of_the_list_is_a_view_of_that_case(looking: Looking, node_settings: NodeSettings) -> None:
    looking(PageRole.OPERATOR).get(f"/api/v1/cases/{YAMADA.case_id}")
    seen = [entry for entry in read_entries(node_settings.audit_trail().log_file) if "Accessed" in entry.event]
    assert [entry.subjects for entry in seen] == [(f"case:{YAMADA.case_id}",)]
