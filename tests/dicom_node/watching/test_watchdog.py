"""The watchdog as its service manager and the node see it: rounds, failures in a row, signs of life, and the end."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from dicom_node.settings.watch_settings import WatchdogSettings
from dicom_node.watching.node_checks import DISK, OLDEST_JOB, RECEIVER, Check, failed, passed
from dicom_node.watching.service_manager import notify, status
from dicom_node.watching.watchdog import CANNOT_SERVE, LastWords, Watchdog
from tests.peers import eventually

QUICK = WatchdogSettings(every_s=0.05, failures=3)


class Node:
    """What the checks find, changed by the test."""

    def __init__(self) -> None:
        self.receives = self.has_room = self.in_time = True
        self.ended: list[Check] = []
        self.over = threading.Event()

    def watchdog(self, settings: WatchdogSettings = QUICK) -> Watchdog:
        looks = (
            lambda: passed(RECEIVER) if self.receives else failed(RECEIVER, "no answer"),
            lambda: passed(DISK) if self.has_room else failed(DISK, "full"),
            lambda: passed(OLDEST_JOB) if self.in_time else failed(OLDEST_JOB, "old", "1"),
        )
        return Watchdog(settings, looks, end=self.end)

    def end(self, check: Check) -> None:
        self.ended.append(check)
        self.over.set()


def test_a_node_that_cannot_serve_is_ended_after_failures_in_a_row() -> None:
    node = Node()
    watchdog = node.watchdog()
    node.receives = False
    assert [watchdog.look()[0].ok, watchdog.is_alive] == [False, True]
    watchdog.look()
    node.receives = True
    watchdog.look()
    node.receives = False
    for _ in range(2):
        watchdog.look()
    assert watchdog.is_alive  # two in a row, and two before that
    assert not watchdog.is_ready
    watchdog.look()
    assert not watchdog.is_alive
    watchdog = node.watchdog()
    watchdog.start()
    assert node.over.wait(10)
    assert [check.code for check in node.ended] == ["RECEIVER_SILENT"]


def test_what_a_new_start_cannot_help_ends_nothing() -> None:
    node = Node()
    node.has_room = node.in_time = False
    watchdog = node.watchdog()
    for _ in range(10):
        watchdog.look()
    assert watchdog.is_alive
    assert not watchdog.is_ready
    node.has_room = True
    watchdog.look()
    assert watchdog.is_ready  # late, and still ready
    assert watchdog.failures("oldest-job") == 11


def test_a_main_loop_that_does_not_turn_is_vital(monkeypatch: pytest.MonkeyPatch) -> None:
    watchdog = Node().watchdog()
    monkeypatch.setattr("dicom_node.watching.watchdog._STUCK_S", 0.05)
    watchdog.beat()
    assert watchdog.look()[-1].ok
    time.sleep(0.1)
    assert watchdog.look()[-1].code == "SUPERVISOR_STUCK"
    watchdog.beat()
    assert watchdog.look()[-1].ok


@contextmanager
def service_manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(address)
        hears.settimeout(5.0)
        yield hears


def heard(hears: socket.socket, for_s: float) -> list[str]:
    found, deadline = [], time.monotonic() + for_s
    while (left := deadline - time.monotonic()) > 0:
        hears.settimeout(left)
        try:
            found.append(hears.recv(4096).decode())
        except TimeoutError:
            break
    return found


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_service_manager_hears_what_it_is_told(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{tmp_path}/notify" if kind == "path" else f"@perfnode-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with service_manager(name if kind == "path" else "\0" + name[1:]) as hears:
        notify("READY=1", status("well\nand good"))
        assert hears.recv(100) == b"READY=1\nSTATUS=well and good"
    notify("READY=1")  # nobody listens, and nothing happens


def test_signs_of_life_come_in_time_and_end_when_the_node_cannot_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    node = Node()
    watchdog = node.watchdog(WatchdogSettings(every_s=0.5, failures=2))
    with service_manager(str(tmp_path / "notify")) as hears:
        watchdog.start()
        alive = heard(hears, 1.0)
        assert len(alive) >= 5  # more often than rounds
        assert alive[-1] == "WATCHDOG=1\nSTATUS=serving"
        node.receives = False
        assert node.over.wait(10)
        assert "WATCHDOG=1\nSTATUS=not well: RECEIVER_SILENT" in heard(hears, 0.1)
        assert heard(hears, 0.8) == []
    watchdog.stop()


PROGRAM = """
import signal, subprocess, sys
from pathlib import Path
from dicom_node.watching.node_checks import RECEIVER, failed
from dicom_node.watching.watchdog import LastWords, end_node
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
child.send_signal(signal.SIGSTOP)
Path(sys.argv[1], "child").write_text(str(child.pid))
end_node(failed(RECEIVER, "No answer to C-ECHO."), LastWords.under(Path(sys.argv[1])))
"""


def test_the_end_takes_stopped_children_along_and_leaves_word(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], timeout=60, check=False)
    assert done.returncode == CANNOT_SERVE == 69
    pid = int((tmp_path / "child").read_text())
    assert eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    words = LastWords.under(tmp_path)
    said = words.read()
    assert said is not None
    assert said[1:] == (
        "RECEIVER_SILENT",
        "The node was ended by its watchdog and started anew. No answer to C-ECHO.",
    )
    words.forget()
    assert words.read() is None
