"""A process that is kept alive: started anew when it ends, after a pause that grows while it keeps ending early.

Its parent holds the other end of its standard input. A line there tells it to stop; when the stream ends without one,
the parent is gone, and the process ends at once (`obey_parent`), so that whoever starts the node anew is alone.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from dicom_node.metrics import PROCESS_RESTARTS

_FIRST_DELAY_S: Final = 0.2
_LONGEST_DELAY_S: Final = 10.0
_PROVEN_S: Final = 60.0
"""A process that lived this long starts anew without a pause that has grown."""


@dataclass(slots=True)
class KeptProcess:
    """One process, or the time at which it is started again."""

    name: str
    """For logs."""
    start: Callable[[], "subprocess.Popen[bytes]"]
    """Starts it, with a pipe as standard input."""
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    deaths: int = field(default=0, init=False)
    """How often it ended by itself."""
    started_at: float = field(default=0.0, init=False)
    """Of the process that runs or ran last; monotonic time."""
    _start_at: float = field(default=0.0, init=False)
    _delay_s: float = field(default=_FIRST_DELAY_S, init=False)

    def look(self) -> None:
        """Start the process if it does not run and its time has come; to be called often."""
        now = time.monotonic()
        if self.process is None:
            if now >= self._start_at:
                self._begin(now)
        elif self.process.poll() is not None:
            self._ended(self.process, now)

    def tell(self, grace_s: float) -> None:
        """Tell the process to stop, and how long it may take over it."""
        if self.process is not None:
            tell(self.process, f"{grace_s}\n".encode())

    def end(self, deadline: float) -> None:
        """Wait for the process until then (monotonic time), and kill it if it still runs."""
        process, self.process = self.process, None
        if process is None:
            return
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _close(process)

    def _begin(self, now: float) -> None:
        try:
            self.process, self.started_at = self.start(), now
        except Exception as fault:  # no memory or no process left for a new one: later there may be
            self._start_at = now + _LONGEST_DELAY_S
            structlog.get_logger().error(
                "process_not_started", code="PROCESS_NOT_STARTED", process=self.name, kind=type(fault).__name__
            )

    def _ended(self, process: "subprocess.Popen[bytes]", now: float) -> None:
        how = how_it_ended(process.returncode)
        structlog.get_logger().error("process_died", code="PROCESS_DIED", process=self.name, how=how)
        PROCESS_RESTARTS.count(process=self.name.partition(" ")[0])
        _close(process)
        if now - self.started_at > _PROVEN_S:
            self._delay_s = _FIRST_DELAY_S
        self.process, self._start_at = None, now + self._delay_s
        self._delay_s = min(2 * self._delay_s, _LONGEST_DELAY_S)
        self.deaths += 1


def tell(process: "subprocess.Popen[bytes]", content: bytes) -> bool:
    """Write to the standard input of a process; False if it does not hear any more."""
    if process.stdin is None:
        return False
    try:
        process.stdin.write(content)
        process.stdin.flush()
    except OSError:
        return False
    return True


def how_it_ended(code: int) -> str:
    """In words: the signal or the exit status."""
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def obey_parent(stop: Callable[[float], None]) -> None:
    """In the child: wait for the parent's word; ends this process if the parent is gone. For a thread of its own.

    Args:
        stop: called with the grace in seconds when the parent says so.
    """
    line = b""
    while not line.endswith(b"\n"):
        # Not through `sys.stdin`: its lock would be held by this thread when the interpreter ends.
        word = os.read(0, 64)
        if not word:
            os._exit(1)
        line += word
    stop(float(line))


def _close(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
