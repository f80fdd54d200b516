"""Signing in with a local account, and out again; what is answered to whoever has not."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.rights import PageRole
from dicom_node.web.access.throttle import TRIES_OF_NAME
from dicom_node.web.app import create_app
from dicom_node.web.sign_in import safe_path
from tests.audit_messages import Line, read_lines
from tests.dicom_node.web.conftest import PASSWORD, browser, sign_in, token_on


@pytest.fixture
def app(node_settings: NodeSettings) -> FastAPI:
    return create_app(node_settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with browser(app) as made:
        yield made


def told(settings: NodeSettings) -> list[Line]:
    return read_lines(settings.audit_trail().log_file)


def cookie_of(client: TestClient) -> str:
    return client.cookies["perfnode"]


def test_name_and_password_let_in_and_the_page_wanted_is_shown(client: TestClient) -> None:
    asked = client.get("/cases?state=HELD")
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=%2Fcases%3Fstate%3DHELD")
    assert 'value="/cases?state=HELD"' in client.get(asked.headers["location"]).text
    answer = sign_in(client, "Approver-1", PASSWORD, "/cases?state=HELD")
    assert (answer.status_code, answer.headers["location"]) == (303, "/cases?state=HELD")
    page = client.get("/nowhere")
    assert "approver-1 (approver)" in page.text
    assert client.get("/sign-in?next=/x").headers["location"] == "/x"


def test_the_cookie_is_for_the_page_alone(client: TestClient) -> None:
    kept = sign_in(client, "viewer-1", PASSWORD).headers["set-cookie"]
    assert kept.startswith("perfnode=")
    assert kept.endswith("; Path=/; HttpOnly; SameSite=Strict")


@pytest.mark.parametrize(("name", "password"), [("viewer-1", "wrong horse battery"), ("nobody", PASSWORD), ("", "")])
def test_what_is_wrong_is_not_told(client: TestClient, name: str, password: str) -> None:
    answer = sign_in(client, name, password)
    assert answer.status_code == 401
    assert "Name and password do not fit." in answer.text
    assert "perfnode=" not in answer.headers.get("set-cookie", "")
    assert client.get("/nowhere").status_code == 303


def test_a_sign_in_gives_a_new_key_and_the_old_one_ends(app: FastAPI, client: TestClient) -> None:
    sign_in(client, "viewer-1", PASSWORD)
    before = cookie_of(client)
    fields = {"csrf": token_on(client, "/nowhere"), "name": "operator-1", "password": PASSWORD}
    client.post("/sign-in", data=fields)
    assert cookie_of(client) != before
    with browser(app) as other:
        other.cookies.set("perfnode", before)
        assert other.get("/nowhere").status_code == 303


def test_after_the_sign_out_the_key_is_worth_nothing(app: FastAPI, client: TestClient) -> None:
    sign_in(client, "viewer-1", PASSWORD)
    key = cookie_of(client)
    answer = client.post("/sign-out", data={"csrf": token_on(client, "/nowhere")})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert "perfnode" not in client.cookies
    with browser(app) as other:
        other.cookies.set("perfnode", key)
        assert other.get("/nowhere").status_code == 303


@pytest.mark.parametrize("change", ["role", "password", "remove"])
def test_a_changed_account_is_signed_out(client: TestClient, node_settings: NodeSettings, change: str) -> None:
    accounts = Accounts.under(node_settings.data_dir)
    sign_in(client, "approver-1", PASSWORD)
    assert client.get("/nowhere").status_code == 404
    if change == "role":
        accounts.set_role("approver-1", PageRole.VIEWER)
    elif change == "password":
        accounts.set_password("approver-1", "another password")
    else:
        accounts.remove("approver-1")
    assert client.get("/nowhere").status_code == 303


def test_a_change_of_another_account_signs_nobody_out(client: TestClient, node_settings: NodeSettings) -> None:
    sign_in(client, "approver-1", PASSWORD)
    Accounts.under(node_settings.data_dir).remove("viewer-1")
    assert client.get("/nowhere").status_code == 404


def test_many_tries_have_to_wait_and_other_people_do_not(app: FastAPI, client: TestClient) -> None:
    for _ in range(TRIES_OF_NAME):
        assert sign_in(client, "viewer-1", "wrong horse battery").status_code == 401
    answer = sign_in(client, "viewer-1", PASSWORD)
    assert answer.status_code == 429
    assert 290 <= int(answer.headers["retry-after"]) <= 300
    assert "Too many tries" in answer.text
    assert sign_in(client, "operator-1", PASSWORD).status_code == 303


def test_the_trail_has_who_came_who_went_and_who_was_turned_away(
    client: TestClient, node_settings: NodeSettings
) -> None:
    sign_in(client, "a password typed into the field of the name", PASSWORD)
    sign_in(client, "viewer-1", "wrong horse battery")
    sign_in(client, "viewer-1", PASSWORD)
    client.post("/sign-out", data={"csrf": token_on(client, "/nowhere")})
    lines = told(node_settings)
    assert [line.event for line in lines] == ["User Authentication"] * 4
    outcome = "EventIdentification/@EventOutcomeIndicator"
    assert [line.value(outcome) for line in lines] == ["4", "4", "0", "0"]
    kind = "EventIdentification/EventTypeCode/@csd-code"
    assert [line.value(kind) for line in lines] == ["110122", "110122", "110122", "110123"]
    who = "ActiveParticipant[@UserIsRequestor='true']/@UserID"
    assert [line.value(who) for line in lines] == ["unknown", "viewer-1", "viewer-1", "viewer-1"]
    where = "ActiveParticipant[@UserIsRequestor='true']/@NetworkAccessPointID"
    assert {line.value(where) for line in lines} == {"127.0.0.1"}
    assert lines[2].value("EventIdentification/EventOutcomeDescription") == "as viewer"


def test_refusals_for_too_many_tries_do_not_fill_the_trail(client: TestClient, node_settings: NodeSettings) -> None:
    for _ in range(TRIES_OF_NAME + 5):
        sign_in(client, "viewer-1", "wrong horse battery")
    codes = [line.value("EventIdentification/EventOutcomeDescription") for line in told(node_settings)]
    assert codes == ["SIGN_IN_REFUSED"] * TRIES_OF_NAME + ["SIGN_IN_TOO_OFTEN"]


@pytest.mark.parametrize(
    "after",
    [
        *("https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)"),
        *("/x\r\nSet-Cookie: a=b", "/\t/evil.example", "", "x", "/ //evil", "/sign-out", "/sign-in?next=/"),
        *("/é", "/a\\b", "///evil.example"),
    ],
)
def test_nobody_is_sent_elsewhere_after_the_sign_in(client: TestClient, after: str) -> None:
    assert safe_path(after) == "/"
    assert sign_in(client, "viewer-1", PASSWORD, after).headers["location"] == "/"


@pytest.mark.parametrize("after", ["/", "/cases/0123?tab=x&y=%2F#z", "/tools//x"])
def test_paths_of_the_page_are_gone_to(after: str) -> None:
    assert safe_path(after) == after


def test_a_form_is_only_taken_from_the_browser_that_got_it(app: FastAPI, client: TestClient) -> None:
    with browser(app) as other:
        stolen = token_on(other, "/sign-in")
    fields = {"csrf": stolen, "name": "viewer-1", "password": PASSWORD}
    assert client.post("/sign-in", data=fields).status_code == 403
    client.get("/sign-in")
    assert client.post("/sign-in", data=fields).status_code == 403
    assert sign_in(client, "viewer-1", PASSWORD).status_code == 303


def test_the_form_says_what_it_is_for_and_runs_no_script(client: TestClient) -> None:
    text = client.get("/sign-in").text
    assert 'autocomplete="current-password"' in text
    assert "<script" not in text
    assert "Sign out" not in text


def test_who_is_signed_out_has_a_form_again(client: TestClient) -> None:
    sign_in(client, "viewer-1", PASSWORD)
    client.post("/sign-out", data={"csrf": token_on(client, "/nowhere")})
    assert sign_in(client, "operator-1", PASSWORD).status_code == 303
