"""The write path under the faults that matter most; `make torture-write` tries all of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None and "CI" not in os.environ, reason="strace is not installed"
)


def test_no_fault_at_any_system_call_loses_or_alters_what_was_acknowledged() -> None:
    """In a process of its own, because it forks."""
    done = _run("tests.torture.write_path", "--short")
    assert " 0 violations" in done.stdout, done.stdout + done.stderr
    assert int(done.stdout.splitlines()[-1].split()[0]) > 100
    assert done.returncode == 0


def test_no_power_cut_loses_or_alters_what_was_acknowledged() -> None:
    done = _run("tests.torture.power_loss")
    assert " 0 violations" in done.stdout, done.stdout + done.stderr
    assert int(done.stdout.splitlines()[-1].split()[0]) > 1000
    assert done.returncode == 0


def _run(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    folder = Path(__file__).parent.parent.parent
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
