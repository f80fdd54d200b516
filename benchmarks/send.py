"""How fast objects are sent: our sender beside stock pynetdicom and dcmtk's storescu.

    make bench-send            (by hand: python -m benchmarks.send --rounds 5)

Each sends 200 synthetic CT slices of 512×512 pixels (105 MB) over one association, in a process of its own, in turn
within each round, to

    storescp       dcmtk as hospitals have it: Nagle's algorithm on, so it answers in two packets 40 ms apart
    storescp, nodelay   the same with TCP_NODELAY=1
    our receiver   which answers after fsync

Stock pynetdicom is `dcmread` and `send_c_store` with default settings, as its documentation shows it. Time is from the
association request to the end of the release, without the start of the process; for storescu it is that of the process.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks.receive import PDU_BYTES, SLICES, make_slices, our_node
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, send
from tests.peers import PEER_ENVIRONMENT, eventually, free_port, listens, program

STOCK = "pynetdicom, stock"


@dataclass(frozen=True, slots=True)
class Figures:
    """One transfer."""

    images_per_s: float
    cpu_s: float
    """Of the sending process."""


def send_ours(files: Sequence[Path], port: int) -> int:
    """As the node delivers; how many were stored."""
    report = send(files, Destination("bench", AeAddress("NODE", "127.0.0.1", port)))
    return sum(instance.status == 0 for instance in report.instances)


def send_stock(files: Sequence[Path], port: int) -> int:
    """As pynetdicom's documentation shows it; how many were stored."""
    from pydicom import dcmread
    from pynetdicom import AE
    from pynetdicom.sop_class import CTImageStorage

    entity = AE()
    entity.add_requested_context(CTImageStorage)
    association = entity.associate("127.0.0.1", port, ae_title="NODE")
    stored = sum(association.send_c_store(dcmread(path)).Status == 0 for path in files)
    association.release()
    return stored


SENDERS: dict[str, Callable[[Sequence[Path], int], int]] = {"ours": send_ours, STOCK: send_stock}


def one(sender: str, port: int, folder: Path) -> None:
    """Send once and print seconds and CPU seconds; the body of a sending process."""
    files = sorted(folder.glob("*.dcm"))
    started, used = time.monotonic(), time.process_time()
    stored = SENDERS[sender](files, port)
    print(time.monotonic() - started, time.process_time() - used)
    assert stored == len(files), f"{stored} of {len(files)} stored"


def measure(sender: str, port: int, folder: Path) -> Figures | None:
    """One transfer by one sender; None if it did not store everything, as happens to stock pynetdicom under load."""
    if sender in SENDERS:
        command = [sys.executable, "-m", "benchmarks.send", "--one", sender, str(port), str(folder)]
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if told.returncode:
            return None
        seconds, cpu_s = map(float, told.stdout.split())
        return Figures(SLICES / seconds, cpu_s)
    files = sorted(map(str, folder.glob("*.dcm")))
    command = [program("storescu"), "-aec", "NODE", "--max-send-pdu", str(PDU_BYTES), "127.0.0.1", str(port), *files]
    before, started = _children_cpu_s(), time.monotonic()
    subprocess.run(command, env=PEER_ENVIRONMENT, capture_output=True, check=True, timeout=300)
    return Figures(SLICES / (time.monotonic() - started), _children_cpu_s() - before)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def storescp(folder: Path, *, nodelay: bool) -> Iterator[int]:
    """Dcmtk's storescp; its port."""
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if k != "TCP_NODELAY"} | (
        {"TCP_NODELAY": "1"} if nodelay else {}
    )
    command = [program("storescp"), "-pdu", str(PDU_BYTES), "-od", str(folder), str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: listens(port), 30.0), "storescp did not start"
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def our_receiver(folder: Path) -> Iterator[int]:
    """Our receiver; its port."""
    with our_node(folder, None) as running:
        yield running.port


RECEIVERS: dict[str, Callable[[Path], "contextmanager[int]"]] = {
    "storescp": lambda folder: storescp(folder, nodelay=False),
    "storescp, nodelay": lambda folder: storescp(folder, nodelay=True),
    "our receiver": our_receiver,
}


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=3, metavar=("SENDER", "PORT", "FOLDER"))
    options = parser.parse_args()
    if options.one:
        one(options.one[0], int(options.one[1]), Path(options.one[2]))
        return
    table = Table("receiver", "sender", "runs", "images/s", "MB/s", "CPU, s", f"× {STOCK}")
    with TemporaryDirectory(prefix="bench-send-") as scratch:
        files = make_slices(Path(scratch) / "ct", 1, SLICES)
        size_mb = sum(path.stat().st_size for path in files) / SLICES / 1e6
        for receiver in RECEIVERS:
            results = rounds(receiver, Path(scratch), options.rounds)
            speeds = {sender: median(f.images_per_s for f in figures) for sender, figures in results.items()}
            for sender, figures in results.items():
                speed, cpu_s = speeds[sender], median(f.cpu_s for f in figures)
                cells = (
                    f"{len(figures)} of {options.rounds}",
                    f"{speed:.0f}",
                    f"{speed * size_mb:.0f}",
                    f"{cpu_s:.2f}",
                    f"{speed / speeds[STOCK]:.2f}",
                )
                table.add_row(receiver, sender, *cells)
    Console().print(table)


def rounds(receiver: str, scratch: Path, count: int) -> dict[str, list[Figures]]:
    """Figures of each sender to one receiver; an empty folder for each transfer."""
    results: dict[str, list[Figures]] = {sender: [] for sender in (*SENDERS, "dcmtk storescu")}
    for _ in range(count):
        for sender, figures in results.items():
            with TemporaryDirectory(dir=scratch) as folder, RECEIVERS[receiver](Path(folder)) as port:
                measured = measure(sender, port, scratch / "ct")
            figures += [measured] if measured else []
    return results


if __name__ == "__main__":
    main()
