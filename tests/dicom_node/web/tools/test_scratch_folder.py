"""Folders that are gone with whoever made them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.web.access.rights import PageRole
from dicom_node.web.tools.rule_trial import FOLDER
from dicom_node.web.tools.scratch_folder import scratch_folder
from tests.dicom_node.web.conftest import ClientFor

_WAITS = """
import sys, time
from pathlib import Path
from dicom_node.web.access.rights import PageRole
from dicom_node.web.tools.rule_trial import FOLDER
from dicom_node.web.tools.scratch_folder import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "image").write_bytes(b"patient")
    print(folder, flush=True)
    time.sleep(600)
"""


def _fail_in(root: Path) -> None:
    with scratch_folder(root) as folder:
        (folder / "image").write_bytes(b"patient")
        (folder / "image").mkdir()


def test_nothing_is_left_after_the_end_and_after_a_fault(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "root") as folder:
        (folder / "image").write_bytes(b"patient")
        assert folder.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        _fail_in(tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_what_a_killed_process_left_is_cleared_and_a_living_one_keeps_its_own(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _WAITS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    left = Path(process.stdout.readline().strip())
    try:
        with scratch_folder(tmp_path):
            assert (left / "image").exists(), "it lives"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert (left / "image").exists(), "killed, it removed nothing itself"
    with scratch_folder(tmp_path):
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_the_page_clears_what_is_left_when_it_starts(node_folder: Path, client_for: ClientFor) -> None:
    left = node_folder / "data" / FOLDER / "0123"
    left.mkdir(parents=True)
    (left / "00000").write_bytes(b"patient")
    left.with_suffix(".held").touch()
    client_for(PageRole.VIEWER)
    assert list(left.parent.iterdir()) == []
