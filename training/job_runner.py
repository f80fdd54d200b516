"""Runs the jobs of a study as processes side by side: each after the one it needs, and none twice.

Nothing is kept in memory that is not on disk. So the runner, or any of its processes, can be killed at any moment: the
same command goes on, with what is done left alone and what was begun taken up at its last checkpoint. A process that
was killed (as by a machine out of memory) is started again here, a few times; one that failed by itself is told of and
takes those that need it with it, and the rest goes on.

Processes of a runner that was killed end by themselves, as they hold the other end of a pipe to it.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from training.errors import JobUnreadable, StudyBusy
from training.file_lock import alone
from training.job_folders import job_folder, state_of
from training.jobs import FAILURE_FILE, LOG_FILE, PROGRESS_FILE, RESULT_FILE, Job, JobState, Progress, read_record

RUNNER_LOCK = "study.lock"
STARTS = 3
"""How often a job is started in one run when its process is killed."""
_LOOK_S = 0.2
_GRACE_S = 20.0
_ROOT = Path(__file__).parents[1]
_OVERHEAD_STEPS = 60
"""What start, prediction and scores of a job cost, in steps; for the time to go only."""


@dataclass(frozen=True, slots=True)
class Order:
    """How jobs are run on this machine; what is computed is the same."""

    parallel: int
    """Processes at a time."""
    options: tuple[str, ...] = ()
    """For `training.job_process`, such as `--device cpu`."""
    threads: int = 1
    """Of each process."""
    gpus: int = 1
    """GPUs that processes are dealt to in turn."""
    stop_after_s: float | None = None
    """No longer than this; what is at work then goes on in the next run."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the study is."""

    done: int
    jobs: int
    running: tuple[str, ...]
    failed: tuple[str, ...]
    seconds: float
    """Since this run began."""
    to_go_s: float | None
    """At the pace of this run; None at its beginning."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    done: tuple[str, ...]
    """All that is done now, in this run or before."""
    failed: tuple[str, ...]
    left: tuple[str, ...]
    """Not done: waiting, begun, or in need of one that failed."""
    seconds: float


def run_jobs(study: Path, jobs: Sequence[Job], order: Order, tell: Callable[[Standing], None]) -> Outcome:
    """Run all jobs that are not done yet, and return when none is left that can be run, or when time is up.

    Args:
        study: its folder, laid out.
        jobs: each after the one it needs.
        order: how.
        tell: is called about five times a second.

    Raises:
        StudyBusy: another runner is at work there.
        OSError: the file system refuses.
        KeyboardInterrupt: after the processes were stopped.
    """
    with alone(study / RUNNER_LOCK, lambda: StudyBusy(str(study))):
        return _Run(study, jobs, order, tell).run()


@dataclass(slots=True)
class _AtWork:
    job: Job
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    first_step: int
    """Where it went on from."""
    gpu: int

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close()

    def close(self) -> None:
        self.log.close()
        if self.process.stdin is not None:
            self.process.stdin.close()


@dataclass(slots=True)
class _Run:
    """One run of the runner: what waits, what is at work, what is over."""

    study: Path
    jobs: Sequence[Job]
    order: Order
    tell: Callable[[Standing], None]
    waiting: list[Job] = field(default_factory=list)
    at_work: list[_AtWork] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    starts: dict[str, int] = field(default_factory=dict)
    steps_done: float = 0.0
    """Of jobs that ended in this run."""
    since: float = field(default_factory=time.monotonic)

    def run(self) -> Outcome:
        for job in self.jobs:
            is_done = state_of(self.study, job) is JobState.DONE
            self.done.add(job.name) if is_done else self.waiting.append(job)
        try:
            while not self._is_time_up() and (self._start() or self.at_work):
                time.sleep(_LOOK_S)
                self._look()
                self.tell(self._standing())
            self._stop()
        finally:
            for each in self.at_work:
                each.end()
        left = tuple(job.name for job in self.jobs if job.name not in self.done and job.name not in self.failed)
        done = tuple(job.name for job in self.jobs if job.name in self.done)
        return Outcome(done, tuple(self.failed), left, time.monotonic() - self.since)

    def _is_time_up(self) -> bool:
        limit = self.order.stop_after_s
        return limit is not None and time.monotonic() - self.since >= limit

    def _start(self) -> bool:
        """Start what can be started; true if anything was."""
        ready = [job for job in self.waiting if job.needs is None or job.needs in self.done]
        chosen = ready[: self.order.parallel - len(self.at_work)]
        for job in chosen:
            self.waiting.remove(job)
            busy = Counter(each.gpu for each in self.at_work)
            gpu = min(range(self.order.gpus), key=lambda number: busy[number])
            self.at_work.append(_started(job, job_folder(self.study, job), self.order, gpu))
            self.starts[job.name] = self.starts.get(job.name, 0) + 1
        return bool(chosen)

    def _look(self) -> None:
        """See which processes ended, and how."""
        for each in [each for each in self.at_work if each.process.poll() is not None]:
            self.at_work.remove(each)
            each.close()
            folder, status = job_folder(self.study, each.job), each.process.returncode
            if (folder / RESULT_FILE).exists():  # even if it was killed right after
                self.done.add(each.job.name)
                self.steps_done += each.job.steps - each.first_step + _OVERHEAD_STEPS
            elif status < 0 and self.starts[each.job.name] < STARTS:
                self.waiting.insert(0, each.job)
            else:
                self.failed.append(each.job.name)
                if not (folder / FAILURE_FILE).exists():
                    (folder / FAILURE_FILE).write_text(_death(status), encoding="utf-8")

    def _stop(self) -> None:
        """Ask what is at work to end at its next step, and wait a little."""
        for each in self.at_work:
            each.process.send_signal(signal.SIGTERM)
        limit = time.monotonic() + _GRACE_S
        while self.at_work and time.monotonic() < limit:
            time.sleep(_LOOK_S)
            for each in [each for each in self.at_work if each.process.poll() is not None]:
                self.at_work.remove(each)
                each.close()
                if (job_folder(self.study, each.job) / RESULT_FILE).exists():
                    self.done.add(each.job.name)

    def _standing(self) -> Standing:
        at_work = sum(_step(job_folder(self.study, each.job), each) - each.first_step for each in self.at_work)
        seconds = time.monotonic() - self.since
        steps = self.steps_done + at_work
        blocked = _blocked(self.waiting, self.failed)
        wait = sum(job.steps + _OVERHEAD_STEPS for job in self.waiting if job.name not in blocked)
        rest = wait + sum(each.job.steps + _OVERHEAD_STEPS - each.first_step for each in self.at_work) - at_work
        return Standing(
            done=len(self.done),
            jobs=len(self.jobs),
            running=tuple(each.job.name for each in self.at_work),
            failed=tuple(self.failed),
            seconds=seconds,
            to_go_s=rest * seconds / steps if steps > 0 else None,
        )


def _blocked(waiting: Sequence[Job], failed: Sequence[str]) -> set[str]:
    """Jobs that need one that failed."""
    return {job.name for job in waiting if job.needs in failed}


def _started(job: Job, folder: Path, order: Order, gpu: int) -> _AtWork:
    paths = [str(_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(order.threads))
    seen = {"CUDA_VISIBLE_DEVICES": str(gpu)} if order.gpus > 1 else {}
    environment = {**os.environ, **threads, **seen, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "training.job_process", str(folder), "--with-parent", *order.options]
    log = (folder / LOG_FILE).open("ab")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
    return _AtWork(job, process, log, _step(folder, None), gpu)


def _step(folder: Path, at_work: _AtWork | None) -> int:
    try:
        return read_record(folder / PROGRESS_FILE, Progress).step
    except JobUnreadable:
        return at_work.first_step if at_work is not None else 0


def _death(status: int) -> str:
    if status < 0:
        return f"its process was ended by {signal.Signals(-status).name} {STARTS} times; see {LOG_FILE}\n"
    return f"its process ended with status {status}; see {LOG_FILE}\n"
