"""Processes that do one task after another, so that a task that fails, or dies, takes no other with it.

The standard pools give up all their tasks when one process is killed, as by a kernel that is out of memory. Here it
costs its own task only, and a new process takes its place. Each works with one thread. When the parent dies, they do.
"""

import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

import psutil

T = TypeVar("T")

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
}
"""Environment of the processes; the libraries read it when they are loaded."""


@dataclass(frozen=True, slots=True)
class Started(Generic[T]):
    """A process took up a task."""

    task: T


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """A task is done, or failed."""

    task: T
    seconds: float
    """From start to end by the clock."""
    cpu_seconds: float
    """Of the process; 0 when it died."""
    peak_mb: float
    """Largest memory of the process so far, this task and those before it; 0 when it died."""
    failure: str | None
    """Why there is no result, in one line; None when all is well."""
    details: str = ""
    """Traceback of the failure."""


@dataclass(frozen=True, slots=True)
class _Answer:
    cpu_seconds: float
    peak_mb: float
    failure: str | None
    details: str


def affordable_workers(each_gb: float = 2.0) -> int:
    """How many processes the processors and the free memory of this machine bear; at least one.

    Args:
        each_gb: memory of one process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(cores, int(psutil.virtual_memory().available / (each_gb * 1e9))), 1)


def work_through(tasks: Iterable[T], work: Callable[[T], object], *, workers: int) -> Iterator[Started[T] | Ended[T]]:
    """Do all tasks, as many at a time as there are workers, and tell of each start and end.

    Closing the iterator, or an exception at the caller, kills the processes at once.

    Args:
        tasks: what can be pickled, in the order in which they are taken up.
        work: a function of a module, or `functools.partial` of one; what it returns is dropped, what it raises is told.
        workers: number of processes, 1 or more.
    """
    waiting = list(reversed(list(tasks)))
    crew: dict[Connection, _Worker[T]] = {}
    try:
        while waiting or crew:
            while waiting and len(crew) < workers:
                hand = _Worker[T](work)
                crew[hand.pipe] = hand
                yield hand.give(waiting.pop())
            for pipe in wait(list(crew)):
                hand = crew[pipe]  # type: ignore[index]
                ended = hand.take()
                yield ended
                if waiting and hand.is_alive:
                    yield hand.give(waiting.pop())
                else:
                    crew.pop(hand.pipe).stop()
    finally:
        for hand in crew.values():
            hand.stop()


class _Worker(Generic[T]):
    """One process and the pipe to it."""

    def __init__(self, work: Callable[[T], object]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.is_alive = True
        self._process = context.Process(target=_serve, args=(there, work), daemon=True)
        with _environment(ONE_THREAD):
            self._process.start()
        there.close()

    def give(self, task: T) -> Started[T]:
        self._task, self._since = task, time.monotonic()
        try:
            self.pipe.send(task)
        except OSError:
            self.is_alive = False  # it died before its first task; `take` says so
        return Started(task)

    def take(self) -> Ended[T]:
        """The end of the task, once the pipe has something to say."""
        try:
            answer: _Answer = self.pipe.recv()
        except (EOFError, OSError):
            self.is_alive = False
            self._process.join()
            answer = _Answer(0.0, 0.0, _death(self._process.exitcode), "")
        seconds = time.monotonic() - self._since
        return Ended(self._task, seconds, answer.cpu_seconds, answer.peak_mb, answer.failure, answer.details)

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _serve(pipe: Connection, work: Callable[[T], object]) -> None:
    """What a process does: one task after another until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who stops the processes
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        since, failure, details = time.process_time(), None, ""
        try:
            work(task)
        except Exception as fault:
            failure, details = f"{type(fault).__name__}: {fault}", traceback.format_exc()
        pipe.send(_Answer(time.process_time() - since, _peak_mb(), failure, details))


def _end_with_parent() -> None:
    """A process whose parent was killed must not go on writing beside the parent's successor."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _peak_mb() -> float:
    unit = 1.0 if sys.platform == "darwin" else 1024.0  # getrusage counts bytes there, kibibytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _death(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "its process was killed; the machine may have run out of memory"
    if exit_code is not None and exit_code < 0:
        return f"its process ended by {signal.Signals(-exit_code).name}"
    return f"its process ended with status {exit_code}"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
