"""The configuration on the page: as in force, for administrators, and without what is secret."""

from pathlib import Path

import pytest

from dicom_node.settings.config import read_settings
from dicom_node.web.access.rights import PageRole
from dicom_node.web.app import create_app
from dicom_node.web.tools.configuration import configuration
from dicom_node.web.tools.routes import TOOLS
from tests.dicom_node.web.conftest import PASSWORD, ClientFor, browser, sign_in

CANARY = "ZZSECRETCANARY"
SECRETS = """
[[peers]]
name = "cloud"
retrieve = "dicomweb"
dicomweb_url = "https://127.0.0.1:9/dicom-web"
token_file = "cloud.token"
headers_file = "cloud.headers"
[[alerts]]
name = "oncall"
url_file = "oncall.url"
"""


@pytest.fixture
def site_with_secrets(node_folder: Path) -> Path:
    """A site file that names files with secrets."""
    (node_folder / "cloud.token").write_text(CANARY)
    (node_folder / "cloud.headers").write_text(f"X-Key: {CANARY}\n")
    (node_folder / "oncall.url").write_text(f"smtps://user:{CANARY}@mail:465/?from=a@b&to=c@d\n")
    site = node_folder / "site.toml"
    site.write_text(site.read_text() + SECRETS)
    return site


def test_no_page_and_no_answer_holds_a_secret(site_with_secrets: Path) -> None:
    routes = [route for tool in TOOLS for route in tool.router.routes]
    paths = sorted({r.path for r in routes if "GET" in r.methods and "{" not in r.path})  # type: ignore[attr-defined]
    assert {"/tools/configuration", "/api/v1/configuration", "/tools/echo", "/tools/log"} <= set(paths)
    with browser(create_app(read_settings(site_with_secrets))) as client:
        assert sign_in(client, "administrator-1", PASSWORD).status_code == 303
        for path in paths:
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text[:300])
            assert CANARY not in answer.text, path
        page = client.get("/tools/configuration").text
    assert "cloud.token" in page
    assert "https://127.0.0.1:9/dicom-web" in page


def test_it_says_when_the_file_is_not_what_is_in_force(node_folder: Path) -> None:
    settings = read_settings(node_folder / "site.toml")
    assert configuration(settings).is_current
    (node_folder / "site.toml").write_text("[node]\nport = 999\n")
    found = configuration(settings)
    assert not found.is_current
    assert {key.value for key in found.keys if key.name == "node.port"} == {"11112"}
    (node_folder / "site.toml").unlink()
    assert not configuration(settings).is_current


def test_the_page_shows_set_and_default_and_the_digests(client_for: ClientFor) -> None:
    client = client_for(PageRole.ADMINISTRATOR)
    found = client.get("/api/v1/configuration").json()
    by_name = {key["name"]: key for key in found["keys"]}
    assert by_name["destinations[0].mode"] == {
        "name": "destinations[0].mode", "value": "hold", "is_set": True, "is_file": False,
    }  # fmt: skip
    assert by_name["node.ae_title"]["is_set"] is False
    page = client.get("/tools/configuration").text
    assert found["source_sha256"] in page
    assert found["results_digest"] in page
    assert found["uses_default_rules"] is True


def test_configuration_is_for_administrators(client_for: ClientFor) -> None:
    approver = client_for(PageRole.APPROVER)
    assert approver.get("/tools/configuration").status_code == 403
    assert approver.get("/api/v1/configuration").status_code == 403
    assert "/tools/configuration" not in approver.get("/tools/rules").text
