"""Several processes that receive on one port, kept alive.

Python runs one thread of a process at a time, so four senders at once are served no faster than one unless there are
several processes. All accept from one listening socket; limits hold over all of them (`connection_slots`). What breaks
one process costs its associations, whose senders try again, and never the port: another process serves, and a new one
is started.
"""

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from dicom_node.network.connection_slots import ConnectionSlots
from dicom_node.network.receiver_process import ReceiverParts
from dicom_node.processes.kept_process import KeptProcess, tell

log = structlog.get_logger()

_BACKLOG: Final = 128
_LOOK_S: Final = 0.1
_START_S: Final = 30.0
"""A process that does not accept connections this long after its start is stuck."""
_END_S: Final = 15.0
"""After the grace: for aborting what runs and for the interpreter to end."""


@dataclass(frozen=True, slots=True)
class _Seat:
    """A place for one process."""

    number: int
    kept: KeptProcess


class ReceiverProcesses:
    """The receiver as `settings.processes` processes.

    Args:
        parts: What each process receives with.
        stuck_after_s: A process whose accepting thread pauses longer than this is killed, and a new one started.
    """

    def __init__(self, parts: ReceiverParts, *, stuck_after_s: float = 30.0) -> None:
        self._parts = parts
        self._stuck_after_s = stuck_after_s
        self._listening: socket.socket | None = None
        self._slots: ConnectionSlots | None = None
        numbers = range(parts.settings.processes)
        self._seats = [_Seat(n, KeptProcess(f"receiver {n}", partial(self._spawn, n))) for n in numbers]
        self._stopping = threading.Event()
        self._watching: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The TCP port that is listened on, 0 while stopped."""
        return 0 if self._listening is None else int(self._listening.getsockname()[1])

    @property
    def process_ids(self) -> list[int]:
        """Of the processes that run now."""
        return [process.pid for seat in self._seats if (process := seat.kept.process) is not None]

    def start(self) -> None:
        """Listen, and return when connections are accepted.

        Raises:
            OSError: The address cannot be bound, a file of the TLS settings cannot be read, or no process came up.
        """
        settings = self._parts.settings
        if settings.tls is not None:
            settings.tls.server_context()  # complain here, not in processes that start and die
        self._slots = ConnectionSlots.create(settings.maximum_connections, len(self._seats))
        try:
            self._listening = _listen(settings.host, settings.port)
        except OSError:
            self._slots.close()
            raise
        self._stopping.clear()
        self._watching = threading.Thread(target=self._watch, name="receiver-processes", daemon=True)
        self._watching.start()
        deadline = time.monotonic() + _START_S
        while not all(self._slots.last_life(seat.number) for seat in self._seats):
            if time.monotonic() > deadline:
                self.stop(grace_s=0.0)
                raise OSError("the processes that receive did not start; the log says why")
            time.sleep(0.01)
        log.info("receivers_started", host=settings.host, port=self.port, processes=len(self._seats))

    def stop(self, grace_s: float = 30.0) -> None:
        """Accept nothing new, let running associations finish for `grace_s`, then abort them."""
        listening = self._listening
        if listening is None or self._watching is None or self._slots is None:
            return
        self._stopping.set()
        self._watching.join()  # it may be starting a process, which needs the socket
        self._listening = None
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # for all processes at once
        listening.close()
        for seat in self._seats:
            seat.kept.tell(grace_s)
        deadline = time.monotonic() + grace_s + _END_S
        for seat in self._seats:
            seat.kept.end(deadline)
        self._slots.close()
        log.info("receivers_stopped")

    # -- the watching thread -----------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_S if all(seat.kept.process for seat in self._seats) else 0.01):
            for seat in self._seats:
                self._look_after(seat)

    def _look_after(self, seat: _Seat) -> None:
        assert self._slots is not None  # noqa: S101  # set while we watch
        kept, deaths = seat.kept, seat.kept.deaths
        kept.look()
        if kept.deaths > deaths:
            self._slots.free_process(seat.number)
        elif kept.process is not None and kept.process.poll() is None:
            last = self._slots.last_life(seat.number)
            if time.monotonic() > (last + self._stuck_after_s if last else kept.started_at + _START_S):
                log.error("receiver_process_stuck", code="RECEIVER_PROCESS_STUCK", number=seat.number)
                kept.process.kill()

    def _spawn(self, number: int) -> subprocess.Popen[bytes]:
        assert self._slots is not None and self._listening is not None  # noqa: S101, PT018
        descriptors = (self._listening.fileno(), self._slots.descriptor)
        module = ReceiverParts.__module__
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(number), *map(str, descriptors)],
            stdin=subprocess.PIPE,
            pass_fds=descriptors,
            env={"MALLOC_ARENA_MAX": "2", **os.environ},  # with one for each thread, 300 peers cost twice the memory
        )
        if not tell(process, pickle.dumps(self._parts)):
            process.kill()
        return process


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening
