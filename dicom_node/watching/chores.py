"""Work that comes round at its time: retention, watchdog, recovery of cases; each in a thread that waits for the next.

A chore that fails is logged by its kind and comes round again; it stops nobody.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog

from dicom_node.errors import code_of


@dataclass(frozen=True, slots=True)
class Chore:
    """One thing that is done again and again."""

    name: str
    every_s: float
    """From the end of one time to the begin of the next."""
    run: Callable[[], None]
    once_for_all_hosts: bool = False
    """Done by one host at a time, under the named lock `chore:<name>`; the others leave it out."""


class Locks(Protocol):
    """Locks that hold over all hosts (`named_locks.NamedLocks`)."""

    def try_hold(self, name: str) -> AbstractContextManager[bool]:
        """Hold the lock if nobody does; the value says whether."""


class Chores:
    """Runs every chore in a thread of its own.

    Args:
        chores: what is to be done.
        locks: for those that one host at a time does.
    """

    def __init__(self, chores: Sequence[Chore], locks: Locks) -> None:
        self._chores = tuple(chores)
        self._locks = locks
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin; every chore is done at once, and then in its time."""
        for chore in self._chores:
            thread = threading.Thread(target=self._come_round, args=(chore,), name=f"chore-{chore.name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, grace_s: float = 5.0) -> None:
        """Begin nothing new; what runs has this long to end, and then ends with the process."""
        self._stopping.set()
        deadline = time.monotonic() + grace_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _come_round(self, chore: Chore) -> None:
        log, said = structlog.get_logger(), ""
        while not self._stopping.is_set():
            try:
                self._do(chore)
                said = ""
            except Exception as fault:  # a full disk, a database that is away; the text may hold patient data
                kind = type(fault).__name__
                if kind != said:  # once, not every time
                    log.error("chore_failed", chore=chore.name, code=code_of(fault, "CHORE_FAILED"), kind=kind)
                said = kind
            self._stopping.wait(chore.every_s)

    def _do(self, chore: Chore) -> None:
        if not chore.once_for_all_hosts:
            chore.run()
            return
        with self._locks.try_hold(f"chore:{chore.name}") as held:
            if held:
                chore.run()
