"""A stage that crashes, hangs, stops or eats memory is told apart, and leaves nobody behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dicom_node.errors import StageCrashed, StageOutOfMemory, StageTooLong
from dicom_node.processes.process_tree import MARK
from dicom_node.work.child import GAVE_UP, REJECTED, WENT_BACK
from dicom_node.work.stage_process import run_in_child
from tests.stage_program import FAMILY, plan, started

PROGRAM = "tests.stage_program"


def run(folder: Path, *, timeout_s: float = 60.0, memory_mb: int = 0, stop: Callable[[], bool] = lambda: False) -> int:
    return run_in_child("segment", folder, "", timeout_s=timeout_s, stop=stop, program=PROGRAM, memory_mb=memory_mb)


@pytest.mark.parametrize(
    ("what", "status"), [("done", 0), ("rejected", REJECTED), ("gave-up", GAVE_UP), ("back", WENT_BACK)]
)
def test_an_ordinary_end_is_told_by_its_status(tmp_path: Path, what: str, status: int) -> None:
    plan(tmp_path, "segment", what)
    assert run(tmp_path) == status


@pytest.mark.parametrize(
    ("what", "fault", "code", "reason"),
    [
        ("memory", StageOutOfMemory, "STAGE_OUT_OF_MEMORY", "memory ran out inside"),
        ("raise:SIGKILL", StageOutOfMemory, "STAGE_OUT_OF_MEMORY", "SIGKILL"),
        ("raise:SIGXCPU", StageTooLong, "STAGE_TOO_LONG", "processor time"),
        ("raise:SIGSEGV", StageCrashed, "STAGE_CRASHED", "killed by SIGSEGV"),
        ("raise:SIGABRT", StageCrashed, "STAGE_CRASHED", "killed by SIGABRT"),
        ("exit:17", StageCrashed, "STAGE_CRASHED", "exit status 17"),
    ],
)
def test_each_crash_has_its_code(tmp_path: Path, what: str, fault: type[StageCrashed], code: str, reason: str) -> None:
    plan(tmp_path, "segment", what)
    with pytest.raises(fault, match=reason) as raised:
        run(tmp_path)
    assert raised.value.code == code


@pytest.mark.parametrize("what", ["hang", "raise:SIGSTOP"])
def test_what_hangs_is_killed_when_its_time_is_over(tmp_path: Path, what: str) -> None:
    plan(tmp_path, "segment", what)
    with pytest.raises(StageTooLong, match=r"longer than allowed, 2\.5 s"):
        run(tmp_path, timeout_s=2.5)
    assert_nobody_is_left(tmp_path, at_least=0)


def test_what_is_killed_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    plan(tmp_path, "segment", "family:SIGSTOP")
    with pytest.raises(StageCrashed, match="it was stopped"):
        run(tmp_path, stop=lambda: len(started(tmp_path)) == FAMILY)
    assert_nobody_is_left(tmp_path, at_least=FAMILY)


@pytest.mark.parametrize("how", ["exit", "SIGSEGV", "SIGKILL"])
def test_what_ends_by_itself_leaves_nobody_behind(tmp_path: Path, how: str) -> None:
    plan(tmp_path, "segment", f"family:{how}")
    if how == "exit":
        assert run(tmp_path) == 0
    else:
        with pytest.raises(StageCrashed):
            run(tmp_path)
    assert_nobody_is_left(tmp_path, at_least=FAMILY)


def assert_nobody_is_left(folder: Path, *, at_least: int) -> None:
    assert len(started(folder)) >= at_least
    assert [pid for pid in started(folder) if _runs(pid)] == []
    assert [p.pid for p in psutil.process_iter() if _mark_of(p) == str(folder)] == []


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _mark_of(process: psutil.Process) -> str:
    try:
        return process.environ().get(MARK, "")
    except psutil.Error:
        return ""


@pytest.mark.parametrize("what", ["hold:400", "hold:400f"])
def test_memory_beyond_the_limit_ends_the_stage_also_when_a_child_holds_it(tmp_path: Path, what: str) -> None:
    plan(tmp_path, "segment", what)
    with pytest.raises(StageOutOfMemory, match="more than the 256 MB allowed"):
        run(tmp_path, memory_mb=256)
    assert_nobody_is_left(tmp_path, at_least=0)


def test_memory_within_the_limit_is_left_alone(tmp_path: Path) -> None:
    plan(tmp_path, "segment", "hold:100")
    with pytest.raises(StageTooLong):
        run(tmp_path, memory_mb=400, timeout_s=2.5)


OWNER = """
import sys
from pathlib import Path
from dicom_node.work.stage_process import run_in_child
run_in_child("segment", Path(sys.argv[1]), "", timeout_s=60, stop=lambda: False, program="tests.stage_program")
"""


def test_what_a_killed_node_left_running_is_ended_before_the_next_attempt(tmp_path: Path) -> None:
    plan(tmp_path, "segment", "family:SIGSTOP", "done")
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)]) as owner:
        deadline = time.monotonic() + 30
        while len(started(tmp_path)) < FAMILY and time.monotonic() < deadline:
            time.sleep(0.02)
        owner.kill()
    left = [pid for pid in started(tmp_path) if _runs(pid)]
    assert len(left) == FAMILY  # they do not die with their parent, as the stage itself does
    assert run(tmp_path) == 0
    assert_nobody_is_left(tmp_path, at_least=FAMILY)


@pytest.mark.skipif(sys.platform != "linux", reason="how the system chooses is Linux's")
def test_the_system_takes_a_stage_before_the_node() -> None:
    code = (
        "from dicom_node.work.child import die_before_the_node; die_before_the_node();"
        "print(open('/proc/self/oom_score_adj').read())"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(child.stdout) > int(Path(f"/proc/{os.getpid()}/oom_score_adj").read_text())
