"""Sign-in at an OpenID provider, which the test runs itself on a real socket."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from dicom_node.settings.config import NodeSettings, read_settings
from dicom_node.web.app import create_app
from tests.audit_messages import read_lines
from tests.dicom_node.web.conftest import ADDRESS, PASSWORD, SITE, browser
from tests.openid_provider import CLIENT, SECRET, Provider, openid_provider
from tests.peers import free_port

ADA = {"preferred_username": "ada", "groups": ["physics", "staff"]}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with openid_provider(f"{ADDRESS}/sign-in/openid/done") as running:
        running.claims = dict(ADA)
        yield running


def site_of(folder: Path, issuer: str) -> NodeSettings:
    (folder / "secret").write_text(f"{SECRET}\n")
    (folder / "site.toml").write_text(
        f'{SITE}[web]\npublic_url = "{ADDRESS}"\nsign_in = "openid"\n'
        f'[web.openid]\nissuer = "{issuer}"\nclient_id = "{CLIENT}"\nclient_secret_file = "secret"\n'
        '[web.groups]\nviewer = ["staff"]\napprover = ["physics"]\n'
    )
    return read_settings(folder / "site.toml")


@pytest.fixture
def openid_settings(node_folder: Path, provider: Provider) -> NodeSettings:
    return site_of(node_folder, provider.issuer)


@pytest.fixture
def app(openid_settings: NodeSettings) -> FastAPI:
    return create_app(openid_settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with browser(app) as made:
        yield made


def way_back(client: TestClient, after: str = "/") -> str:
    """Go to the provider; path and query of the address that it sends the browser back to."""
    to_provider = client.get("/sign-in/openid", params={"next": after})
    assert to_provider.status_code == 302
    sent_back = httpx2.get(to_provider.headers["location"], follow_redirects=False)
    assert sent_back.status_code == 303
    url = urlsplit(sent_back.headers["location"])
    assert f"{url.scheme}://{url.netloc}" == ADDRESS
    return f"{url.path}?{url.query}"


def test_who_comes_back_from_the_provider_is_signed_in_with_the_highest_role(client: TestClient) -> None:
    assert 'href="/sign-in/openid?next=/cases%3Fa%3Db"' in client.get("/sign-in?next=/cases%3Fa%3Db").text
    answer = client.get(way_back(client, "/cases?a=b"))
    assert answer.status_code == 200
    assert 'content="0; url=/cases?a=b"' in answer.text
    assert "ada (approver)" in client.get("/nowhere").text


def test_the_session_cookie_stays_strict_and_that_of_the_way_is_lax_and_short(client: TestClient) -> None:
    to_provider = client.get("/sign-in/openid").headers["set-cookie"]
    assert to_provider.startswith("perfnode-openid=")
    assert to_provider.endswith("; Path=/; HttpOnly; SameSite=Lax; Max-Age=600")
    cookies = client.get(way_back(client)).headers.get_list("set-cookie")
    assert any(kept.startswith("perfnode=") and kept.endswith("SameSite=Strict") for kept in cookies)
    assert any(kept.startswith("perfnode-openid=;") and kept.endswith("Max-Age=0") for kept in cookies)


def test_an_answer_is_taken_once_and_from_the_browser_that_went(app: FastAPI, client: TestClient) -> None:
    back = way_back(client)
    with browser(app) as other:
        assert other.get(back).status_code == 401
        assert other.get("/nowhere").status_code == 303
    kept = client.cookies["perfnode-openid"]
    assert client.get(back).status_code == 200
    with browser(app) as other:
        other.cookies.set("perfnode-openid", kept)
        assert other.get(back).status_code == 401


def test_an_answer_with_the_state_of_somebody_else_is_refused(app: FastAPI, client: TestClient) -> None:
    with browser(app) as other:
        stolen = way_back(other)
    client.get("/sign-in/openid")
    assert client.get(stolen).status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "another"},
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"exp": int(time.time()) - 3600},
        {"preferred_username": ""},
        {"preferred_username": "ada\nbob"},
        {"groups": ["cleaning"]},
        {"groups": []},
    ],
    ids=lambda wrong: str(next(iter(wrong))),
)
def test_a_token_that_is_not_for_us_or_gives_no_role_lets_nobody_in(
    client: TestClient, provider: Provider, wrong: dict[str, Any]
) -> None:
    provider.claims = {**ADA, **wrong}
    answer = client.get(way_back(client))
    assert answer.status_code == 401
    assert client.get("/nowhere").status_code == 303


@pytest.mark.parametrize("fault", ["signs_with_another_key", "forgets_the_token", "refuses"])
def test_a_provider_that_is_not_the_one_lets_nobody_in(client: TestClient, provider: Provider, fault: str) -> None:
    setattr(provider, fault, True)
    assert client.get(way_back(client)).status_code == 401
    assert client.get("/nowhere").status_code == 303


def test_a_provider_that_is_away_is_told_calmly(node_folder: Path) -> None:
    settings = site_of(node_folder, f"http://127.0.0.1:{free_port()}")
    with browser(create_app(settings)) as client:
        answer = client.get("/sign-in/openid")
        assert answer.status_code == 503
        assert "The OpenID provider cannot be asked now." in answer.text


def test_nobody_signs_in_with_an_account_of_the_node(client: TestClient) -> None:
    page = client.get("/sign-in").text
    assert "password" not in page
    token = page.split('csrf-token" content="')[1][:64]
    answer = client.post("/sign-in", data={"csrf": token, "name": "administrator-1", "password": PASSWORD})
    assert answer.status_code == 404
    assert client.get("/nowhere").status_code == 303


def test_the_trail_knows_who_came_from_the_provider(client: TestClient, openid_settings: NodeSettings) -> None:
    client.get("/sign-in/openid/done")
    client.get(way_back(client))
    lines = read_lines(openid_settings.audit_trail().log_file)
    who = "ActiveParticipant[@UserIsRequestor='true']/@UserID"
    assert [line.value(who) for line in lines] == ["unknown", "ada"]
    assert [line.value("EventIdentification/@EventOutcomeIndicator") for line in lines] == ["4", "0"]


def test_nobody_is_sent_elsewhere_after_the_provider(client: TestClient) -> None:
    answer = client.get(way_back(client, "//evil.example/"))
    assert 'content="0; url=/"' in answer.text
