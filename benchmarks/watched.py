"""How fast slices are received while ten browsers watch, beside how fast when nobody does.

    make bench-watched            (by hand: python -m benchmarks.watched --rounds 5 --folder /a/real/disk)

A real node receives and shows its page (`perfnode serve --role receiver --role web`). dcmtk's storescu sends 200
synthetic CT slices over one and over four associations, in turn with nobody at the page and with ten who have Today
open: each holds a stream of live events and reads the page anew every five seconds, which is more than a browser does.
Those who watch are one process of a lower priority, since their work is done elsewhere. Each transfer is a series of
its own. Figures are medians of the rounds.
"""

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import httpx2
from pydicom import dcmread
from pydicom.uid import generate_uid
from rich.console import Console
from rich.table import Table

from benchmarks.receive import SLICES, make_slices, send
from tests.peers import eventually, free_port, listens

BROWSERS: Final = 10
_READS_EVERY_S: Final = 5.0
_LIMIT_S: Final = 60.0
_SITE: Final = """
[node]
port = {port}
quiet_period_s = 3600
minimum_free_mb = 100
require_called_ae_title = false
[log]
level = "warning"
[web]
port = {page}
sign_in = "proxy"
proxies = ["127.0.0.1"]
[web.groups]
operator = ["staff"]
"""
_HEADERS: Final = {"X-Forwarded-User": "bench", "X-Forwarded-Groups": "staff", "X-By-Itself": "1"}


@contextmanager
def node(folder: Path) -> Iterator[tuple[int, int]]:
    """A node that receives and shows its page; the ports of both."""
    port, page = free_port(), free_port()
    site = folder / "site.toml"
    site.write_text(_SITE.format(port=port, page=page))
    command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(site)]
    with (folder / "node.log").open("wb") as log:
        serving = subprocess.Popen([*command, "--role", "receiver", "--role", "web"], stdout=log, stderr=log)
        try:
            assert eventually(lambda: listens(port) and _answers(page), _LIMIT_S), (folder / "node.log").read_text()
            yield port, page
        finally:
            serving.terminate()
            serving.wait()


def _answers(page: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{page}/", headers=_HEADERS, timeout=_LIMIT_S).status_code == 200
    except httpx2.HTTPError:
        return False


@contextmanager
def watched(page: int, browsers: int) -> Iterator[None]:
    """So many have the page open."""
    if browsers == 0:
        yield
        return
    command = ["nice", "-n", "10", sys.executable, "-m", "benchmarks.watched", "--watch", str(page)]
    with subprocess.Popen([*command, "--browsers", str(browsers)], stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == "all watch\n"
        try:
            yield
        finally:
            watching.terminate()


def watch(page: int, browsers: int) -> None:
    """Hold streams and read the page until the process is ended."""
    with ExitStack() as open_pages:
        for _ in range(browsers):
            own = open_pages.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{page}", timeout=_LIMIT_S))
            own.headers.update(_HEADERS)
            assert own.get("/").status_code == 200
            stream = open_pages.enter_context(own.stream("GET", "/api/v1/events"))
            assert stream.status_code == 200, stream.status_code
            for task in (lambda stream=stream: _listen(stream), lambda own=own: _read(own)):
                threading.Thread(target=task, daemon=True).start()
        print("all watch", flush=True)
        threading.Event().wait()


def _listen(stream: "httpx2.Response") -> None:
    for _ in stream.iter_lines():
        pass


def _read(own: "httpx2.Client") -> None:
    while True:
        time.sleep(_READS_EVERY_S)
        own.get("/")


def as_other_series(files: Sequence[Path]) -> None:
    """Give slices new identities."""
    series = generate_uid()
    for file in files:
        slice_ = dcmread(file)
        slice_.SeriesInstanceUID, slice_.SOPInstanceUID = series, generate_uid()
        slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
        slice_.save_as(file, enforce_file_format=True)


def compare(rounds: int, folder: Path) -> Table:
    """Transfers with and without watchers, in turn."""
    table = Table("associations", "nobody watches, images/s", f"{BROWSERS} watch, images/s", "ratio")
    files = make_slices(folder / "slices", 0, SLICES)
    with node(folder) as (port, page):
        for associations in (1, 4):
            speeds: dict[int, list[float]] = {0: [], BROWSERS: []}
            for _ in range(rounds):
                for browsers, seen in speeds.items():
                    as_other_series(files)
                    with watched(page, browsers):
                        seen.append(len(files) / send(files, port, associations, None))
            alone, beside = median(speeds[0]), median(speeds[BROWSERS])
            table.add_row(str(associations), f"{alone:.0f}", f"{beside:.0f}", f"{beside / alone:.3f}")
    return table


def main() -> None:
    """Run the benchmark and print its table, or be those who watch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path("bench-output"), help="on a real disk")
    parser.add_argument("--watch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--browsers", type=int, default=BROWSERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        watch(options.watch, options.browsers)
    options.folder.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=options.folder) as scratch:
        Console().print(compare(options.rounds, Path(scratch)))


if __name__ == "__main__":
    main()
