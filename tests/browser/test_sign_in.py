"""Signing in with a real browser at the page's own process: its cookies, its origins, its policy of content."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dicom_node.web.access.accounts import Accounts
from dicom_node.web.access.rights import PageRole
from tests.browser.conftest import OpenPage
from tests.dicom_node.web.conftest import PASSWORD
from tests.dicom_node.web.test_web_process import running, site
from tests.openid_provider import CLIENT, SECRET, openid_provider
from tests.peers import free_port


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()


def test_somebody_signs_in_and_out_by_keyboard(page: Page, tmp_path: Path) -> None:
    Accounts.under(tmp_path / "data").add("Ada Byron", PageRole.ADMINISTRATOR, PASSWORD, "2026-11-26")
    port = free_port()
    with running(site(tmp_path, port)):
        page.goto(f"http://127.0.0.1:{port}/tools/help")
        expect(page.get_by_label("Name")).to_be_focused()
        page.keyboard.type("ada byron")
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/tools/help")
        (cookie,) = [kept for kept in page.context.cookies() if kept["name"] == "perfnode"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        page.get_by_role("button", name="Sign out").press("Enter")
        page.wait_for_url("**/sign-in")
        assert "perfnode" not in {kept["name"] for kept in page.context.cookies()}


def test_somebody_comes_back_from_a_provider_on_another_site(page: Page, tmp_path: Path) -> None:
    port = free_port()
    address = f"http://localhost:{port}"  # another site than the provider's, for cookies
    with openid_provider(f"{address}/sign-in/openid/done") as provider:
        provider.claims = {"preferred_username": "ada", "groups": ["physics"]}
        (tmp_path / "secret").write_text(SECRET)
        table = (
            f'public_url = "{address}"\nsign_in = "openid"\n[web.openid]\nissuer = "{provider.issuer}"\n'
            f'client_id = "{CLIENT}"\nclient_secret_file = "secret"\n[web.groups]\nadministrator = ["physics"]\n'
        )
        with running(site(tmp_path, port, table)):
            page.goto(f"{address}/tools/help")
            page.get_by_role("link", name="Sign in").click()
            page.wait_for_url("**/tools/help")
            expect(page.get_by_text("ada (administrator)")).to_be_visible()
