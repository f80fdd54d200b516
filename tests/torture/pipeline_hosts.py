"""The hosts of one node under torture: started, killed, started again as a service manager does, cut off, looked at.

Every process of a node inherits two marks in its environment: the run, and which start of which host it belongs to. So
a process that has outlived its host is found wherever it hangs in the tree.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicom_node.network.addresses import AeAddress
from tests.peers import free_port

RUN_MARK: Final = "PERFNODE_TORTURE_RUN"
HOST_MARK: Final = "PERFNODE_HOST"
MODULES: Final = {
    "tests.torture.stub_node": "supervisor",
    "tests.torture.stub_stage": "stage",
    "dicom_node.serving.engine_process": "engine",
    "dicom_node.serving.adoption": "adoption",
}
"""Modules that are run as processes, and what they are."""
_RESTART_S: Final = 0.5
_OUTLIVES_S: Final = 5.0
"""A process that a host has left behind may take so long to end: a frozen one sees a broken pipe, not a signal."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a run."""

    pid: int
    host: str
    """Name of its host, and which start of it."""
    kind: str


def processes(run: str) -> list[Process]:
    """Every process of a run that is alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = (path / "environ").read_bytes()
            if f"{RUN_MARK}={run}\0".encode() not in environment:
                continue
            marks = dict(
                entry.split("=", 1) for entry in environment.decode(errors="replace").split("\0") if "=" in entry
            )
            if words := (path / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]:  # a zombie has none
                found.append(Process(int(path.name), marks.get(HOST_MARK, ""), _kind(words)))
    return found


def _kind(words: Sequence[str]) -> str:
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
    return MODULES.get(module) or ("receiver" if "receiver" in " ".join(words) else "other")


@dataclass
class Host:
    """One machine: a supervisor with its roles, and a service manager that starts it again when it has ended."""

    name: str
    roles: Sequence[str]
    folder: Path
    ip: str
    run: str
    site: Callable[["Host"], str]
    """Text of its site file."""
    prefix: Sequence[str] = ()
    """Words before the command, to run it in a network namespace."""
    address: AeAddress = field(init=False)
    starts: int = 0
    exits: Counter[int] = field(default_factory=Counter)
    """How its supervisor ended, and how often."""
    outlived: list[str] = field(default_factory=list)
    """Kinds of processes that were alive after their supervisor had ended."""
    _log_at: int = 0
    _process: "subprocess.Popen[bytes] | None" = None
    _manager: threading.Thread | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address = AeAddress("PERFNODE", self.ip, free_port())

    @property
    def log(self) -> str:
        """What its processes have said."""
        return (self.folder / "node.log").read_text(errors="replace")

    @property
    def is_ready(self) -> bool:
        """Whether its last start has come so far as to say so."""
        with suppress(OSError), (self.folder / "node.log").open("rb") as log:
            log.seek(self._log_at)
            return b'"node_ready"' in log.read()
        return False

    def start(self) -> None:
        """Let the service manager begin."""
        (self.folder / "site.toml").write_text(self.site(self))
        self._stopping.clear()
        self._spawn()
        self._manager = threading.Thread(target=self._manage, daemon=True)
        self._manager.start()

    def stop(self, timeout_s: float = 60.0) -> None:
        """SIGTERM, and wait; what does not end is killed and counted as an exit of its own."""
        self._stopping.set()
        if self._manager is not None:
            self._manager.join()
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        try:
            self.exits[process.wait(timeout_s)] += 1
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.exits[-99] += 1
        self._process = None

    def _spawn(self) -> None:
        self.starts += 1
        roles = [word for role in self.roles for word in ("--role", role)]
        command = [*self.prefix, sys.executable, "-m", "tests.torture.stub_node"]
        command += ["--config", str(self.folder / "site.toml"), "--name", self.name, *roles]
        environment = {**os.environ, RUN_MARK: self.run, HOST_MARK: f"{self.name}/{self.starts}"}
        with (self.folder / "node.log").open("ab") as log:
            self._log_at = log.tell()
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def _manage(self) -> None:
        while not self._stopping.wait(0.1):
            process = self._process
            if process is None or process.poll() is None:
                continue
            self.exits[process.returncode] += 1
            ended, host = time.monotonic(), f"{self.name}/{self.starts}"
            if self._stopping.wait(_RESTART_S):
                return
            self._spawn()
            self._require_gone(host, ended + _OUTLIVES_S)

    def _require_gone(self, host: str, deadline: float) -> None:
        while left := [process for process in processes(self.run) if process.host == host]:
            if time.monotonic() > deadline:
                self.outlived += [process.kind for process in left]
                for process in left:
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                return
            time.sleep(0.2)


@dataclass
class Killer:
    """kill -9 at random; every fourth time of everything."""

    run: str
    chance: random.Random
    kills: Counter[str] = field(default_factory=Counter)

    def strike(self) -> str:
        """Kill one process, or all; what it was."""
        alive = processes(self.run)
        if not alive:
            return "nothing"
        if sum(self.kills.values()) % 4 == 3:
            return self._kill("everything", alive)
        kinds = sorted({process.kind for process in alive})
        kind = self.chance.choice(kinds)
        return self._kill(kind, [self.chance.choice([p for p in alive if p.kind == kind])])

    def _kill(self, what: str, victims: Sequence[Process]) -> str:
        for victim in sorted(victims, key=lambda p: p.kind != "supervisor"):
            with suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGKILL)
        self.kills[what] += 1
        return what


def listens_at(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


class NoNamespaces(Exception):
    """This machine, or this user, cannot make network namespaces."""


@dataclass(slots=True)
class Network:
    """Network namespaces, one per host, on one bridge; the peers stand at the address of the bridge."""

    number: int
    hosts: int
    _made: list[str] = field(default_factory=list)

    @property
    def ip(self) -> str:
        """Where the peers listen."""
        return f"10.213.{self.number}.1"

    def ip_of(self, host: int) -> str:
        """The address of host number 0, 1, …"""
        return f"10.213.{self.number}.{11 + host}"

    def prefix(self, host: int) -> list[str]:
        """Words that run a command on that host."""
        return ["ip", "netns", "exec", self._namespace(host)]

    def cut(self, host: int) -> None:
        """Nothing gets to the host or from it, and nobody is told: its cable hangs in no switch any more."""
        _ip("link", "set", self._cable(host), "nomaster")

    def join(self, host: int) -> None:
        """Put the cable back."""
        _ip("link", "set", self._cable(host), "master", self._bridge)

    @property
    def _bridge(self) -> str:
        return f"pnbr{self.number}"

    def _namespace(self, host: int) -> str:
        return f"perfnode-{self.number}-{host}"

    def _cable(self, host: int) -> str:
        return f"pnv{self.number}-{host}"

    def make(self) -> None:
        """Bridge, namespaces, cables.

        Raises:
            NoNamespaces: not here.
        """
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self.ip}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for host in range(self.hosts):
            name, cable = self._namespace(host), self._cable(host)
            _ip("netns", "add", name)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", cable, "master", self._bridge, "up")
            _ip("-n", name, "addr", "add", f"{self.ip_of(host)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")

    def remove(self) -> None:
        """All of it."""
        for host in range(self.hosts):
            subprocess.run(["ip", "netns", "del", self._namespace(host)], capture_output=True, check=False)
            subprocess.run(["ip", "link", "del", self._cable(host)], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self._bridge], capture_output=True, check=False)


@contextmanager
def network(hosts: int) -> Iterator[Network]:
    """So many hosts in namespaces of their own.

    Raises:
        NoNamespaces: not here.
    """
    made = Network(os.getpid() % 250 + 1, hosts)
    try:
        made.make()
        yield made
    finally:
        made.remove()


def _ip(*words: str) -> None:
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    except OSError as fault:
        raise NoNamespaces("the program ip is not installed") from fault
    if done.returncode != 0:
        raise NoNamespaces(f"ip {' '.join(words)}: {done.stderr.strip()}")
