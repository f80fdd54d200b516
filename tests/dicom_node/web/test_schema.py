"""The JSON API does what its OpenAPI document says, whatever it is asked (schemathesis).

Every operation is asked for by somebody of a role, at a node that has a case with a result: with values that the
document allows, with values that it does not, and with those at the limits. Operations that change something are asked,
too; they change a node that is thrown away.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import Receive, Scope, Send

from dicom_node.settings.config import read_settings
from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.rights import PageRole
from dicom_node.web.app import create_app
from tests.dicom_node.web.conftest import ADDRESS, PASSWORD, SITE, browser, sign_in, token_on
from tests.dicom_node.web.viewer.view_cases import begin_case, write_case, write_held
from tests.peers import eventually

DOCUMENT = "/api/openapi.json"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 6
"""Of each operation and kind of values."""
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
POSITIVE = GenerationMode.POSITIVE
ROLES = (PageRole.ADMINISTRATOR, PageRole.VIEWER)
"""The one who may do everything, and the one who may not even see patients."""


@dataclass(frozen=True)
class Page:
    """The page of a node with cases."""

    app: FastAPI
    headers: dict[PageRole, dict[str, str]]
    """What a browser sends with each request at which somebody of a role has signed in."""
    case_id: str
    """Of a case that has a result."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; it has been started already."""
        if scope["type"] == "http":
            await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("node")
    (folder / "site.toml").write_text(SITE)
    node = read_settings(folder / "site.toml")
    case = write_case(node)
    write_held(node.data_dir, case, begin_case(node))
    app, headers = create_app(node), {}
    for role in ROLES:
        Accounts.under(node.data_dir).add(f"{role}-1", role, PASSWORD, "2026-11-26")
        client = browser(app)
        assert sign_in(client, f"{role}-1", PASSWORD).status_code == 303
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        headers[role] = {"Cookie": cookies, "X-CSRF-Token": token_on(client, "/nowhere")}
    with browser(app) as client:
        client.headers.update(headers[PageRole.VIEWER])
        assert eventually(lambda: not client.get("/api/v1/node").json()["is_filling"], 60.0)
        yield Page(app, headers, case.case_id)


@pytest.fixture(scope="module")
def api(page: Page) -> schemathesis.BaseSchema:
    """What the page says of its API to somebody who is signed in."""
    config = SchemathesisConfig.from_dict({"max-stream-events": 1})
    headers = page.headers[PageRole.VIEWER] | {"Host": "127.0.0.1:8080"}
    return schemathesis.openapi.from_asgi(DOCUMENT, page, config=config, headers=headers)


def faults_of(operation: schemathesis.APIOperation, page: Page, case_id: str = "") -> list[str]:
    """Ask for an operation with many values, as everybody; what did not fit the document.

    Args:
        operation: of the API.
        page: that is asked.
        case_id: of the case to ask about; the one that is made up if empty.
    """
    found = []
    modes = GenerationMode if operation.query or operation.path_parameters or operation.body else [POSITIVE]
    for mode in modes:

        @SETTINGS
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            if case_id:
                case.path_parameters["case_id"] = case_id
            for role in ROLES:
                case.call_and_validate(base_url=ADDRESS, headers=page.headers[role], checks=CHECKS)

        try:
            ask()
        except Unsatisfiable:
            assert mode is not POSITIVE, operation.label  # any text is an id of a case, so none is a wrong one
        except FailureGroup as fault:
            found += [f"{operation.label} ({mode}): {one}" for one in fault.exceptions]
    return found


def operations(api: schemathesis.BaseSchema) -> Iterator[schemathesis.APIOperation]:
    """Every operation of the document."""
    for result in api.get_all_operations():
        yield result.ok()


def test_every_answer_is_one_of_those_that_are_documented(api: schemathesis.BaseSchema, page: Page) -> None:
    assert [fault for operation in operations(api) for fault in faults_of(operation, page)] == []


def test_so_is_every_answer_about_a_case_that_is_there(api: schemathesis.BaseSchema, page: Page) -> None:
    about = [operation for operation in operations(api) if "{case_id}" in operation.path]
    assert about
    assert [fault for operation in about for fault in faults_of(operation, page, page.case_id)] == []


def test_what_changes_something_is_refused_without_the_token(page: Page) -> None:
    client = browser(page.app)
    client.headers["Cookie"] = page.headers[PageRole.ADMINISTRATOR]["Cookie"]
    operations = [
        (method, path)
        for path, methods in client.get(DOCUMENT).json()["paths"].items()
        for method in methods
        if method not in ("get", "head", "options")
    ]
    assert operations
    for method, path in operations:
        answer = client.request(method, path.replace("{case_id}", page.case_id), json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "REQUEST_REFUSED"), (method, path)


ODD = (
    "\x00", "\ud800", "9" * 400, "-1", "1e999", "NaN", "2026-02-30", "0000-00-00", "'\";--", "../../etc/passwd",
    "a" * 9000, "٣", "\r\nX-Odd: 1", "%00",
)  # fmt: skip
"""Values that a person does not type: no text, no number, no date, or too much of it."""


def test_odd_values_are_refused_calmly_wherever_they_stand(page: Page) -> None:
    client = browser(page.app)
    client.headers.update(page.headers[PageRole.ADMINISTRATOR])
    document = client.get(DOCUMENT).json()
    failed = []
    for path, methods in [*document["paths"].items(), *PAGES.items()]:
        for method, operation in methods.items():
            for request in odd_requests(document, path.replace("{case_id}", page.case_id), operation):
                if path != EVENTS and (answer := client.request(method, **request)).status_code >= 500:
                    failed.append((method, path, request, answer.status_code))
    assert failed == []


EVENTS = "/api/v1/events"
"""Lasts; what stands in its address is looked at by the tests of streams."""
PAGES: dict[str, dict[str, Any]] = {
    "/": {"get": {"parameters": [{"in": "query", "name": name} for name in ("q", "state", "received_from", "cursor")]}},
    "/cases/{case_id}/decide/{action}": {
        "get": {"parameters": [{"in": "path", "name": "action"}]},
        "post": {"parameters": [{"in": "path", "name": "action"}]},
    },
    "/series/{series_key}/decide": {"get": {"parameters": [{"in": "path", "name": "series_key"}]}},
    "/tools/charts": {"get": {"parameters": [{"in": "query", "name": name} for name in ("of", "made_by")]}},
    "/tools/log": {"get": {"parameters": [{"in": "query", "name": name} for name in ("level", "case")]}},
    "/tools/models/{reference}": {"get": {"parameters": [{"in": "path", "name": "reference"}]}},
}
"""Pages for people, which the document leaves out."""


def odd_requests(document: dict[str, Any], path: str, operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Requests each of which has one odd value, in the address or in the body."""
    for value in ODD:
        written = quote(value, safe="", errors="surrogatepass")
        for parameter in operation.get("parameters", []):
            name = parameter["name"]
            if parameter["in"] == "path" and f"{{{name}}}" in path:
                yield {"url": path.replace(f"{{{name}}}", written)}
            elif parameter["in"] == "query":
                yield {"url": f"{path}?{name}={written}"}
        content = operation.get("requestBody", {}).get("content", {})
        reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
        for name in document["components"]["schemas"].get(reference.rpartition("/")[2], {}).get("properties", {}):
            for odd in (value, [value], {value: value}, 10**400, None, True):
                body = json.dumps({"version": "none", name: odd})
                yield {"url": path, "content": body, "headers": {"Content-Type": "application/json"}}
