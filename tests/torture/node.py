"""The node under torture: `perfnode serve` as a process of its own, measured and killed from outside."""

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from dicom_node.network.addresses import AeAddress
from tests.peers import free_port
from tests.torture.wire import VERIFICATION, Association, Context, NotAssociated

START_LIMIT_S = 240.0
RECEIVER_WORD = "receiver"
"""Stands in the command line of a receiver process of the node."""
SITE = """
[node]
port = {port}
data_dir = "data"
quiet_period_s = 3600
minimum_free_mb = 200
maximum_associations = {associations}
[inference]
perfusion = "densitometric"
[self_test]
every_h = 0
[log]
format = "json"
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What the node's processes hold."""

    rss_mb: float
    threads: int
    descriptors: int
    processes: int


@dataclass
class NodeUnderTest:
    """A node that never begins to work on a series: torture is about the door."""

    folder: Path
    associations: int = 500
    more_settings: str = ""
    tls: ssl.SSLContext | None = None
    """How a good peer must connect, if the node listens with TLS."""
    command: tuple[str, ...] = (sys.executable, "-m", "dicom_node", "serve", "--config")
    address: AeAddress = field(init=False)
    process: "subprocess.Popen[bytes] | None" = None
    _most_receivers: int = 1

    def __post_init__(self) -> None:
        self.address = AeAddress("PERFNODE", "127.0.0.1", free_port())
        self.folder.mkdir(parents=True, exist_ok=True)
        text = SITE.format(port=self.address.port, associations=self.associations)
        (self.folder / "site.toml").write_text(text + self.more_settings)

    @property
    def spool(self) -> Path:
        return self.folder / "data" / "spool"

    @property
    def log(self) -> str:
        return (self.folder / "node.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: it does not.
        """
        with (self.folder / "node.log").open("ab") as log:
            self.process = subprocess.Popen([*self.command, str(self.folder / "site.toml")], stdout=log, stderr=log)
        if self.seconds_until_echo(START_LIMIT_S) is None:
            raise RuntimeError(f"the node does not answer:\n{self.log[-3000:]}")
        self._most_receivers = len(self.receivers())

    def seconds_until_echo(self, limit_s: float = 10.0) -> float | None:
        """How long it takes until a good C-ECHO is answered; `None` if it is not within the limit."""
        started = time.monotonic()
        while time.monotonic() - started < limit_s:
            if self.process is not None and self.process.poll() is not None:
                return None
            if self.echo_s() is not None:
                return time.monotonic() - started
            time.sleep(0.05)
        return None

    def echo_s(self, timeout_s: float = 5.0) -> float | None:
        """Seconds for association, C-ECHO and release; `None` if something of that failed."""
        started = time.monotonic()
        try:
            with Association.open(
                self.address, (Context(1, VERIFICATION),), source="127.0.0.3", timeout_s=timeout_s, tls=self.tls
            ) as association:
                if association.echo() != 0 or not association.release():
                    return None
        except (NotAssociated, OSError):
            return None
        return time.monotonic() - started

    def processes(self) -> list[psutil.Process]:
        """The node and all its children."""
        assert self.process is not None
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def receivers(self) -> list[psutil.Process]:
        """The processes that receive: the children made for it, or the node itself."""
        children = []
        for process in self.processes()[1:]:
            with contextlib.suppress(psutil.Error):
                if RECEIVER_WORD in " ".join(process.cmdline()):
                    children.append(process)
        return children or self.processes()[:1]

    def is_complete(self) -> bool:
        """Whether all receiving processes run; one that died often is started again later and later."""
        return len(self.receivers()) >= self._most_receivers

    def load(self) -> Load:
        """What all processes hold together."""
        rss = threads = descriptors = processes = 0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                rss += process.memory_info().rss
                threads += process.num_threads()
                descriptors += process.num_fds()
                processes += 1
        return Load(rss / 1e6, threads, descriptors, processes)

    def kill_receiver(self, number: int) -> None:
        """kill -9 of one receiving process; the node is started again if that was itself."""
        victims = self.receivers()
        victim = victims[number % len(victims)]
        victim.send_signal(signal.SIGKILL)
        assert self.process is not None
        if victim.pid == self.process.pid:
            self.restart()

    def restart(self) -> None:
        """kill -9 of the node, and a start."""
        assert self.process is not None
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def without_priority() -> None:
    """For `preexec_fn` of hostile processes: whoever is tested comes first."""
    os.nice(10)
