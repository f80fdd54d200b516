"""Which engine processes a host has, and that they are kept alive."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dicom_node.processes.kept_process import KeptProcess
from dicom_node.processes.programs import Programs
from dicom_node.processes.roles import ALL_ROLES, Role
from dicom_node.serving.supervisor import Seat, Supervisor, executor_id, seats
from dicom_node.settings.config import parse_settings
from tests.peers import eventually

BOTH = {Role.WORKER, Role.SENDER}


def test_one_process_does_everything_by_default() -> None:
    assert seats(ALL_ROLES, 1, ()) == [Seat("1", (Role.WORKER, Role.SENDER))]


def test_each_further_worker_is_a_process_of_its_own() -> None:
    assert [seat.roles for seat in seats(BOTH, 3, ())] == [
        (Role.WORKER, Role.SENDER),
        (Role.WORKER,),
        (Role.WORKER,),
    ]


def test_each_gpu_has_a_worker_and_sending_waits_for_none_of_them() -> None:
    assert seats(BOTH, 1, ("0", "1")) == [
        Seat("gpu0", (Role.WORKER,), "0"),
        Seat("gpu1", (Role.WORKER,), "1"),
        Seat("sender", (Role.SENDER,)),
    ]


def test_a_role_that_a_host_does_not_have_has_no_process() -> None:
    assert seats({Role.RECEIVER, Role.WEB}, 2, ("0",)) == []
    assert seats({Role.SENDER}, 2, ("0",)) == [Seat("sender", (Role.SENDER,))]
    assert seats({Role.WORKER}, 1, ()) == [Seat("1", (Role.WORKER,))]


def test_ids_are_the_same_after_a_restart_and_differ_between_names_seats_and_data_directories(tmp_path: Path) -> None:
    here = parse_settings({"node": {"data_dir": str(tmp_path / "a")}})
    there = parse_settings({"node": {"data_dir": str(tmp_path / "b")}})
    one, two = seats(BOTH, 2, ())
    ids = [executor_id(here, "1", one), executor_id(here, "1", two), executor_id(here, "2", one)]
    assert len({*ids, executor_id(there, "1", one)}) == 4
    assert executor_id(here, "1", one) == ids[0]


def test_a_process_that_ends_is_started_again_later_and_later() -> None:
    kept = KeptProcess("short", lambda: _python("pass"))
    started = time.monotonic()
    assert eventually(lambda: bool(kept.look() or kept.deaths >= 4), 20.0)
    assert time.monotonic() - started > 0.2 + 0.4 + 0.8
    kept.end(0.0)


def test_a_process_that_does_not_listen_is_killed_at_the_end_of_its_grace() -> None:
    kept = KeptProcess("deaf", lambda: _python("import time; time.sleep(600)"))
    kept.look()
    process = kept.process
    assert process is not None
    kept.tell(0.0)
    kept.end(time.monotonic() + 0.2)
    assert process.returncode == -9


def test_a_gpu_is_the_only_one_its_worker_sees_and_the_start_waits_for_the_workers_to_speak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fake_engine.py").write_text(
        "import os, sys, time\n"
        "time.sleep(0.5)\n"
        f"open({str(tmp_path)!r} + '/gpu' + os.environ.get('CUDA_VISIBLE_DEVICES', '-'), 'w').close()\n"
        "os.write(int(sys.argv[sys.argv.index('--told') + 1]), b'.')\n"
        "sys.stdin.readline()\n"
    )
    settings = parse_settings({"node": {"data_dir": str(tmp_path)}, "work": {"gpus": ["2", "5"]}})
    supervisor = Supervisor(settings, {Role.WORKER}, "1", Programs(engine="fake_engine"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    supervisor.start()
    assert {path.name for path in tmp_path.glob("gpu*")} == {"gpu2", "gpu5"}
    assert len(supervisor.process_ids) == 2
    supervisor.begin_stop(0.0)
    supervisor.stop()
    assert supervisor.process_ids == []


def _python(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
