"""A reverse proxy that says who is signed in; nobody else is believed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from dicom_node.settings.config import NodeSettings, read_settings
from dicom_node.web.app import create_app
from tests.audit_messages import read_lines
from tests.dicom_node.web.conftest import ADDRESS, PASSWORD, SITE, token_on

ADA = {"Remote-User": "ada", "Remote-Groups": "staff, physics", "X-Forwarded-For": "198.51.100.7"}
BOB = {"Remote-User": "bob", "Remote-Groups": "staff"}


@pytest.fixture
def proxy_settings(node_folder: Path) -> NodeSettings:
    (node_folder / "site.toml").write_text(
        f'{SITE}[web]\nsign_in = "proxy"\nproxies = ["10.0.0.0/24"]\n'
        '[web.proxy]\nname_header = "Remote-User"\ngroups_header = "Remote-Groups"\n'
        '[web.groups]\nviewer = ["staff"]\noperator = ["physics"]\n'
    )
    return read_settings(node_folder / "site.toml")


@pytest.fixture
def app(proxy_settings: NodeSettings) -> FastAPI:
    return create_app(proxy_settings)


def through(app: FastAPI, peer: str) -> TestClient:
    return TestClient(app, base_url=ADDRESS, follow_redirects=False, client=(peer, 40000))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with through(app, "10.0.0.5") as made:
        yield made


def test_the_proxy_says_who_it_is(client: TestClient) -> None:
    assert "ada (operator)" in client.get("/nowhere", headers=ADA).text


def test_anybody_else_says_nothing(app: FastAPI) -> None:
    for peer in ("127.0.0.1", "10.0.1.5", "192.0.2.1"):
        with through(app, peer) as other:
            assert other.get("/nowhere", headers={**ADA, "X-Forwarded-For": "10.0.0.5"}).status_code == 303


def test_the_cookie_alone_lets_nobody_in(client: TestClient) -> None:
    client.get("/nowhere", headers=ADA)
    assert "perfnode" in client.cookies
    assert client.get("/nowhere").status_code == 303


def test_another_person_at_the_same_browser_is_that_person(client: TestClient) -> None:
    client.get("/nowhere", headers=ADA)
    assert "bob (viewer)" in client.get("/nowhere", headers=BOB).text
    assert "ada (viewer)" in client.get("/nowhere", headers={**ADA, "Remote-Groups": "staff"}).text


@pytest.mark.parametrize(
    "headers",
    [
        {"Remote-User": "ada"},
        {"Remote-Groups": "staff"},
        {"Remote-User": "", "Remote-Groups": "staff"},
        {"Remote-User": "ada", "Remote-Groups": "cleaning"},
        {"X-Forwarded-User": "ada", "X-Forwarded-Groups": "staff"},
    ],
)
def test_without_a_name_or_a_role_nobody_is_let_in(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.get("/nowhere", headers=headers)
    assert answer.status_code == 303
    assert "has not said who you are" in client.get("/sign-in", headers=headers).text


def test_two_names_are_none(client: TestClient) -> None:
    headers = [("Remote-User", "administrator"), ("Remote-User", "ada"), ("Remote-Groups", "physics")]
    assert client.get("/nowhere", headers=headers).status_code == 303


def test_forms_need_the_token_here_too(client: TestClient) -> None:
    token = token_of(client)
    assert client.post("/sign-out", headers=ADA).status_code == 403
    assert client.post("/sign-out", headers={**ADA, "X-CSRF-Token": token}).status_code == 303


def token_of(client: TestClient) -> str:
    client.headers.update(ADA)
    token = token_on(client, "/nowhere")
    for name in ADA:
        del client.headers[name]
    return token


def test_nobody_signs_in_with_an_account_of_the_node(client: TestClient) -> None:
    token = token_on(client, "/sign-in")
    answer = client.post("/sign-in", data={"csrf": token, "name": "administrator-1", "password": PASSWORD})
    assert answer.status_code == 404
    assert client.get("/nowhere").status_code == 303


def test_the_trail_has_each_person_once_with_the_address_of_their_browser(
    client: TestClient, proxy_settings: NodeSettings
) -> None:
    for _ in range(3):
        client.get("/nowhere", headers=ADA)
    (line,) = read_lines(proxy_settings.audit_trail().log_file)
    who = line.xml.find("ActiveParticipant[@UserIsRequestor='true']")
    assert (who.get("UserID"), who.get("NetworkAccessPointID")) == ("ada", "198.51.100.7")
