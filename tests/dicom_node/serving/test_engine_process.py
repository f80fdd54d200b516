"""One engine process as its supervisor sees it: it speaks, it obeys, and it does not outlive its parent."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicom_node.processes.programs import Programs
from dicom_node.processes.roles import Role
from dicom_node.serving.engine_process import arguments_of
from dicom_node.settings.config import read_settings
from tests.peers import eventually, free_port

_START_S = 60.0


@contextmanager
def _engine(folder: Path, url: str) -> Iterator[tuple["subprocess.Popen[bytes]", int, Path]]:
    """The process, the descriptor that it speaks to, and its log."""
    site = folder / "site.toml"
    site.write_text(f'[node]\ndata_dir = "data"\n[database]\nurl = "{url}"\n[log]\nformat = "json"\n')
    (folder / "data").mkdir()
    hears, says = os.pipe()
    words = arguments_of(read_settings(site), "me", [Role.WORKER, Role.SENDER], Programs(), says)
    command = [sys.executable, "-m", "dicom_node.serving.engine_process", *words]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log, pass_fds=(says,))
    os.close(says)
    try:
        yield process, hears, folder / "log"
    finally:
        process.kill()
        process.communicate()
        os.close(hears)


def _speaks(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], _START_S)[0]) and os.read(descriptor, 1) == b"."


def test_it_says_that_it_works_and_stops_when_told_but_not_by_a_signal_to_its_group(tmp_path: Path) -> None:
    with _engine(tmp_path, "sqlite") as (process, hears, log):
        assert _speaks(hears), log.read_text()
        assert b"engine_started" in log.read_bytes()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert process.stdin is not None
        process.stdin.write(b"1.0\n")
        process.stdin.flush()
        assert process.wait(15) == 0, log.read_text()


def test_it_ends_at_once_when_its_parent_is_gone(tmp_path: Path) -> None:
    with _engine(tmp_path, "sqlite") as (process, hears, log):
        assert _speaks(hears), log.read_text()
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
        assert process.wait(5) == 1


@pytest.mark.parametrize(("word", "status"), [(b"1.0\n", 0), (b"", 1)])
def test_while_it_waits_for_its_database_it_says_so_and_obeys(tmp_path: Path, word: bytes, status: int) -> None:
    with _engine(tmp_path, f"postgresql://nobody@127.0.0.1:{free_port()}/none") as (process, hears, log):
        assert _speaks(hears), log.read_text()
        assert eventually(lambda: b"database_away" in log.read_bytes(), 20.0)
        assert process.poll() is None
        assert process.stdin is not None
        process.stdin.write(word)
        process.stdin.close()
        process.stdin = None
        assert process.wait(5) == status
