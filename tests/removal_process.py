"""Kills the removal of cases at every file it writes, syncs, renames or removes.

    python -m tests.removal_process TEMPLATE SCRATCH

For each point a copy of the template is made, a process looks at it and is killed there (SIGKILL), and another one
looks again. Status, and what was left after the first and the second, are printed, one line of JSON per point.
"""

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import structlog

from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.job_database import JobDatabase
from dicom_node.jobs.jobs import JobBook
from dicom_node.keeping.removal_proof import RemovalLog
from dicom_node.keeping.retention import Retention
from dicom_node.named_locks import NamedLocks
from dicom_node.settings.retention_policy import RetentionPolicy

_EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")
LATER_S = 4e9
"""A time at which everything is old."""


@contextmanager
def retention(
    data_dir: Path, policy: RetentionPolicy | None = None, clock: Callable[[], float] = lambda: LATER_S
) -> Any:
    """The retention of a node with that data directory, at a time when everything is old."""
    database = JobDatabase.under(data_dir)
    with JobBook(database, CaseStore.under(data_dir)) as jobs:
        yield Retention(data_dir, jobs, policy or RetentionPolicy(), NamedLocks(database, data_dir), clock)


def left_of(data_dir: Path) -> dict[str, Any]:
    """What is there of each case."""
    ids = sorted(path.name for path in (data_dir / "cases").glob("*"))
    with JobBook(JobDatabase.under(data_dir), CaseStore.under(data_dir)) as jobs:
        rows = {case.case_id: len(case.attempts) for case in jobs.cases()}
    return {
        "folders": ids,
        "files": {name: len(list((data_dir / "cases" / name).rglob("*.*"))) for name in ids},
        "rows": rows,
        "proofs": [line["case"] for line in RemovalLog.under(data_dir).lines()],
        "leaving": sorted(path.name for path in (data_dir / "removing").glob("*")),
    }


def _in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as fault:
            print(repr(fault), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _look(data_dir: Path, killed_at: int) -> None:
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        is_reading = event == "open" and arguments[1] in ("r", "rb")
        if event in _EVENTS and not is_reading and str(data_dir) in str(arguments[0]):
            seen += 1
            if seen == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)

    with retention(data_dir) as keeper:
        sys.addaudithook(hook)
        keeper.look()


def _look_again(data_dir: Path, status: int) -> None:
    first = left_of(data_dir)
    with retention(data_dir) as keeper:
        keeper.look()
    print(json.dumps([status, first, left_of(data_dir)]), flush=True)


def _main(template: Path, scratch: Path) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for point in count(1):
        data_dir = scratch / str(point)
        shutil.copytree(template, data_dir)
        status = _in_child(lambda: _look(data_dir, point))  # noqa: B023
        if _in_child(lambda: _look_again(data_dir, status)):  # noqa: B023
            raise SystemExit("the second look failed")
        if status == 0:
            return


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
