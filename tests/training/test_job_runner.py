"""Jobs are run as real processes; those here score maps that cases bring along, which needs no torch and is quick."""

import fcntl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.training.small_study import write_patients
from training.errors import OtherStudy, StudyBusy
from training.job_folders import lay_out, state_of
from training.job_runner import STARTS, Order, Outcome, Standing, run_jobs
from training.jobs import Job, JobState, Result, read_record

ONE = Job("references/ceiling", "reference", "ceiling", test=("LC-001",))
AFTER = replace(ONE, name="references/spect", arm="spect", needs=ONE.name)
BESIDE = replace(ONE, name="references/shape", arm="shape")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_patients(tmp_path, pretraining=0, fine_tuning=1)
    return tmp_path


def run(study: Path, *jobs: Job, tell: Callable[[Standing], None] = lambda _: None, **order: float) -> Outcome:
    lay_out(study, jobs)
    return run_jobs(study, jobs, Order(parallel=2, options=("--device", "cpu"), **order), tell)  # type: ignore[arg-type]


def processes() -> list[psutil.Process]:
    """Those of jobs, started by this test."""
    found = []
    for each in psutil.Process().children():
        with suppress(psutil.Error):
            if "training.job_process" in each.cmdline():
                found.append(each)
    return found


def test_a_job_waits_for_the_one_it_needs_and_nothing_is_done_twice(study: Path) -> None:
    seen: list[Standing] = []
    outcome = run(study, AFTER, ONE, tell=seen.append)
    assert (set(outcome.done), outcome.failed, outcome.left) == ({ONE.name, AFTER.name}, (), ())
    assert not any(len(standing.running) > 1 for standing in seen)
    results = [study / "jobs" / job.name / "result.json" for job in (ONE, AFTER)]
    assert read_record(results[0], Result).digest == ONE.digest
    before = [path.stat().st_mtime_ns for path in results]
    again: list[Standing] = []
    assert run(study, AFTER, ONE, tell=again.append).done == outcome.done
    assert [path.stat().st_mtime_ns for path in results] == before
    assert not any(standing.running for standing in again)


def test_what_fails_takes_with_it_only_what_needs_it_and_is_tried_again_by_the_next_run(study: Path) -> None:
    broken = replace(ONE, test=("LC-009",))
    outcome = run(study, broken, AFTER, BESIDE)
    assert (outcome.done, outcome.failed, outcome.left) == ((BESIDE.name,), (broken.name,), (AFTER.name,))
    reason = (study / "jobs" / broken.name / "failure.txt").read_text()
    assert reason.startswith("CASE_UNUSABLE: ")
    assert "LC-009.npz" in reason
    assert state_of(study, broken) is JobState.FAILED
    (study / "cases" / "LC-009.npz").write_bytes((study / "cases" / "LC-001.npz").read_bytes())
    assert set(run(study, broken, AFTER, BESIDE).done) == {broken.name, AFTER.name, BESIDE.name}
    assert not (study / "jobs" / broken.name / "failure.txt").exists()


def test_a_killed_process_is_started_again(study: Path) -> None:
    killed: set[int] = set()

    def kill_the_first(_: Standing) -> None:
        for process in processes():
            if not killed:
                killed.add(process.pid)
                process.kill()

    outcome = run(study, ONE, tell=kill_the_first)
    assert killed
    assert outcome.done == (ONE.name,)


def test_a_process_that_is_killed_again_and_again_is_given_up(study: Path) -> None:
    killed: set[int] = set()

    def kill_all(_: Standing) -> None:
        for process in processes():
            killed.add(process.pid)
            process.kill()

    outcome = run(study, ONE, tell=kill_all)
    assert outcome.failed == (ONE.name,)
    assert len(killed) == STARTS
    assert "SIGKILL" in (study / "jobs" / ONE.name / "failure.txt").read_text()


def test_when_time_is_up_the_rest_is_left_for_the_next_run(study: Path) -> None:
    outcome = run(study, ONE, BESIDE, stop_after_s=0.01)
    assert set(outcome.done) | set(outcome.left) == {ONE.name, BESIDE.name}
    assert not outcome.failed
    assert not processes()
    assert set(run(study, ONE, BESIDE).done) == {ONE.name, BESIDE.name}


def test_an_interrupted_runner_leaves_no_process_behind(study: Path) -> None:
    def interrupt(standing: Standing) -> None:
        if standing.running:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, ONE, BESIDE, tell=interrupt)
    assert not processes()


def test_results_of_another_recipe_are_kept_until_they_are_thrown_away_on_purpose(study: Path) -> None:
    run(study, ONE)
    other = replace(ONE, seed=7)
    with pytest.raises(OtherStudy, match=r"1 job\(s\).*references/ceiling"):
        lay_out(study, [other])
    assert (study / "jobs" / ONE.name / "result.json").exists()
    lay_out(study, [other], redo=True)
    assert state_of(study, other) is JobState.WAITING


def test_a_job_that_was_only_begun_by_another_recipe_is_told_too(study: Path) -> None:
    lay_out(study, [ONE])
    with pytest.raises(OtherStudy):
        lay_out(study, [replace(ONE, seed=7)])


def test_two_runners_never_work_on_one_study(study: Path) -> None:
    with (study / "study.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StudyBusy):
            run(study, ONE)


def test_the_time_to_go_is_told_once_something_is_done(study: Path) -> None:
    seen: list[Standing] = []
    run(study, ONE, AFTER, tell=seen.append)
    assert seen[0].to_go_s is None
    last = [standing for standing in seen if standing.done == 1]
    assert last
    assert all(standing.to_go_s is not None and standing.to_go_s > 0 for standing in last)


def test_jobs_are_dealt_to_the_gpus_in_turn(study: Path) -> None:
    seen: dict[str, str] = {}

    def look(_: Standing) -> None:
        for process in processes():
            with suppress(psutil.Error):  # it may have ended in the meantime
                seen[process.cmdline()[3]] = process.environ().get("CUDA_VISIBLE_DEVICES", "")

    run(study, ONE, BESIDE, tell=look, gpus=2)
    assert sorted(seen.values()) == ["0", "1"]
