"""How fast slices are received: our receiver beside stock pynetdicom, dcmtk's storescp and Orthanc.

    make bench-receive            (by hand: python -m benchmarks.receive --rounds 5 --folder /a/real/disk)

dcmtk's storescu sends 200 synthetic CT slices of 512×512 pixels over one and over four associations, with and without
TLS. Receivers take turns within each round, each started anew with an empty folder on disk; medians over the rounds.
Our receiver and Orthanc answer after fsync, the others do not. All dcmtk and Orthanc processes run with TCP_NODELAY=1:
otherwise Nagle's algorithm is what gets measured. CPU and memory are sampled over all processes of a receiver every
10 ms; shared pages are counted once per process.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from rich.console import Console
from rich.table import Table

from dicom_node.network.receiver import ReceiverSettings
from dicom_node.network.receiver_process import ReceiverParts
from dicom_node.network.receiver_processes import ReceiverProcesses
from dicom_node.network.tls import TlsSettings
from tests.certificates import Certificates, make_certificates
from tests.peers import PEER_ENVIRONMENT, eventually, listens, program

SLICES = 200
SIDE = 512
PDU_BYTES = 131072
MEMORY_BATCHES = 15
"""Of `SLICES` slices each: 3,000 in one series."""


@dataclass(frozen=True, slots=True)
class Running:
    """A receiver that listens."""

    port: int
    processes: Callable[[], list[psutil.Process]]


@dataclass(frozen=True, slots=True)
class Figures:
    """One transfer."""

    images_per_s: float
    cpu_s: float
    peak_mib: float


Start = Callable[[Path, Certificates | None], AbstractContextManager[Running]]


class Sampler(threading.Thread):
    """CPU time and peak memory of processes that come and go."""

    def __init__(self, processes: Callable[[], list[psutil.Process]]) -> None:
        super().__init__(daemon=True)
        self._processes = processes
        self._ended = threading.Event()
        self._cpu_s: dict[int, float] = {}
        self._before_s: dict[int, float] = {}
        self.peak_mib = 0.0
        self._sample()
        self._before_s = dict(self._cpu_s)

    def run(self) -> None:
        """Sample until stopped."""
        while not self._ended.wait(0.01):
            self._sample()

    def stop(self) -> float:
        """Stop, and return the CPU time used since the beginning in seconds."""
        self._ended.set()
        self.join()
        self._sample()
        return sum(used - self._before_s.get(pid, 0.0) for pid, used in self._cpu_s.items())

    def _sample(self) -> None:
        memory = 0.0
        for process in self._processes():
            try:
                times = process.cpu_times()
                memory += process.memory_info().rss / 2**20
            except psutil.NoSuchProcess:
                continue
            self._cpu_s[process.pid] = times.user + times.system
        self.peak_mib = max(self.peak_mib, memory)


@contextmanager
def our_node(folder: Path, tls: Certificates | None) -> Iterator[Running]:
    """Our receiver with its default number of processes."""
    identity = None if tls is None else TlsSettings(tls.server.certificate, tls.server.key, tls.authority)
    settings = ReceiverSettings("NODE", port=0, tls=identity)
    receiver = ReceiverProcesses(ReceiverParts(folder / "spool", settings, log_level="warning"))
    receiver.start()
    try:
        yield Running(receiver.port, lambda: [psutil.Process(pid) for pid in receiver.process_ids])
    finally:
        receiver.stop()


@contextmanager
def stock(way: str, folder: Path, tls: Certificates | None) -> Iterator[Running]:
    """Pynetdicom as its documentation shows it."""
    identity = [] if tls is None else [str(tls.server.certificate), str(tls.server.key)]
    port = _quiet_port()
    command = [sys.executable, "-m", "benchmarks.stock_receiver", way, str(port), str(folder), *identity]
    with _program(command, port) as running:
        yield running


@contextmanager
def storescp(folder: Path, tls: Certificates | None) -> Iterator[Running]:
    """Dcmtk's storescp, one process for each association."""
    port = _quiet_port()
    security = [] if tls is None else _dcmtk_tls(tls.server.key, tls.server.certificate, tls.authority)
    command = [program("storescp"), "--fork", "-pdu", str(PDU_BYTES), "-od", str(folder), *security, str(port)]
    with _program(command, port) as running:
        yield running


@contextmanager
def orthanc(folder: Path, tls: Certificates | None) -> Iterator[Running]:
    """Orthanc, which syncs every file before it answers."""
    port = _quiet_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "SyncStorageArea": True,
        "DicomPort": port,
        "HttpPort": _quiet_port(),
        "DicomAlwaysAllowStore": True,
        "MaximumPduLength": PDU_BYTES,
        "Plugins": [],
    }
    if tls is not None:
        settings |= {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(tls.server.certificate),
            "DicomTlsPrivateKey": str(tls.server.key),
            "DicomTlsTrustedCertificates": str(tls.authority),
        }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with _program([program("Orthanc"), str(folder / "orthanc.json")], port) as running:
        yield running


RECEIVERS = {
    "our node, durable": our_node,
    "pynetdicom, event.dataset": lambda folder, tls: stock("decode", folder, tls),
    "pynetdicom, encoded_dataset": lambda folder, tls: stock("raw", folder, tls),
    "dcmtk storescp --fork": storescp,
    "Orthanc, durable": orthanc,
}


@contextmanager
def _program(command: Sequence[str], port: int) -> Iterator[Running]:
    process = subprocess.Popen(
        command, env=PEER_ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        assert eventually(lambda: process.poll() is not None or listens(port), 30.0), f"{command[0]} did not start"
        assert process.poll() is None, f"{command[0]} ended with status {process.poll()}; was its port taken?"
        time.sleep(0.2)
        root = psutil.Process(process.pid)
        yield Running(port, lambda: [root, *root.children(recursive=True)])
    finally:
        process.terminate()
        process.wait()


def _quiet_port() -> int:
    """A port below those that the system gives to connections, so that no other program comes by it."""
    return next(port for port in iter(lambda: random.randint(15000, 30000), 0) if not listens(port))


def _dcmtk_tls(key: Path, certificate: Path, trusted: Path) -> list[str]:
    return ["+tls", str(key), str(certificate), "+cf", str(trusted)]


def send(files: Sequence[Path], port: int, associations: int, tls: Certificates | None) -> float:
    """Send files with storescu over so many associations at the same time; seconds."""
    security = [] if tls is None else _dcmtk_tls(tls.client.key, tls.client.certificate, tls.authority)
    command = [program("storescu"), "-aec", "NODE", "--max-send-pdu", str(PDU_BYTES), *security, "127.0.0.1", str(port)]
    shares = [list(map(str, files[first::associations])) for first in range(associations)]
    started = time.monotonic()
    senders = [
        subprocess.Popen([*command, *share], env=PEER_ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        for share in shares
    ]
    complaints = [sender.communicate()[1] for sender in senders]
    taken_s = time.monotonic() - started
    assert all(sender.returncode == 0 for sender in senders), complaints
    return taken_s


def transfer_again(
    start: Start, files: Sequence[Path], associations: int, tls: Certificates | None, scratch: Path
) -> Figures:
    """Like `transfer`, once more if the receiver did not come up: another program may have been given its port."""
    try:
        return transfer(start, files, associations, tls, scratch)
    except AssertionError as complaint:
        Console(stderr=True).print(f"once more: {complaint}")
        return transfer(start, files, associations, tls, scratch)


def transfer(
    start: Start, files: Sequence[Path], associations: int, tls: Certificates | None, scratch: Path
) -> Figures:
    """Start a receiver, send it everything, and measure."""
    with TemporaryDirectory(dir=scratch) as folder, start(Path(folder), tls) as running:
        sampler = Sampler(running.processes)
        sampler.start()
        taken_s = send(files, running.port, associations, tls)
        cpu_s = sampler.stop()
    return Figures(len(files) / taken_s, cpu_s, sampler.peak_mib)


def make_slices(folder: Path, first: int, count: int) -> list[Path]:
    """Write synthetic CT slices of one series; noise, so that nothing can be compressed on the way."""
    folder.mkdir(exist_ok=True)
    noise = np.random.default_rng(first)
    files = []
    for number in range(first, first + count):
        dataset = _slice(number, noise.integers(0, 4096, (SIDE, SIDE), dtype=np.uint16))
        files.append(folder / f"{number}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


def _slice(number: int, pixels: "np.ndarray") -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.1.{100000 + number}"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2", "1.2.826.0.1.3680043.8.498.3"
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Bench^Mark", "BENCHMARK", "CT"
    dataset.Rows = dataset.Columns = SIDE
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelSpacing, dataset.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient, dataset.InstanceNumber = [0, 0, 2 * number], number
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = pixels.tobytes()
    return dataset


def compare(files: Sequence[Path], tls: Certificates | None, associations: int, rounds: int, scratch: Path) -> Table:
    """All receivers in turn, several rounds."""
    seen: dict[str, list[Figures]] = {name: [] for name in RECEIVERS}
    for _ in range(rounds):
        for name, start in RECEIVERS.items():
            seen[name].append(transfer_again(start, files, associations, tls, scratch))
    medians = {
        name: Figures(*(median(getattr(f, field) for f in figures) for field in ("images_per_s", "cpu_s", "peak_mib")))
        for name, figures in seen.items()
    }
    ours = medians["our node, durable"].images_per_s
    title = (
        f"{associations} association{'s' if associations > 1 else ''}, {'TLS' if tls else 'no TLS'}, {rounds} rounds"
    )
    table = Table("receiver", "images/s", "lowest", "highest", "CPU, s", "peak, MiB", "our speed / its", title=title)
    for name, figures in medians.items():
        speeds = [f.images_per_s for f in seen[name]]
        row = (figures.images_per_s, min(speeds), max(speeds))
        ratio = f"{ours / figures.images_per_s:.2f}"
        table.add_row(name, *(f"{v:.0f}" for v in row), f"{figures.cpu_s:.2f}", f"{figures.peak_mib:.0f}", ratio)
    return table


def memory_of_long_series(scratch: Path) -> str:
    """Peak memory of our receiver while one series of 3,000 slices comes in over four associations."""
    with TemporaryDirectory(dir=scratch) as folder, our_node(Path(folder), None) as running:
        sampler = Sampler(running.processes)
        sampler.start()
        for batch in range(MEMORY_BATCHES):
            send(make_slices(Path(folder) / "slices", batch * SLICES, SLICES), running.port, 4, None)
            shutil.rmtree(Path(folder) / "slices")
        sampler.stop()
        count = len(list((Path(folder) / "spool").rglob("*.dcm")))
    return f"our receiver, peak at {count} slices of one series: {sampler.peak_mib:.0f} MiB, all processes"


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("bench-output"), help="on a real disk")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=options.folder) as scratch:
        files = make_slices(Path(scratch) / "slices", 0, SLICES)
        certificates = make_certificates(Path(scratch) / "certificates")
        for tls in (None, certificates):
            for associations in (1, 4):
                Console().print(compare(files, tls, associations, options.rounds, Path(scratch)))
        Console().print(memory_of_long_series(Path(scratch)))


if __name__ == "__main__":
    main()
