"""Time and memory of the whole chain: from the last slice sent to the last object delivered.

    make bench-chain CT=/folder/of/a/series      (without CT: the digital thorax)

The node runs as a process of its own and delivers to a stand-in PACS on loopback. Memory is the resident set of the
node with all its children, sampled every 50 ms; shared pages are counted once per process, so it is an upper bound.
"""

import argparse
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from rich.console import Console
from rich.table import Table

from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from dicom_node.network.storage_folder import StorageFolder
from dicom_node.offline import dicom_files
from inference.ct.instances import ct_instances
from inference.phantom.thorax import draw_thorax
from tests.peers import free_port
from tests.running_node import RunningNode, running_node, save_instances

QUIET_PERIOD_S = 2.0
IDLE_S = 3.0
OBJECTS = 2
LIMIT_S = 600.0


class MemorySampler(threading.Thread):
    """Peak resident memory of a process tree."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self.peak_mb = 0.0

    def run(self) -> None:
        """Sample until stopped."""
        while not self._ended.wait(0.05):
            self.peak_mb = max(self.peak_mb, tree_mb(self._process))

    def stop(self) -> float:
        """Stop, and return the peak in MB."""
        self._ended.set()
        self.join()
        return self.peak_mb


def tree_mb(process: psutil.Process) -> float:
    """Resident memory of a process and its children in MB (10^6 bytes)."""
    total = 0
    for member in (process, *process.children(recursive=True)):
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ct", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    table = Table(
        "round", "images", "idle, MB", "send, s", "last slice → last object, s", "of it waiting, s", "peak, MB"
    )
    for number in range(1, options.rounds + 1):
        with TemporaryDirectory(prefix="bench-chain-") as scratch:
            files = dicom_files(options.ct) if options.ct else _thorax(Path(scratch))
            table.add_row(str(number), str(len(files)), *_one_round(Path(scratch), files))
    Console().print(table)


def _thorax(scratch: Path) -> list[Path]:
    return save_instances(ct_instances(draw_thorax().ct), scratch / "thorax")


def _one_round(scratch: Path, files: list[Path]) -> list[str]:
    pacs = StorageFolder(scratch / "pacs", AeAddress("PACS", "127.0.0.1", free_port()))
    pacs.start()
    try:
        with running_node(scratch / "node", [pacs.address], quiet_period_s=QUIET_PERIOD_S) as node:
            return _measure(node, files, pacs)
    finally:
        pacs.stop()


def _measure(node: RunningNode, files: list[Path], pacs: StorageFolder) -> list[str]:
    assert node.process is not None
    time.sleep(IDLE_S)
    idle_mb = tree_mb(psutil.Process(node.process.pid))
    sampler = MemorySampler(node.process.pid)
    sampler.start()
    started = time.monotonic()
    node.send(files)
    sent = time.monotonic()
    while len(pacs.instances()) < OBJECTS and time.monotonic() < sent + LIMIT_S:
        time.sleep(0.05)
    done = time.monotonic()
    (case,) = node.finished_cases()
    assert case.state is CaseState.DELIVERED, case
    figures = (idle_mb, sent - started, done - sent, QUIET_PERIOD_S, sampler.stop())
    return [f"{figure:.1f}" for figure in figures]


if __name__ == "__main__":
    main()
