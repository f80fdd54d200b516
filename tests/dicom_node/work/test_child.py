"""A stage in its own process: limits of memory and time end as an answer, never as the end of the node."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.errors import StageTooLong
from dicom_node.jobs.cases import CaseFolder
from dicom_node.work.child import OUT_OF_MEMORY, REJECTED, WENT_BACK
from dicom_node.work.stage_process import run_in_child
from inference.ct.instances import ct_instances
from inference.geometry import Grid
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, draw_thorax
from tests.rt_structures import written

SMALL = Grid.axial(
    (20, 40, 50), (12.0, 9.0, 7.0), (-172.0, -180.0, -140.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)


def site_file(folder: Path, text: str = "") -> str:
    path = folder / "site.toml"
    path.write_text(text)
    return str(path)


def run(case: CaseFolder, site: str, timeout_s: float = 120.0) -> int:
    return run_in_child("read", case.path, site, timeout_s=timeout_s, stop=lambda: False)


def a_case(folder: Path, *, side: int = 0) -> CaseFolder:
    case = CaseFolder(folder / "cases" / "one")
    for k, dataset in enumerate(ct_instances(draw_thorax(SMALL).ct)):
        if side:
            dataset.Rows = dataset.Columns = side
        written(dataset, case.received / f"{k:03d}.dcm")
    return case


def test_a_series_within_the_limits_is_read(tmp_path: Path) -> None:
    case = a_case(tmp_path)
    assert run(case, site_file(tmp_path, "[work]\nread_memory_mb = 256\n")) == 0
    assert case.ct.exists()


def test_a_series_that_is_too_large_is_rejected_with_a_code(tmp_path: Path) -> None:
    case = a_case(tmp_path, side=4096)  # 20 slices of 4096 x 4096: 1.3 GB, as far as headers say
    assert run(case, site_file(tmp_path, "[work]\nread_memory_mb = 512\n")) == REJECTED
    outcome = case.outcome("read")
    assert outcome is not None
    assert outcome["code"] == "TOO_LARGE"
    assert "512 MB" in outcome["message"]


LIMITED = """
import json, sys
from dicom_node.work.child import limit_reading
import numpy as np
limit_reading(300, float(sys.argv[1]))
try:
    np.ones(400 * 2**20, dtype=np.uint8)
    found = "it was given"
except MemoryError:
    found = "refused"
kept = np.ones(100 * 2**20, dtype=np.uint8)
print(json.dumps({"found": found, "kept": int(kept.sum())}))
sys.stdout.flush()
while sys.argv[2] == "busy":
    pass
"""


def limited(seconds: float, what: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIMITED, str(seconds), what]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts address space, which is Linux's")
def test_memory_beyond_the_limit_is_refused_by_the_system() -> None:
    done = limited(30, "idle")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"found": "refused", "kept": 100 * 2**20}


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts address space, which is Linux's")
def test_a_reader_that_computes_for_ever_is_killed() -> None:
    import signal

    done = limited(0.5, "busy")
    assert done.returncode == -signal.SIGXCPU


def test_a_stage_that_dies_is_a_crash_with_a_reason_and_leaves_no_core(tmp_path: Path) -> None:
    case = a_case(tmp_path)
    with pytest.raises(StageTooLong, match="longer than allowed"):
        run(case, site_file(tmp_path), timeout_s=0.01)
    assert list(tmp_path.rglob("core*")) == []


def test_memory_that_runs_out_and_a_result_that_was_overtaken_have_statuses_of_their_own(tmp_path: Path) -> None:
    """The real child, whose stage fails in these ways for real."""
    case = a_case(tmp_path)
    site = site_file(tmp_path)
    code = STAGE_THAT_RAISES.format(fault="MemoryError()")
    assert raised_in_child(code, case, site) == OUT_OF_MEMORY
    code = STAGE_THAT_RAISES.format(fault="OutOfMemory()")
    assert raised_in_child(code, case, site) == OUT_OF_MEMORY
    code = STAGE_THAT_RAISES.format(fault="ResultOvertaken()")
    assert raised_in_child(code, case, site) == WENT_BACK
    outcome = case.outcome("check")
    assert outcome is not None
    assert (outcome["code"], outcome["back_to"]) == ("RESULT_OVERTAKEN", "encode")


STAGE_THAT_RAISES = """
import os, signal, sys
from dicom_node import pipeline
from dicom_node.work.child import main
from dicom_node.errors import ResultOvertaken
from dicom_node.jobs.stages import Stage
from inference.errors import OutOfMemory

def fail(case, settings):
    os.kill(os.getpid(), signal.SIGTERM)  # a service manager tells everybody; the node decides about its stages
    raise {fault}

pipeline.STAGES[Stage.CHECK] = fail
sys.exit(main(sys.argv[1:]))
"""


def raised_in_child(code: str, case: CaseFolder, site: str) -> int:
    command = [sys.executable, "-c", code, "check", str(case.path), site, str(os.getpid())]
    return subprocess.run(command, check=False, timeout=120).returncode
