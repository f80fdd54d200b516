"""The arms of a study as a table: what is done, at work, begun, failed."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.errors import OtherStudy
from training.job_folders import is_at_work, job_folder, state_of
from training.jobs import PROGRESS_FILE, Job, JobState, Progress, read_record


def print_study(console: Console, study: Path, jobs: Sequence[Job]) -> bool:
    """Print one line for each arm, pre-trained network and set of references; false if not all is done.

    Args:
        console: where to print.
        study: its folder.
        jobs: all of it.
    """
    table = Table("", "done", "of", "steps", "state", box=None, pad_edge=False)
    all_done = True
    for label, group in _groups(jobs).items():
        states = Counter(_state(study, job) for job in group)
        done, taken = states.pop("done", 0), sum(_step(study, job) for job in group)
        all_done &= done == len(group)
        told = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        steps = sum(job.steps for job in group)
        table.add_row(label, str(done), str(len(group)), f"{taken:,} of {steps:,}" if steps else "", told)
    console.print(table)
    return all_done


def _groups(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        label = {"reference": "references", "pretraining": f"pre-training {job.arm}"}.get(job.kind, job.arm)
        groups.setdefault(label, []).append(job)
    return groups


def _state(study: Path, job: Job) -> str:
    try:
        state = state_of(study, job)
    except OtherStudy:
        return "of another recipe"
    is_open = state in (JobState.BEGUN, JobState.WAITING)
    return "at work" if is_open and is_at_work(study, job) else state.value


def _step(study: Path, job: Job) -> int:
    path = job_folder(study, job) / PROGRESS_FILE
    return read_record(path, Progress).step if path.exists() else 0
