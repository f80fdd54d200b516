"""The process of one job: `python -m training.job_process FOLDER`; what it does is in `job_work`.

It may be killed at any moment and goes on from its last checkpoint when it is started again; asked to end (SIGTERM), it
saves first. `torchrun -m training.job_process FOLDER` trains one job with several processes, on one machine or many.
"""

import argparse
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from training.errors import StudyBusy, TrainingError, TrainingStopped
from training.file_lock import alone
from training.job_work import do_job
from training.jobs import FAILURE_FILE, LOCK_FILE
from training.running import Running

STOPPED = 75
"""Exit status of a process that saved its state because it was asked to end (EX_TEMPFAIL of sysexits.h)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the job of a folder; the exit status says how it ended, `failure.txt` why it failed."""
    chosen = _parsed(arguments)
    if chosen.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    running = Running(
        chosen.device, bfloat16=not chosen.float32, channels_last=not chosen.contiguous, graphs=chosen.graphs
    )
    try:
        with _alone(chosen.folder):
            do_job(chosen.folder, running)
    except TrainingStopped:
        return STOPPED
    except Exception as fault:
        code = f"{fault.code}: " if isinstance(fault, TrainingError) else f"{type(fault).__name__}: "
        (chosen.folder / FAILURE_FILE).write_text(f"{code}{fault}\n", encoding="utf-8")
        traceback.print_exc()
        return 1
    return 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.job_process", description="Do one job of a study.")
    parser.add_argument("folder", type=Path, help="with job.json")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--float32", action="store_true", help="no bfloat16")
    parser.add_argument("--contiguous", action="store_true", help="channels outermost in memory")
    parser.add_argument("--graphs", action="store_true", help="a step as one CUDA graph")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    return parser.parse_args(arguments)


def _end_with_parent() -> None:
    """A process whose runner was killed must not go on writing beside that runner's successor."""
    os.read(0, 1)  # not through sys.stdin, whose lock a thread must not hold when the interpreter ends
    os._exit(1)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    if os.environ.get("RANK", "0") != "0":  # of torchrun: the first process holds the job for all
        yield
        return
    with alone(folder / LOCK_FILE, lambda: StudyBusy(str(folder))):
        yield


if __name__ == "__main__":
    sys.exit(main())
