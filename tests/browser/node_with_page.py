"""A real node with the operator's page, and people who sign in there with a real browser."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from playwright.sync_api import Page
from pydicom import Dataset

from dicom_node.network.addresses import AeAddress
from dicom_node.web.access.rights import PageRole
from inference.ct.instances import PhantomPatient, ct_instances
from inference.phantom.build import ThoraxBuild
from inference.phantom.thorax import DEFAULT_GRID, STANDARD_BUILD, ThoraxVariant, draw_thorax
from tests.dicom_node.web.conftest import PASSWORD
from tests.peers import eventually, free_port
from tests.running_node import START_LIMIT_S, RunningNode, running_node, save_instances

GRID = DEFAULT_GRID.with_spacing((5.0, 3.0, 3.0))
"""Of a small CT: 58 slices, a second to draw."""


@dataclass(frozen=True, slots=True)
class NodeWithPage:
    """A running node and where its page answers."""

    node: RunningNode
    address: str

    def add_person(self, name: str, role: PageRole) -> None:
        """Make an account as an administrator does."""
        password = self.node.folder / "password"
        password.write_text(f"{PASSWORD}\n")
        told = self.node.perfnode("web", "account", "add", name, "--role", role, "--password-file", str(password))
        assert told.returncode == 0, told.stderr

    def sign_in(self, page: Page, name: str, path: str = "/") -> None:
        """Go to a page as somebody who signs in on the way."""
        page.goto(self.address + path)
        fill_in(page, name)
        page.wait_for_url(self.address + path)

    def answers(self) -> bool:
        """Whether the page is there."""
        try:
            return httpx2.get(f"{self.address}/sign-in", timeout=30.0).status_code == 200
        except httpx2.TransportError:
            return False


def fill_in(page: Page, name: str) -> None:
    """Sign in at the form that is shown."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


@contextmanager
def node_with_page(
    folder: Path,
    destinations: Sequence[AeAddress],
    *,
    orders: Sequence[str] = (),
    tables: str = "",
    page_lines: str = "",
    perfusion: str = "densitometric",
) -> Iterator[NodeWithPage]:
    """A node with a page; arguments as those of `running_node`, `page_lines` are further lines of `[web]`."""
    port = free_port()
    tables = f"{tables}\n[web]\nport = {port}\n{page_lines}"
    with running_node(folder, destinations, orders=orders, tables=tables, perfusion=perfusion) as node:
        served = NodeWithPage(node, f"http://127.0.0.1:{port}")
        assert eventually(served.answers, START_LIMIT_S), node.log()
        yield served


def thorax_of(
    name: str,
    patient_id: str,
    folder: Path,
    *,
    build: ThoraxBuild = STANDARD_BUILD,
    variant: ThoraxVariant = ThoraxVariant.STANDARD,
    **more: str,
) -> list[Path]:
    """Files of a small CT of an invented patient; `more` are elements of every instance, by keyword."""
    patient = PhantomPatient(name, patient_id, "19540317", "F", "Lung, planning", "Planning CT 5 mm", "20261126")
    instances: list[Dataset] = list(ct_instances(draw_thorax(GRID, build=build, variant=variant).ct, patient=patient))
    for instance in instances:
        for keyword, value in more.items():
            setattr(instance, keyword, value)
    return save_instances(instances, folder)
