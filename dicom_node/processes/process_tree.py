"""A process with everything that it starts: how much memory they hold, and an end for all of them.

Descendants are found by parentage while their parents live. What has left the tree (its parent died, or it made a
session of its own) is found by a mark in its environment, which every descendant inherits.
"""

import contextlib
import os
import signal
from typing import Final

import psutil

MARK: Final = "PERFNODE_STAGE_OF"
"""Variable that marks a process and its descendants; the value says what they work on."""
_ROUNDS: Final = 20
"""A process may start another one while it is being looked for."""


def resident_mb(pid: int) -> float:
    """Memory in RAM of a process and its descendants, what they share counted for each (MB); 0 when it has ended."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total / 2**20


def end_group(leader: int) -> None:
    """Kill every process of a group, whether its leader still lives or not."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def end_marked(value: str) -> None:
    """Kill every process of this host that is marked with this value, with the groups that they are in.

    A stage has a session of its own, so only its descendants are in these groups, also those that have
    cleaned their environment.
    """
    for _ in range(_ROUNDS):
        found = [process for process in psutil.process_iter() if _is_marked(process, value)]
        for process in found:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                end_group(os.getpgid(process.pid))
                process.kill()
        if not found:
            return
        psutil.wait_procs(found, timeout=0.2)


def _is_marked(process: psutil.Process, value: str) -> bool:
    try:
        return bool(process.pid != os.getpid() and process.environ().get(MARK) == value)
    except psutil.Error:  # it has ended, or it is not ours to look at
        return False
