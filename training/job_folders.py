"""Where the jobs of a study lie and how they stand, told by their folders alone."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from training.errors import JobUnreadable, OtherStudy
from training.file_lock import is_held
from training.jobs import (
    FAILURE_FILE,
    JOB_FILE,
    JOBS,
    LOCK_FILE,
    PROGRESS_FILE,
    RESULT_FILE,
    Job,
    JobState,
    Result,
    read_record,
    write_record,
)


def job_folder(study: Path, job: Job | str) -> Path:
    """Where a job lies."""
    return study / JOBS / (job if isinstance(job, str) else job.name)


def state_of(study: Path, job: Job) -> JobState:
    """Where a job stands, by its folder alone.

    Raises:
        OtherStudy: the folder is of another job.
    """
    folder = job_folder(study, job)
    if not (folder / JOB_FILE).exists():
        return JobState.WAITING
    if _is_other(folder, job):
        raise OtherStudy(str(study), (job.name,))
    if (folder / RESULT_FILE).exists():
        return JobState.DONE
    if (folder / FAILURE_FILE).exists():
        return JobState.FAILED
    return JobState.BEGUN if (folder / PROGRESS_FILE).exists() else JobState.WAITING


def is_at_work(study: Path, job: Job) -> bool:
    """Whether a process is at work on a job now, on this machine."""
    return is_held(job_folder(study, job) / LOCK_FILE)


def lay_out(study: Path, jobs: Sequence[Job], *, redo: bool = False) -> None:
    """Write the folders of all jobs, and forget failures of earlier runs.

    Args:
        study: the folder of the study.
        jobs: all of it.
        redo: throw away what is of another recipe or of other patients.

    Raises:
        OtherStudy: there is such, and it is not to be thrown away.
        OSError: the file system refuses.
    """
    others = tuple(job.name for job in jobs if _is_other(job_folder(study, job), job))
    if others and not redo:
        raise OtherStudy(str(study), others)
    for name in others:
        shutil.rmtree(job_folder(study, name))
    for job in jobs:
        folder = job_folder(study, job)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FAILURE_FILE).unlink(missing_ok=True)
        if not (folder / JOB_FILE).exists():
            write_record(folder / JOB_FILE, job)


def _is_other(folder: Path, job: Job) -> bool:
    """Whether the folder is of another job, or of the same job with another content."""
    if not folder.exists() or not any(folder.iterdir()):
        return False
    try:
        if read_record(folder / JOB_FILE, Job) != job:
            return True
        result = folder / RESULT_FILE
        return result.exists() and read_record(result, Result).digest != job.digest
    except JobUnreadable:
        return True
