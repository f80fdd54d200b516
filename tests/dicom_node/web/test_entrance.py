"""What stands before every handler: nothing of the node for strangers, and nothing changed without the page's token."""

import time
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.testclient import TestClient

from dicom_node.errors import CheckFailed, NeverStarted, NodeError, NothingHeld, SpoolFull, UnknownCase
from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.form_token import LARGEST_FORM
from dicom_node.web.access.rights import PageRole
from dicom_node.web.app import create_app
from dicom_node.web.guard import Approver
from tests.dicom_node.web.conftest import PASSWORD, ClientFor, browser, sign_in, token_on


@pytest.fixture
def app(node_settings: NodeSettings) -> FastAPI:
    """The page, with a handler that says what form it was sent."""
    made = create_app(node_settings)

    @made.post("/echo")
    @made.put("/echo")
    @made.delete("/echo")
    async def echo(request: Request) -> dict[str, str]:
        if request.headers.get("content-type", "").startswith(("multipart", "application/x-www")):
            async with request.form() as form:
                return {key: str(value) for key, value in form.items()}
        return {"body": (await request.body()).decode()}

    return made


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with browser(app) as made:
        sign_in(made, "operator-1", PASSWORD)
        yield made


def test_every_route_but_the_sign_in_is_shut_to_strangers(app: FastAPI) -> None:
    routes = [c.original_route for c in iter_route_contexts(app.routes)]
    shut = [route for route in routes if isinstance(route, APIRoute) and not route.path.startswith("/sign-in")]
    assert len(shut) > 40
    with browser(app) as stranger:
        for route in shut:
            for method in route.methods:
                answer = stranger.request(method, route.path.replace("{", "").replace("}", ""))
                expected = 401 if route.path.startswith("/api/") else 303
                assert answer.status_code == expected, (method, route.path)


def test_strangers_are_not_told_what_there_is(app: FastAPI) -> None:
    with browser(app) as stranger:
        for path in ("/api/openapi.json", "/api/v1/no-such-thing"):
            answer = stranger.get(path)
            assert answer.status_code == 401
            assert answer.json()["code"] == "NOT_SIGNED_IN"
        assert stranger.get("/no-such-page").status_code == 303


def test_a_form_without_the_token_changes_nothing(client: TestClient) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = client.request(method, "/echo", data={"a": "b"})
        assert answer.status_code == 403
        assert "REQUEST_REFUSED" in answer.text


@pytest.mark.parametrize("token", ["", "0" * 64, "x"])
def test_a_wrong_token_is_none(client: TestClient, token: str) -> None:
    assert client.post("/echo", data={"csrf": token}).status_code == 403
    assert client.post("/echo", json={}, headers={"X-CSRF-Token": token}).status_code == 403


def test_the_token_comes_in_a_field_or_a_header_and_the_form_arrives_whole(client: TestClient) -> None:
    token = token_on(client, "/nowhere")
    fields = {"csrf": token, "reason": "späte Änderung & mehr"}
    assert client.post("/echo", data=fields).json() == fields
    assert client.post("/echo", data=fields, files={"f": ("x.txt", b"y")}).json()["reason"] == fields["reason"]
    header = {"X-CSRF-Token": token}
    assert client.post("/echo", json={"a": 1}, headers=header).json() == {"body": '{"a":1}'}
    large = b"x" * (2 * LARGEST_FORM)
    assert len(client.post("/echo", content=large, headers=header).json()["body"]) == len(large)


def test_a_large_form_needs_the_header(client: TestClient) -> None:
    token = token_on(client, "/nowhere")
    fields = {"csrf": token, "more": "x" * (LARGEST_FORM // 2), "most": "y" * (LARGEST_FORM // 2)}
    assert client.post("/echo", data=fields).status_code == 403
    assert client.post("/echo", data=fields, headers={"X-CSRF-Token": token}).status_code == 200


def test_a_stranger_cannot_fill_the_disk_with_a_form(app: FastAPI) -> None:
    with browser(app) as stranger:
        token = token_on(stranger, "/sign-in")
        fields, header = {"csrf": token, "name": "a", "password": "b"}, {"X-CSRF-Token": token}
        files = {"f": ("x", b"x" * LARGEST_FORM)}
        assert stranger.post("/sign-in", data=fields, files=files, headers=header).status_code == 403
        assert stranger.post("/sign-in", data=fields, headers=header).status_code == 401


def test_json_without_the_header_is_refused_whatever_it_holds(client: TestClient) -> None:
    assert client.post("/echo", json={"csrf": token_on(client, "/nowhere")}).status_code == 403


def test_a_broken_form_is_refused_calmly(client: TestClient) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    assert client.post("/echo", content=b"--x\r\n", headers=headers).status_code == 403
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/echo", content=b"--x\r\nnonsense", headers=headers).status_code == 403


def test_the_token_of_another_session_is_none(app: FastAPI, client: TestClient) -> None:
    with browser(app) as other:
        sign_in(other, "operator-1", PASSWORD)
        token = token_on(other, "/nowhere")
    assert client.post("/echo", data={"csrf": token}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_what_a_page_of_another_site_sends_is_refused_even_with_the_token(
    client: TestClient, headers: dict[str, str]
) -> None:
    fields = {"csrf": token_on(client, "/nowhere")}
    assert client.post("/echo", data=fields, headers=headers).status_code == 403
    ours = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/echo", data=fields, headers=ours).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8080", "node.hospital"])
def test_a_foreign_name_for_our_address_is_not_answered(client: TestClient, host: str) -> None:
    answer = client.get("/sign-in", headers={"Host": host})
    assert answer.status_code == 400
    assert host not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "localhost"])
def test_names_of_this_computer_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/static/site.css", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/sign-in", "/nowhere", "/api/v1/nothing", "/static/site.css"])
def test_every_answer_carries_the_strict_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["permissions-policy"].startswith("camera=()")
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")
    assert "server" not in headers


def test_also_a_fault_of_ours_is_a_calm_answer_with_the_headers(app: FastAPI, client: TestClient) -> None:
    @app.get("/api/v1/broken")
    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("patient DOE^JANE")

    page, answer = client.get("/broken"), client.get("/api/v1/broken")
    assert (page.status_code, answer.status_code) == (500, 500)
    assert answer.json()["code"] == "PAGE_FAILED"
    for found in (page, answer):
        assert "DOE" not in found.text
        assert "Traceback" not in found.text
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cache-control"] == "no-store"


def test_faults_are_pages_for_people_and_json_for_programs(client_for: ClientFor) -> None:
    client = client_for(PageRole.VIEWER)
    page = client.get("/no/such/page")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "There is nothing at this address." in page.text
    assert client.get("/api/v1/none").json() == {"code": "NOT_FOUND", "message": "There is nothing at this address."}
    assert client.post("/static/site.css").status_code == 405
    assert "METHOD_NOT_ALLOWED" in client.post("/sign-in/openid/done").text


def test_an_error_of_the_node_keeps_its_code(app: FastAPI, client: TestClient) -> None:
    faults: dict[str, tuple[NodeError, int]] = {
        "a": (NothingHeld("ab"), 409),
        "b": (UnknownCase("ab"), 404),
        "c": (NeverStarted("/data"), 503),
        "d": (SpoolFull(1.0, 2.0), 503),
        "e": (CheckFailed(["A contour is open."]), 422),
    }

    @app.get("/api/v1/fault/{name}")
    def fault(name: str) -> None:
        raise faults[name][0]

    for name, (expected, status) in faults.items():
        answer = client.get(f"/api/v1/fault/{name}")
        assert answer.status_code == status, name
        assert answer.json() == {"code": expected.code, "message": str(expected)}


def test_a_value_that_does_not_fit_is_not_repeated(app: FastAPI, client: TestClient) -> None:
    @app.get("/api/v1/number")
    def number(count: int) -> int:
        return count

    answer = client.get("/api/v1/number", params={"count": "<script>"})
    assert answer.status_code == 422
    assert answer.json()["code"] == "INVALID_REQUEST"
    assert "query.count" in answer.json()["message"]
    assert "script" not in answer.text


def test_a_role_that_is_too_low_is_told_so(app: FastAPI) -> None:
    @app.get("/api/v1/approve")
    def approve(person: Approver) -> str:
        return person.name

    for role, status in {"viewer": 403, "operator": 403, "approver": 200, "administrator": 200}.items():
        with browser(app) as client:
            sign_in(client, f"{role}-1", PASSWORD)
            answer = client.get("/api/v1/approve")
            assert answer.status_code == status
            if status == 403:
                assert answer.json()["code"] == "NOT_ALLOWED"


@pytest.mark.parametrize(
    ("headers", "stays"),
    [
        ({}, True),
        ({"Accept": "text/html,application/xhtml+xml"}, True),
        ({"Accept": "text/event-stream, application/json"}, True),
        ({"X-By-Itself": "1"}, False),
        ({"Accept": "text/event-stream"}, False),
    ],
)
def test_what_a_page_asks_for_by_itself_keeps_nobody_signed_in(
    app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], stays: bool
) -> None:
    idle_s, begun_s = app.state.node.settings.web.session_idle_s, time.monotonic()
    clock = [begun_s]
    monkeypatch.setattr(app.state.sign_in.sessions, "_clock", lambda: clock[0])
    assert client.get("/nowhere").status_code == 404
    clock[0] += 0.6 * idle_s
    assert client.get("/nowhere", headers=headers).status_code == 404
    clock[0] += 0.6 * idle_s
    assert client.get("/nowhere").status_code == (404 if stays else 303)
