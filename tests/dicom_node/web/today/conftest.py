"""A node with cases of several patients, as the engine and the receiver leave them, at whose page somebody looks."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.rights import PageRole
from tests.dicom_node.web.conftest import AppFor
from tests.dicom_node.web.today.made_cases import CASES, ROWS, write_case
from tests.finished_jobs import write_rows
from tests.peers import eventually

Looking = Callable[[PageRole], TestClient]


@pytest.fixture(scope="session")
def engine_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a node that knows the cases of `made_cases`."""
    folder = tmp_path_factory.mktemp("rows") / "data"
    write_rows(folder, ROWS)
    return folder


@pytest.fixture
def busy_node(node_settings: NodeSettings, engine_rows: Path) -> NodeSettings:
    """The node of `node_settings` with those cases and their files."""
    shutil.copytree(engine_rows, node_settings.data_dir, dirs_exist_ok=True)
    for case in CASES:
        write_case(node_settings.cases(), case)
    return node_settings


@pytest.fixture
def looking(busy_node: NodeSettings, app_for: AppFor) -> Iterator[Looking]:
    """A browser at which somebody of a role is signed in, at a page that has read all cases."""
    with ExitStack() as clients:

        def look(role: PageRole) -> TestClient:
            app: FastAPI = app_for(role)
            client = clients.enter_context(TestClient(app, base_url="http://127.0.0.1:8080"))
            assert eventually(lambda: not client.get("/api/v1/node").json()["is_filling"], 60.0)
            return client

        yield look
