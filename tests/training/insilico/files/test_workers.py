import os
import signal
import sys
import time
from pathlib import Path

import pytest

from training.insilico.files.workers import Ended, Started, affordable_workers, work_through


def tell_threads(folder: str) -> None:
    Path(folder, "threads").write_text(os.environ["OMP_NUM_THREADS"])


def odd_ones(task: str) -> None:
    """Done, or raises, or dies, as the task says."""
    if task == "raise":
        raise ValueError("no heart")
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "exit":
        sys.exit(3)


def leave_pid_and_wait(folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(600.0)


def ends(tasks: list[str], workers: int) -> dict[str, Ended[str]]:
    return {event.task: event for event in work_through(tasks, odd_ones, workers=workers) if isinstance(event, Ended)}


@pytest.fixture(scope="module")
def one_worker() -> dict[str, Ended[str]]:
    """One after another, so that whatever follows a death is done by a successor."""
    return ends(["good", "raise", "die", "exit", "last"], workers=1)


def test_what_fails_or_dies_takes_no_other_with_it(one_worker: dict[str, Ended[str]]) -> None:
    assert {task for task, end in one_worker.items() if end.failure is None} == {"good", "last"}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("raise", "ValueError: no heart"),
        ("die", "was killed; the machine may have run out of memory"),
        ("exit", "status 3"),
    ],
)
def test_the_reason_of_a_failure_is_told(one_worker: dict[str, Ended[str]], task: str, said: str) -> None:
    failure = one_worker[task].failure
    assert failure is not None
    assert said in failure


def test_a_failure_tells_where_it_was_raised_and_success_what_it_cost(one_worker: dict[str, Ended[str]]) -> None:
    assert "in odd_ones" in one_worker["raise"].details
    assert one_worker["good"].peak_mb > 1.0


def test_tasks_are_begun_in_their_order_and_no_more_at_a_time_than_workers() -> None:
    at_work: list[str] = []
    begun, most = [], 0
    for event in work_through(["a", "b", "c", "d", "e"], odd_ones, workers=2):
        if isinstance(event, Started):
            at_work.append(event.task)
            begun.append(event.task)
        else:
            at_work.remove(event.task)
        most = max(most, len(at_work))
    assert (begun, most, at_work) == (["a", "b", "c", "d", "e"], 2, [])


def test_a_worker_has_one_thread_and_the_parent_keeps_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    list(work_through([str(tmp_path)], tell_threads, workers=1))
    assert ((tmp_path / "threads").read_text(), os.environ["OMP_NUM_THREADS"]) == ("1", "5")


def test_leaving_the_loop_ends_the_processes(tmp_path: Path) -> None:
    events = work_through([str(tmp_path)], leave_pid_and_wait, workers=1)
    next(events)
    while not (pids := list(tmp_path.iterdir())):
        time.sleep(0.02)
    events.close()  # type: ignore[attr-defined]
    assert not Path("/proc", pids[0].name).exists()


def test_memory_limits_the_number_of_workers() -> None:
    assert affordable_workers(each_gb=1e6) == 1
    assert affordable_workers(each_gb=1e-6) == len(os.sched_getaffinity(0))
