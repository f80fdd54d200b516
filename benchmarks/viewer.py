"""How soon the viewer of the operator's page shows a CT of 512 x 512 x 200 with its map, on loopback.

    make bench-viewer            (by hand: python -m benchmarks.viewer --openings 7)

A digital thorax lies in the folder of a finished case. The page runs as `perfnode serve` starts it; Debian's Chromium,
which draws volumes on the processor here, opens the viewer again and again, each time with an empty cache of its own.
The first opening also waits until the node has made the volumes, which later ones find. Times are those of the page
itself, from the click to the first image and to everything: lobes and function too.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import Browser
from rich.console import Console
from rich.table import Table

from benchmarks.page import HEADERS, SITE, page_process
from dicom_node.results.result_files import write_ct, write_result
from dicom_node.settings.config import NodeSettings, read_settings
from inference.engine import PerfusionResult
from inference.function_regions import DEFAULT_RULE, find_function_regions
from inference.lobar import lobar_perfusion
from inference.phantom.thorax import DEFAULT_GRID, draw_thorax
from tests.browser.browsing import chromium
from tests.dicom_node.web.viewer.view_cases import begin_case, write_held

SHAPE: Final = (200, 512, 512)
_LIMIT_MS: Final = 120_000
_READY: Final = 'section.viewer[data-ready="all"]'


@dataclass(frozen=True, slots=True)
class Opening:
    """One look at the case."""

    first_image_ms: float
    all_ms: float


def make_node(folder: Path) -> str:
    """A node with one finished case; its id."""
    (folder / "site.toml").write_text(SITE)
    return _write_case(read_settings(folder / "site.toml"))


def _write_case(settings: NodeSettings) -> str:
    extent_mm = [n * step for n, step in zip(DEFAULT_GRID.shape, DEFAULT_GRID.spacing_mm, strict=True)]
    slices, rows, columns = (size / n for size, n in zip(extent_mm, SHAPE, strict=True))
    thorax = draw_thorax(DEFAULT_GRID.with_spacing((slices, rows, columns)))
    assert thorax.ct.grid.shape == SHAPE, thorax.ct.grid.shape
    regions = find_function_regions(thorax.perfusion, DEFAULT_RULE)
    table = lobar_perfusion(thorax.perfusion, thorax.lobes, regions)
    case = begin_case(settings)
    write_ct(case.ct, thorax.ct)
    write_result(case.result, PerfusionResult(thorax.ct.source, thorax.lobes, thorax.perfusion, regions, table, ()))
    write_held(settings.data_dir, case)
    return case.case_id


def opening(browser: Browser, address: str) -> Opening:
    """Open the viewer in a browser that has never seen it."""
    with browser.new_context(extra_http_headers=HEADERS, viewport={"width": 1366, "height": 768}) as context:
        context.set_default_timeout(_LIMIT_MS)
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector(_READY)
        all_ms = page.evaluate("performance.now()")
        return Opening(float(page.get_attribute(_READY, "data-first-image-ms") or "nan"), float(all_ms))


@contextmanager
def served_case(folder: Path) -> Iterator[str]:
    """The address of the viewer of a case."""
    case_id = make_node(folder)
    with page_process(folder) as (client, _):
        yield f"{client.base_url}/cases/{case_id}/viewer"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--openings", type=int, default=7)
    arguments = parser.parse_args()
    console = Console(width=140)
    with ExitStack() as parts:
        folder = Path(parts.enter_context(TemporaryDirectory()))
        address = parts.enter_context(served_case(folder))
        browser = parts.enter_context(chromium())()
        first, *later = (opening(browser, address) for _ in range(1 + arguments.openings))
    table = Table("opening", "first image, s", "everything, s", title=f"{os.cpu_count()} cores, volumes drawn by them")
    table.add_row("the first of all", f"{first.first_image_ms / 1000:.2f}", f"{first.all_ms / 1000:.2f}")
    for name, choose in (("later, median", median), ("later, slowest", max)):
        images, all_of_it = ([getattr(one, part) for one in later] for part in ("first_image_ms", "all_ms"))
        table.add_row(name, f"{choose(images) / 1000:.2f}", f"{choose(all_of_it) / 1000:.2f}")
    console.print(table)


if __name__ == "__main__":
    _main()
