"""Hosts of a node whose stages are stubs: real supervisors, receivers, engines and databases, and no images."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from dicom_node.errors import NeverStarted
from dicom_node.jobs.attempts import Case
from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.job_database import JobDatabase, server_database
from dicom_node.jobs.jobs import JobBook
from dicom_node.network.addresses import AeAddress
from tests.peers import eventually, free_port, listens

PROGRAM = "tests.torture.stub_node"


@dataclass
class StubHost:
    """One `perfnode serve`, with the data directory `folder/data`."""

    folder: Path
    pacs: AeAddress
    url: str = "sqlite"
    """Of the database; hosts with a server share `folder/../shared`."""
    roles: Sequence[str] = ()
    name: str = "1"
    work: str = ""
    """Further lines of the table `[work]`."""
    shared: Path | None = None
    program: str = PROGRAM
    address: AeAddress = field(default_factory=lambda: AeAddress("PERFNODE", "127.0.0.1", free_port()))
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> str:
        return (self.folder / f"node-{self.name}.log").read_text(errors="replace")

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def said(self, event: str) -> int:
        """How often."""
        return sum(line["event"] == event for line in self.events)

    @property
    def database(self) -> JobDatabase:
        return JobDatabase.under(self.folder / "data") if self.url == "sqlite" else server_database(self.url, None)

    @property
    def cases(self) -> CaseStore:
        return CaseStore.under(self.shared or self.folder / "data")

    def site(self) -> str:
        shared = f'shared_dir = "{self.shared}"\n' if self.shared else ""
        return (
            f'[node]\nport = {self.address.port}\ndata_dir = "data"\n{shared}quiet_period_s = 0.5\n'
            f'minimum_free_mb = 100\nreceiver_processes = 1\n[database]\nurl = "{self.url}"\n'
            f"[work]\nretry_delays_s = [0.5]\n{self.work}\n"
            '[log]\nformat = "json"\n[completeness]\nhold_limit_s = 0\n[[rules]]\nname = "all"\naction = "process"\n'
            f'[[destinations]]\nname = "pacs"\nae_title = "{self.pacs.ae_title}"\nhost = "127.0.0.1"\n'
            f'port = {self.pacs.port}\nobjects = ["parametric-map"]\nverify = "none"\n'
        )

    def start(self, *, ready: bool = True) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        site, text = self.folder / "site.toml", self.site()
        if not site.exists() or site.read_text() != text:  # others may be reading it
            site.write_text(text)
        roles = [word for role in self.roles for word in ("--role", role)]
        command = [sys.executable, "-m", self.program, "--config", str(self.folder / "site.toml")]
        with (self.folder / f"node-{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen([*command, "--name", self.name, *roles], stdout=log, stderr=log)
        if ready:
            self.wait_until_ready()

    def wait_until_ready(self, times: int = 1) -> None:
        """Wait until it has begun to work so many times in all."""
        process = self.process
        assert process is not None
        assert eventually(lambda: self.said("node_ready") >= times or process.poll() is not None, 90.0), self.log
        assert process.poll() is None, self.log

    def children(self, word: str) -> list[psutil.Process]:
        """Processes below the supervisor with that word in their command line."""
        assert self.process is not None
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if word in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def kill(self) -> None:
        """kill -9 of the supervisor; what it started ends by itself."""
        assert self.process is not None
        left = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        _, alive = psutil.wait_procs(left, timeout=10)
        assert not alive, [process.cmdline() for process in alive]

    def stop(self) -> int:
        assert self.process is not None
        left = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        status = self.process.wait(60)
        _, alive = psutil.wait_procs(left, timeout=5)
        assert not alive, [process.cmdline() for process in alive]
        return status

    def all_cases(self) -> list[Case]:
        try:
            with JobBook(self.database, self.cases) as book:
                return book.cases()
        except NeverStarted:
            return []

    def finished(self, count: int, timeout_s: float = 60.0) -> list[Case]:
        """The cases when there are so many and all are finished."""

        def done() -> bool:
            cases = self.all_cases()
            return len(cases) >= count and all(case.is_finished for case in cases)

        assert eventually(done, timeout_s), f"{self.all_cases()}\n{self.log}"
        return self.all_cases()

    def listens(self) -> bool:
        return listens(self.address.port)


@contextmanager
def running(*hosts: StubHost) -> Iterator[None]:
    """Start hosts, and stop at the end what still runs."""
    try:
        for host in hosts:
            host.start(ready=False)
        for host in hosts:
            host.wait_until_ready()
        yield
    finally:
        for host in hosts:
            if host.process is not None and host.process.poll() is None:
                host.stop()
