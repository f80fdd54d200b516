"""One attempt of a stage from outside: a process is started (`child`), watched, and ended with all that it started.

Limits are kept from here, where native code that hangs or a stopped process cannot escape them. How it ended is one of
four faults: it was killed for memory, took too long, crashed, or (after that) cannot be killed, as when the driver of a
GPU hangs. Each costs one attempt.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_node.errors import StageCrashed, StageOutOfMemory, StageTooLong
from dicom_node.processes.process_tree import MARK, end_group, end_marked, resident_mb
from dicom_node.work.child import GAVE_UP, OUT_OF_MEMORY, REJECTED, WENT_BACK

_LOOK_S: Final = 0.5
_KILL_LIMIT_S: Final = 10.0
"""A killed process that has not ended by then is stuck in the kernel; nobody waits for it any longer."""
_ERROR_TAIL_BYTES: Final = 2000


def run_in_child(
    stage: str,
    folder: Path,
    site_file: str,
    *,
    timeout_s: float,
    stop: Callable[[], bool],
    program: str = "dicom_node.work.child",
    memory_mb: int = 0,
    mark: str = "",
) -> int:
    """Run a stage and wait for it. Whatever happens, nothing that it started runs on afterwards.

    Args:
        stage: a `Stage` with a function, or `selftest`.
        folder: the case folder.
        site_file: the settings the child reads.
        timeout_s: wall-clock limit.
        stop: asked every half second; when it says yes the child is killed.
        program: module that is run with `STAGE FOLDER SITE_FILE PID`; its exit statuses are those of `child`.
        memory_mb: most memory in RAM of the child and its descendants; 0 for no limit.
        mark: what tells its processes from others; two stages of one case that may meet need two. The folder if empty.

    Returns:
        0 when done; `REJECTED`, `GAVE_UP` or `WENT_BACK` when an outcome says why not.

    Raises:
        StageOutOfMemory: killed for memory, by us or by the system, or memory ran out inside.
        StageTooLong: killed because it took too long.
        StageCrashed: stopped, or ended in an unknown way.
    """
    mark = mark or str(folder)
    end_marked(mark)  # an attempt whose node was killed may have left somebody
    errors = folder / f"{stage}.stderr"
    process = _started([program, stage, str(folder), site_file, str(os.getpid())], mark, errors)
    watch = _Watch(stage, time.monotonic() + timeout_s, timeout_s, memory_mb, stop)
    try:
        fault = watch.until_end(process)
    finally:
        is_gone = _end(process, mark)
    if fault is not None:
        raise fault if is_gone else type(fault)(stage, f"{fault.reason}, and it cannot be killed")
    if (fault := _fault(stage, process.returncode, errors)) is not None:
        raise fault
    return process.returncode


def _started(module: list[str], mark: str, output: Path) -> "subprocess.Popen[bytes]":
    """In a session of its own, so that its group holds nobody else."""
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *module],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, MARK: mark},
            start_new_session=True,
        )


@dataclass(frozen=True, slots=True)
class _Watch:
    stage: str
    deadline: float
    timeout_s: float
    memory_mb: int
    stop: Callable[[], bool]

    def until_end(self, process: "subprocess.Popen[bytes]") -> StageCrashed | None:
        """Wait until the process ends (`None`) or must be ended."""
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, min(_LOOK_S, self.deadline - time.monotonic())))
                return None
            if self.stop():
                return StageCrashed(self.stage, "it was stopped")
            if time.monotonic() >= self.deadline:
                return StageTooLong(self.stage, f"longer than allowed, {self.timeout_s:g} s")
            if self.memory_mb and resident_mb(process.pid) > self.memory_mb:
                return StageOutOfMemory(self.stage, f"it held more than the {self.memory_mb} MB allowed")


def _end(process: "subprocess.Popen[bytes]", mark: str) -> bool:
    """Kill a process, its group and all that bears its mark; whether it is gone."""
    end_group(process.pid)
    if process.returncode is None:
        process.kill()
    end_marked(mark)
    try:
        process.wait(_KILL_LIMIT_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _fault(stage: str, returncode: int, errors: Path) -> StageCrashed | None:
    """What an ending means.

    Of a foreign exception only its kind is told: its text may hold patient data, so it stays in the case folder.
    """
    if returncode in (0, REJECTED, GAVE_UP, WENT_BACK):
        return None
    if returncode == OUT_OF_MEMORY:
        return StageOutOfMemory(stage, "memory ran out inside")
    if returncode == -signal.SIGKILL:  # not by us, or the watch would have said so
        return StageOutOfMemory(stage, "killed by SIGKILL, as the system does when memory runs out")
    if returncode == -signal.SIGXCPU:
        return StageTooLong(stage, "more processor time than allowed")
    if returncode < 0:
        return StageCrashed(stage, f"killed by {signal.Signals(-returncode).name}")
    last = errors.read_bytes()[-_ERROR_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
    return StageCrashed(stage, f"exit status {returncode}, {last[-1].partition(':')[0] if last else 'no message'}")
