"""A node's folder with its site file, and its page as somebody with a role sees it."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Scope

from dicom_node.settings.config import NodeSettings, read_settings
from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.rights import PageRole
from dicom_node.web.access.sessions import Session
from dicom_node.web.access.standing import Standing
from dicom_node.web.app import create_app
from tests.finished_jobs import write_rows

SITE = """
[node]
port = 11112
data_dir = "data"
minimum_free_mb = 100
[inference]
perfusion = "densitometric"
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = 104
mode = "hold"
"""
"""A node that holds its results for a person; nothing listens where its only destination should be."""

PASSWORD = "correct horse battery"  # noqa: S105  # of nobody
"""Of every account of the tests, which is named after its role: `viewer-1`, `operator-1`, …"""
ADDRESS = "http://127.0.0.1:8080"

AppFor = Callable[[PageRole], FastAPI]
ClientFor = Callable[[PageRole], TestClient]


@pytest.fixture(scope="session")
def _idle_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folder of a node that has started and has had nothing to do yet, and that has an account for each role."""
    data = tmp_path_factory.mktemp("idle") / "data"
    write_rows(data, {})
    for role in PageRole:
        Accounts.under(data).add(f"{role}-1", role, PASSWORD, "2026-11-26")
    return data


@pytest.fixture
def node_folder(tmp_path: Path, _idle_data: Path) -> Path:
    """Folder with `site.toml`, and in `data` the database of a node that has no case; see `finished_jobs` for some."""
    (tmp_path / "site.toml").write_text(SITE)
    shutil.copytree(_idle_data, tmp_path / "data")
    return tmp_path


@pytest.fixture
def node_settings(node_folder: Path) -> NodeSettings:
    """Settings of that node."""
    return read_settings(node_folder / "site.toml")


@pytest.fixture
def app_for(node_settings: NodeSettings) -> AppFor:
    """The page of the node, at which everybody is somebody of a role without signing in; for servers of tests."""
    return lambda role: create_app(node_settings, people=Everybody(role))


@pytest.fixture
def client_for(node_settings: NodeSettings) -> Iterator[ClientFor]:
    """A browser at which somebody of a role has signed in; it follows no redirection, and scripts of the page send."""
    with ExitStack() as clients:

        def client(role: PageRole) -> TestClient:
            made = clients.enter_context(browser(create_app(node_settings)))
            assert sign_in(made, f"{role}-1", PASSWORD).status_code == 303
            made.headers["X-CSRF-Token"] = token_on(made, "/nowhere")
            return made

        yield client


def browser(app: FastAPI, address: str = ADDRESS) -> TestClient:
    """A browser at which nobody has signed in."""
    return TestClient(app, base_url=address, follow_redirects=False, client=("127.0.0.1", 40000))


def sign_in(client: TestClient, name: str, password: str, after: str = "/") -> httpx2.Response:
    """Fill in the form."""
    fields = {"csrf": token_on(client, "/sign-in"), "name": name, "password": password, "next": after}
    return client.post("/sign-in", data=fields)


def token_on(client: TestClient, path: str) -> str:
    """The token that a page has for its scripts."""
    found = re.search(r'<meta name="csrf-token" content="([0-9a-f]{64})">', client.get(path).text)
    assert found is not None, path
    return found[1]


class Everybody:
    """People who are all the same one."""

    def __init__(self, role: PageRole) -> None:
        self._standing = Standing(f"{role}-1", role, role)

    def standing(self, session: Session) -> Standing | None:
        return self._standing

    def announced(self, scope: Scope) -> Standing | None:
        return self._standing
