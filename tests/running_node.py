"""The real node as a process of its own, for tests that talk to it over the network."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydicom import Dataset

from dicom_node.errors import DeliveryError
from dicom_node.jobs.attempts import Case
from dicom_node.jobs.cases import CaseFolder, CaseStore
from dicom_node.jobs.job_database import JobDatabase
from dicom_node.jobs.jobs import JobBook
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, echo, send
from tests.peers import eventually, free_port, listens

START_LIMIT_S = 590.0
"""Like the next one and every timeout here it ends what hangs; no test may depend on how fast the computer is."""
CASE_LIMIT_S = 240.0


@dataclass
class RunningNode:
    """A node, alive or killed, and its data directory."""

    folder: Path
    address: AeAddress
    process: "subprocess.Popen[bytes] | None" = None
    program: str = "dicom_node"
    """Module that serves; another one may have stand-ins for stages."""

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def site_file(self) -> Path:
        return self.folder / "site.toml"

    def start(self) -> None:
        with (self.folder / "node.log").open("ab") as log:
            serve = ["serve"] if self.program == "dicom_node" else []
            command = [sys.executable, "-m", self.program, *serve, "--config", str(self.site_file)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        assert eventually(self.answers, START_LIMIT_S), self.log()

    def answers(self) -> bool:
        assert self.process is None or self.process.poll() is None, self.log()
        if not listens(self.address.port):
            return False
        try:
            echo(Destination("node", self.address, calling_ae_title="TPS"))
        except DeliveryError:
            return False
        return True

    def kill(self) -> None:
        """kill -9, as a power cut or the out-of-memory killer would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(START_LIMIT_S)

    def send(self, paths: Sequence[Path]) -> None:
        send(paths, Destination("node", self.address, calling_ae_title="TPS"))

    def cases(self) -> list[Case]:
        with JobBook(JobDatabase.under(self.data_dir), CaseStore.under(self.data_dir)) as book:
            return book.cases()

    def only_case(self) -> Case:
        cases = self.cases()
        assert len(cases) == 1, cases
        return cases[0]

    def finished_cases(self, count: int = 1) -> list[Case]:
        """Wait until there are `count` cases and all are finished."""

        def done() -> bool:
            cases = self.cases()
            return len(cases) >= count and all(case.is_finished for case in cases)

        assert eventually(done, CASE_LIMIT_S), f"{self.cases()}\n{self.log()}"
        return self.cases()

    def folder_of(self, case: Case) -> CaseFolder:
        return CaseStore.under(self.data_dir).folder(case.case_id)

    def log(self) -> str:
        return (self.folder / "node.log").read_text(errors="replace")

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def perfnode(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `perfnode` command against this node's site file."""
        return perfnode(*arguments, "--config", str(self.site_file))


@contextmanager
def running_node(
    folder: Path,
    destinations: Sequence[AeAddress],
    *,
    quiet_period_s: float = 1.0,
    orders: Sequence[str] = (),
    tables: str = "",
    port: int | None = None,
    work: str = "",
    program: str = "dicom_node",
    perfusion: str = "densitometric",
) -> Iterator[RunningNode]:
    """Start a node that delivers to `destinations`, named `d0`, `d1`, …, trying again every second.

    `orders` are further lines of TOML for each of them: what it gets and in which profile. `tables` are
    further tables of TOML for the node, `work` further lines of `[work]`. It listens on a free port unless told where.
    Its map is the baseline's unless told otherwise, which is quick and known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    node = RunningNode(folder, AeAddress("PERFNODE", "127.0.0.1", port or free_port()), program=program)
    called = "".join(
        f'[[destinations]]\nname = "d{k}"\nae_title = "{a.ae_title}"\nhost = "{a.host}"\nport = {a.port}\n{order}\n'
        for k, (a, order) in enumerate(zip_longest(destinations, orders, fillvalue=""))
    )
    node.site_file.write_text(
        f'[node]\nport = {node.address.port}\ndata_dir = "data"\nquiet_period_s = {quiet_period_s}\n'
        f'minimum_free_mb = 100\n[work]\nretry_delays_s = [1, 1, 1]\n{work}\n[log]\nformat = "json"\n'
        f'[inference]\nperfusion = "{perfusion}"\n{called}{tables}'
    )
    node.start()
    try:
        yield node
    finally:
        node.stop()


def save_instances(datasets: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write instances as files, in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, dataset in enumerate(datasets):
        paths.append(folder / f"{number:04d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def perfnode(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a `perfnode` command to its end."""
    command = [sys.executable, "-m", "dicom_node", *arguments]
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False, env=environment)
