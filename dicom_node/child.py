"""One stage of one case in a process of its own: `python -m dicom_node.child STAGE CASE_FOLDER SITE_FILE`.

Segmentation and network can be killed for memory, crash in native code or hang; here that costs one attempt and never
the node. The child dies with its parent, so a killed node leaves nobody working on a case that it will start anew.

Reading meets foreign bytes first, so it has limits of its own: memory beyond what the process has at its start, which
ends as a series that is too large, and processor time. No stage leaves a core file: it would hold a patient's images.

    exit 0   the stage is done, its files are on disk
    exit 3   the stage rejects the case: its input cannot be used; `outcome-<stage>.json` says why
    exit 4   the stage gives up for good, and it is not the input's fault; `outcome-<stage>.json` says why
    other    it crashed; the same stage may be tried again
"""

import ctypes
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_node.cases import CaseFolder
from dicom_node.errors import NodeError, StageCrashed
from inference.errors import ImplausibleAnatomy, InferenceError, SeriesTooLarge, UnusableSeries

if TYPE_CHECKING:
    from dicom_node.config import NodeSettings

REJECTED = 3
GAVE_UP = 4
SELF_TEST = "selftest"
_PR_SET_PDEATHSIG = 1
_ERROR_TAIL_BYTES = 2000


def run_in_child(stage: str, folder: Path, site_file: str, *, timeout_s: float, stop: Callable[[], bool]) -> int:
    """Run a stage and wait for it.

    Args:
        stage: a `Stage` with a function, or `selftest`.
        folder: the case folder.
        site_file: the settings the child reads.
        timeout_s: wall-clock limit.
        stop: asked every half second; when it says yes the child is killed.

    Returns:
        0 when done, `REJECTED` or `GAVE_UP` when an outcome says why not.

    Raises:
        StageCrashed: killed, timed out, stopped, or ended in an unknown way.
    """
    command = [sys.executable, "-m", "dicom_node.child", stage, str(folder), site_file, str(os.getpid())]
    deadline = time.monotonic() + timeout_s
    errors = folder / f"{stage}.stderr"
    with errors.open("wb") as stderr, subprocess.Popen(command, stdout=stderr, stderr=stderr) as process:
        try:
            reason = _wait(process, deadline, stop)
        finally:
            process.kill()
    if reason:
        raise StageCrashed(stage, reason)
    if process.returncode not in (0, REJECTED, GAVE_UP):
        raise StageCrashed(stage, _why(process.returncode, errors))
    return process.returncode


def _wait(process: subprocess.Popen[bytes], deadline: float, stop: Callable[[], bool]) -> str:
    while True:
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            if stop():
                return "it was stopped"
            if time.monotonic() > deadline:
                return "it took longer than allowed"
        else:
            return ""


def _why(returncode: int, errors: Path) -> str:
    """The kind of fault only: the text of a foreign exception may hold patient data, so it stays in the case folder."""
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    last = errors.read_bytes()[-_ERROR_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
    return f"exit status {returncode}, {last[-1].partition(':')[0] if last else 'no message'}"


def main(arguments: list[str]) -> int:
    """Entry of the child process."""
    stage, folder, site_file, parent = arguments
    _die_with_parent(int(parent))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from dicom_node.config import read_settings

    settings = read_settings(Path(site_file))
    case = CaseFolder(Path(folder))
    case.write_outcome(stage, None)
    try:
        if stage == SELF_TEST:
            from dicom_node.selftest import run_self_test

            run_self_test(settings)
        else:
            _run_stage(stage, case, settings)
    except (InferenceError, NodeError) as fault:
        if not fault.permanent:
            raise
        case.write_outcome(stage, {"code": fault.code, "message": str(fault)})
        return REJECTED if isinstance(fault, UnusableSeries | ImplausibleAnatomy) else GAVE_UP
    return 0


def _run_stage(stage: str, case: CaseFolder, settings: "NodeSettings") -> None:
    from dicom_node.pipeline import STAGES
    from dicom_node.stages import Stage

    if stage != Stage.READ:
        STAGES[Stage(stage)](case, settings)
        return
    limit_reading(settings.read_memory_mb, settings.stage_timeout_s)
    try:
        STAGES[Stage.READ](case, settings)
    except MemoryError as fault:
        raise SeriesTooLarge(None, settings.read_memory_mb) from fault


def limit_reading(memory_mb: int, cpu_s: float) -> None:
    """Bound what this process may still take; the system enforces it, decoders in native code included.

    Args:
        memory_mb: address space beyond what the process has now; an allocation beyond it is a `MemoryError`, or a
            decoder that fails or aborts.
        cpu_s: processor time; the process is killed beyond it.
    """
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_mb * 2**20)
    _lower(resource.RLIMIT_CPU, math.ceil(time.process_time() + cpu_s))


def _lower(what: int, limit: int) -> None:
    _, hard = resource.getrlimit(what)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(what, (limit, hard))


def _die_with_parent(parent: int) -> None:
    """Ask Linux to kill us when the parent ends; elsewhere the parent's own clean-up must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
