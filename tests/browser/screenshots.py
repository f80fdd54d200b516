"""Pictures of every page of a real node, for the documentation and for whoever changes how the page looks.

    make screenshots                    pictures in build/screenshots, the best of them in docs/images/operator

A node on loopback gets a handful of cases: delivered, held, discarded, refused, with a destination that has gone away,
and one under way. Their patients are invented; beside them stands the public CT LUNG_DX A0001 where
PERFUSION_TEST_DATA has it.
"""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page

from dicom_node.commissioning.case_figures import CaseFigures, FiguresFile
from dicom_node.commissioning.expected import MadeBy
from dicom_node.web.access.rights import PageRole
from inference.phantom.build import varied
from inference.phantom.thorax import ThoraxVariant
from tests.browser.browsing import chromium
from tests.browser.node_with_page import NodeWithPage, node_with_page, thorax_of
from tests.peers import Orthanc, eventually, orthanc, storescp

ROOT: Final = Path(__file__).parent.parent.parent
ALL: Final = ROOT / "build" / "screenshots"
BEST: Final = ROOT / "docs" / "images" / "operator"
WAIT_MS: Final = 1_800_000
SCREENS: Final = {"": (1366, 768), "-phone": (390, 844)}
ON_PHONES: Final = ("today", "case", "viewer", "decision", "rating")
IN_DOCS: Final = ("today", "case", "viewer", "decision", "tools-charts", "today-phone")
"""Pictures that docs/operator.md shows."""
PERSON: Final = "Inga Falk"
TOOLS: Final = ("rules", "echo", "charts", "models", "audit", "configuration", "log", "help")


@dataclass(frozen=True, slots=True)
class Day:
    """A node in the middle of a day."""

    served: NodeWithPage
    shown: str
    """Id of the case whose pages are pictured."""
    held: str
    """Id of a case that waits for a person."""


def main() -> None:
    """Take all pictures."""
    with tempfile.TemporaryDirectory() as folder, day(Path(folder)) as made, chromium() as launch:
        for name, page in pictured(launch(), made):
            picture = page.screenshot()
            keep(name, picture)
            print(f"{name}: {len(picture) // 1000} kB")


def keep(name: str, png: bytes) -> None:
    """Write a picture to build/, and in fewer colours to docs/ if it is one of those."""
    ALL.mkdir(parents=True, exist_ok=True)
    (ALL / f"{name}.png").write_bytes(png)
    if name in IN_DOCS:
        BEST.mkdir(parents=True, exist_ok=True)
        few = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few.save(BEST / f"{name}.png", optimize=True)


@contextmanager
def day(folder: Path) -> Iterator[Day]:
    """A node whose cases are in all states that a day brings."""
    with ExitStack() as peers:
        pacs: Orthanc = peers.enter_context(orthanc(folder / "pacs"))
        planning = ExitStack()
        address = planning.enter_context(storescp(folder / "planning"))
        peers.callback(planning.close)
        FiguresFile.under(folder / "node" / "data").path.parent.mkdir(parents=True)
        FiguresFile.under(folder / "node" / "data").write(months_of_figures())
        served = peers.enter_context(
            node_with_page(
                folder / "node",
                [pacs.address, address],
                orders=['mode = "hold"', 'verify = "none"'],
                perfusion="bundle",
            )
        )
        served.add_person(PERSON, PageRole.ADMINISTRATOR)
        shown = sent(served, real_ct() or thorax_of("Vogel^Marta", "4711-08", folder / "vogel", build=varied(3)))
        delivered = sent(served, thorax_of("Lindqvist^Per", "4711-12", folder / "lindqvist", build=varied(5)))
        held = sent(served, thorax_of("Okafor^Ada", "4711-15", folder / "okafor", build=varied(8)))
        unwanted = sent(served, thorax_of("Moreau^Jeanne", "4711-21", folder / "moreau", build=varied(11)))
        sent(served, thorax_of("Novak^Petr", "4711-22", folder / "novak", variant=ThoraxVariant.NO_LUNGS))
        decide(served, "release", shown, "contours looked at on three planes")
        decide(served, "release", delivered, "looked at")
        decide(served, "discard", unwanted, "planned on another series")
        planning.close()
        sent(served, thorax_of("Tanaka^Yuki", "4711-30", folder / "tanaka", build=varied(14)), is_waited_for=False)
        served.node.send(thorax_of("Haddad^Nour", "4711-31", folder / "haddad", build=varied(17)))
        yield Day(served, shown, held)


def sent(served: NodeWithPage, files: list[Path], *, is_waited_for: bool = True) -> str:
    """Send a series; the id of its case."""
    node = served.node
    before = {case.case_id for case in node.cases()}
    node.send(files)
    assert eventually(lambda: len(node.cases()) > len(before), WAIT_MS / 1000), node.log()
    if is_waited_for:
        assert eventually(lambda: all(case.is_finished for case in node.cases()), WAIT_MS / 1000), node.log()
    (made,) = {case.case_id for case in node.cases()} - before
    return made


def decide(served: NodeWithPage, action: str, case_id: str, reason: str) -> None:
    """Decide as somebody at the console of the node does, and wait until it is done."""
    told = served.node.perfnode(action, case_id, "--reason", reason)
    assert told.returncode == 0, told.stderr


def real_ct() -> list[Path]:
    """Files of LUNG_DX A0001; empty where it is not."""
    folder = Path(os.environ.get("PERFUSION_TEST_DATA", "nowhere")) / "ct" / "lungdx_A0001"
    return sorted(folder.glob("*.dcm"))


def months_of_figures() -> list[CaseFigures]:
    """Figures of earlier cases, invented: steady, and larger lungs lately."""
    drawn = np.random.default_rng(20261126)
    made_by = MadeBy("atlas 1", "network 1 sha256:" + "c" * 64, "median", "ab")
    volumes = np.concatenate([drawn.normal(4600, 520, 58), drawn.normal(6100, 420, 6)])
    return [
        CaseFigures(
            f"{k:016x}:1",
            1_764_000_000.0 + 6 * 3600.0 * k,
            made_by,
            {
                "lung_volume": float(volume),
                "lung_hu": float(drawn.normal(-770, 22)),
                "run_time": float(drawn.normal(48, 6)),
            },
        )
        for k, volume in enumerate(volumes)
    ]


def pictured(browser: Browser, made: Day) -> Iterator[tuple[str, Page]]:
    """Each page as it is to be pictured, with the name of its picture."""
    for ending, (width, height) in SCREENS.items():
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark")
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto(made.served.address)
        yield f"sign-in{ending}", page
        made.served.sign_in(page, PERSON)
        for name, path in paths(made).items():
            if not ending or name in ON_PHONES:
                page.goto(made.served.address + path)
                settle(page)
                yield f"{name}{ending}", page
        context.close()


def paths(made: Day) -> dict[str, str]:
    """Address of each page by the name of its picture."""
    case = f"/cases/{made.shown}"
    return {
        "today": "/",
        "case": case,
        "case-findings": f"{case}#findings",
        "case-lobes": f"{case}#lobes",
        "case-objects": f"{case}#objects",
        "case-decisions": f"{case}#decisions",
        "case-time-line": f"{case}#time-line",
        "viewer": f"{case}/viewer",
        "decision": f"/cases/{made.held}/decide/release",
        "rerun": f"/cases/{made.held}/decide/rerun",
        "rating": f"{case}/rate",
        **{f"tools-{tool}": f"/tools/{tool}" for tool in TOOLS},
        "error": "/nowhere",
    }


def settle(page: Page) -> None:
    """Wait until what the page fetches by itself is there."""
    if page.locator("section.viewer").count():
        page.wait_for_selector('section.viewer[data-ready="all"]')
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


if __name__ == "__main__":
    sys.exit(main())
