"""The engine processes of one `perfnode serve`, kept alive: which there are, how they start and how they stop.

Work is done in processes of their own so that a crash of one, for instance by a job that kills every process which
takes it, costs an attempt and never the door: receiving goes on, and the process is started again.
"""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

from dicom_node.processes.kept_process import KeptProcess
from dicom_node.processes.programs import Programs
from dicom_node.processes.roles import Role
from dicom_node.serving.engine_process import arguments_of
from dicom_node.settings.config import NodeSettings

_START_S: Final = 30.0
"""The door opens after this long, whether the engine works or not."""
_END_S: Final = 10.0
"""After the grace, for the interpreter to end."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A place for one engine process."""

    name: str
    roles: tuple[Role, ...]
    gpu: str = ""
    """What CUDA may see; empty: everything."""


def seats(roles: Set[Role], workers: int, gpus: Sequence[str]) -> list[Seat]:
    """The engine processes of a host.

    One worker for each GPU and a sender beside them; without named GPUs, as many workers as the site wants, of which
    the first one also sends: a sender waits for its peers most of the time.
    """
    worker, sender = Role.WORKER in roles, Role.SENDER in roles
    if worker and gpus:
        found = [Seat(f"gpu{gpu}", (Role.WORKER,), gpu) for gpu in gpus]
        return [*found, Seat("sender", (Role.SENDER,))] if sender else found
    if not worker:
        return [Seat("sender", (Role.SENDER,))] if sender else []
    first = (Role.WORKER, Role.SENDER) if sender else (Role.WORKER,)
    return [Seat("1", first), *(Seat(str(number), (Role.WORKER,)) for number in range(2, workers + 1))]


def executor_id(settings: NodeSettings, name: str, seat: Seat) -> str:
    """Under which id a process takes work: the same after a restart, and no other's, on any host."""
    place = sha256(str(settings.data_dir).encode()).hexdigest()[:6]
    return f"{socket.gethostname()}/{place}/{name}/{seat.name}"


class Supervisor:
    """Keeps the engine processes of one `perfnode serve` alive.

    Args:
        settings: of the node.
        roles: of this `serve`.
        name: tells several `serve` of one host apart.
        programs: what is started.
    """

    def __init__(self, settings: NodeSettings, roles: Set[Role], name: str, programs: Programs) -> None:
        self._waited_for: list[int] | None = None
        self._deadline: float | None = None
        start: Callable[[Seat], subprocess.Popen[bytes]] = partial(self._spawn, settings, name, programs)
        work = settings.work
        self._kept = [
            KeptProcess(f"engine {seat.name}", partial(start, seat)) for seat in seats(roles, work.workers, work.gpus)
        ]

    @property
    def process_ids(self) -> list[int]:
        """Of the engine processes that run now."""
        return [kept.process.pid for kept in self._kept if kept.process is not None]

    @property
    def wanted(self) -> int:
        """How many engine processes there should be."""
        return len(self._kept)

    def start(self) -> None:
        """Start all, and wait until each works, waits for its database, or has ended; not for ever."""
        self._waited_for = []
        self.look()
        descriptors, self._waited_for = self._waited_for, None
        deadline = time.monotonic() + _START_S
        for descriptor in descriptors:
            # Readable when it has said something, and when it has ended.
            select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            os.close(descriptor)

    def look(self) -> None:
        """Start anew what has ended; to be called often."""
        for kept in self._kept:
            kept.look()

    def begin_stop(self, grace_s: float = 5.0) -> None:
        """Let the processes take nothing new; what runs after the grace is repeated at the next start."""
        for kept in self._kept:
            kept.tell(grace_s)
        self._deadline = time.monotonic() + grace_s + _END_S

    def stop(self) -> None:
        """Wait until the processes have ended."""
        if self._deadline is None:
            self.begin_stop()
        for kept in self._kept:
            kept.end(self._deadline or 0.0)

    def _spawn(self, settings: NodeSettings, name: str, programs: Programs, seat: Seat) -> "subprocess.Popen[bytes]":
        says = self._listened_to()
        words = arguments_of(settings, executor_id(settings, name, seat), seat.roles, programs, says)
        environment = {"MALLOC_ARENA_MAX": "2", **os.environ}
        if seat.gpu:
            environment["CUDA_VISIBLE_DEVICES"] = seat.gpu
        command = [sys.executable, "-m", programs.engine, *words]
        try:
            return subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(says,), env=environment)
        finally:
            os.close(says)

    def _listened_to(self) -> int:
        """A descriptor for the process to speak to: to us while we wait for its start, later to nobody."""
        if self._waited_for is None:
            return os.open(os.devnull, os.O_WRONLY)
        hears, says = os.pipe()
        self._waited_for.append(hears)
        return says
