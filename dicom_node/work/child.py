"""One stage of one case in a process of its own.

`python -m dicom_node.work.child STAGE CASE_FOLDER SITE_FILE PARENT_PID`

Segmentation and network can be killed for memory, crash in native code or hang; here that costs one attempt and never
the node. The child dies with its parent, so a killed node leaves nobody working on a case that it will start anew.
`stage_process` starts it and keeps its limits.

Reading meets foreign bytes first, so it has limits of its own: memory beyond what the process has at its start, which
ends as a series that is too large, and processor time. No stage leaves a core file: it would hold a patient's images.

    exit 0   the stage is done, its files are on disk
    exit 3   the stage rejects the case: its input cannot be used; `outcome-<stage>.json` says why
    exit 4   the stage gives up for good, and it is not the input's fault; `outcome-<stage>.json` says why
    exit 5   memory ran out; the same stage may be tried again
    exit 6   an earlier stage must be done once more; `outcome-<stage>.json` says why, and which
    other    it crashed; the same stage may be tried again
"""

import contextlib
import math
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dicom_node.errors import NodeError
from dicom_node.jobs.cases import CaseFolder
from dicom_node.processes.orphans import die_with_parent
from inference.errors import ImplausibleAnatomy, InferenceError, OutOfMemory, SeriesTooLarge, UnusableSeries

if TYPE_CHECKING:
    from dicom_node.settings.config import NodeSettings

REJECTED = 3
GAVE_UP = 4
OUT_OF_MEMORY = 5
WENT_BACK = 6
BACK_TO = {"RESULT_OVERTAKEN": "encode"}
"""Codes of faults that an earlier stage cures, and which."""
SELF_TEST = "selftest"
_OOM_SCORE = 900
"""Of 1000; proc(5). Much more than anything that serves, and below what an administrator may have marked as first."""


def main(arguments: list[str]) -> int:
    """Entry of the child process."""
    stage, folder, site_file, parent = arguments
    die_with_parent(int(parent))
    die_before_the_node()
    # A service manager tells every process to stop. The node decides what becomes of a stage; it dies with the node.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from dicom_node.settings.config import read_settings

    settings = read_settings(Path(site_file))
    case = CaseFolder(Path(folder))
    case.write_outcome(stage, None)
    try:
        if stage == SELF_TEST:
            from dicom_node.selftest import run_self_test

            run_self_test(settings)
        else:
            _run_stage(stage, case, settings)
    except (MemoryError, OutOfMemory):
        return OUT_OF_MEMORY
    except (InferenceError, NodeError) as fault:
        if fault.code in BACK_TO:
            case.write_outcome(stage, {"code": fault.code, "message": str(fault), "back_to": BACK_TO[fault.code]})
            return WENT_BACK
        if not fault.permanent:
            raise
        case.write_outcome(stage, {"code": fault.code, "message": str(fault)})
        return REJECTED if isinstance(fault, UnusableSeries | ImplausibleAnatomy) else GAVE_UP
    return 0


def _run_stage(stage: str, case: CaseFolder, settings: "NodeSettings") -> None:
    from dicom_node.jobs.stages import Stage
    from dicom_node.pipeline import STAGES
    from dicom_node.settings.case_settings import case_settings

    settings = case_settings(settings, case)
    if stage != Stage.READ:
        STAGES[Stage(stage)](case, settings)
        return
    limits = settings.limits
    limit_reading(limits.read_memory_mb, limits.timeout_of(stage))
    try:
        STAGES[Stage.READ](case, settings)
    except MemoryError as fault:
        raise SeriesTooLarge(None, limits.read_memory_mb) from fault


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


def die_before_the_node() -> None:
    """Ask Linux to take this process first when memory runs out, and not the node that started it."""
    with contextlib.suppress(OSError):  # there is no such file elsewhere
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
