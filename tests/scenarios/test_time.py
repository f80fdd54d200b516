"""Time that jumps: clocks set forward and back, daylight saving, a weekend with cases waiting for an archive.

An hour is a minute here, and more for many cases: the waits between attempts are a sixtieth of what a site has, but a
turn in front of a destination takes its half second whatever the clock says.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from dicom_node.operations import Operations
from dicom_node.settings.config import NodeSettings, read_settings
from tests.faked_clock import FakedClock
from tests.keeping_pacs import KeepingPacs, keeping_pacs
from tests.peers import eventually, free_port
from tests.prepared_cases import destination, engine, object_uid, prepare_case, queue_deliveries, site_text

CASES = int(os.environ.get("WAITING_CASES", "10"))
HOUR_S = max(60.0, 1.2 * CASES)
"""Compressed."""
_DELAYS = str([HOUR_S / 60, HOUR_S / 12, HOUR_S / 4, HOUR_S])


@contextmanager
def sender(folder: Path, clock: FakedClock) -> Iterator["subprocess.Popen[bytes]"]:
    """A node that only sends, under that clock; stopped by SIGTERM."""
    command = [sys.executable, "-m", "dicom_node", "serve", "--role", "sender", "--config", str(folder / "site.toml")]
    with (folder / "node.log").open("ab") as log:
        node = subprocess.Popen(command, stdout=log, stderr=log, env=clock.environment())
    try:
        before = count_of(folder, "node_ready")
        assert eventually(lambda: node.poll() is None and count_of(folder, "node_ready") > before, 60.0), tail(folder)
        yield node
    finally:
        node.send_signal(signal.SIGTERM)
        assert node.wait(60) == 0


def events(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "node.log").read_text().splitlines() if line.startswith("{")]


def count_of(folder: Path, event: str) -> int:
    return sum(said["event"] == event for said in events(folder))


def tail(folder: Path) -> str:
    return (folder / "node.log").read_text()[-4000:]


class DoorBell:
    """Stands where the archive will stand, counts who comes, and lets nobody in."""

    def __init__(self, port: int) -> None:
        self.rings = 0
        self._socket = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._open, daemon=True)
        self._thread.start()

    def _open(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.rings += 1
            caller.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def prepared(folder: Path, port: int, cases: int, delays: str = _DELAYS) -> tuple[NodeSettings, list[str]]:
    """A site with one archive, and cases whose deliveries are queued; their ids in the order of arrival."""
    address = AeAddress("ARCHIVE", "127.0.0.1", port)
    (folder / "site.toml").write_text(site_text(folder, [destination("pacs", address)], f"retry_delays_s = {delays}"))
    settings = read_settings(folder / "site.toml")
    with engine(settings):
        made = [prepare_case(settings, number) for number in range(1, cases + 1)]
        queue_deliveries(settings, made[::-1], "pacs")
    return settings, [case.case_id for case in made]


def tries(node: Operations) -> dict[str, int]:
    """How often each case has found nobody there so far."""
    time.sleep(0.2)  # the database has other work, too
    cases = node.jobs(limit=None).cases
    return {c.case_id: sum(a.output.get("code") == "PEER_UNREACHABLE" for a in c.attempts) for c in cases}


@pytest.fixture
def clock(tmp_path: Path) -> FakedClock:
    faked = FakedClock(tmp_path / "clock")
    faked.move(0)
    return faked


@pytest.mark.slow  # `make torture-time`
def test_after_a_weekend_every_case_that_waited_for_the_archive_arrives_in_order_and_once(
    tmp_path: Path, clock: FakedClock
) -> None:
    port = free_port()
    settings, ids = prepared(tmp_path, port, CASES)
    bell = DoorBell(port)
    with Operations(settings) as node:
        with sender(tmp_path, clock):
            assert eventually(lambda: min(tries(node).values()) > 0, 60.0 + CASES), node.waiting()
        clock.move(60 * 3600)
        rings, before = bell.rings, tries(node)
        with sender(tmp_path, clock):
            # All are due at once, and the archive is still away. Only the first in line and the watch knock.
            all_again = lambda: all(count > before[case_id] for case_id, count in tries(node).items())  # noqa: E731
            assert eventually(all_again, 60.0 + CASES), node.waiting()
            assert bell.rings > rings
            assert bell.rings - rings < CASES / 2
            bell.close()
            pacs = KeepingPacs()
            with keeping_pacs(pacs, port=port):
                assert eventually(lambda: len(pacs.received) == CASES, HOUR_S + CASES), tail(tmp_path)
                assert eventually(lambda: node.waiting() == [], 10.0)
        assert pacs.received == [object_uid(case_id) for case_id in ids]
        assert {case.state for case in node.jobs(limit=None).cases} == {CaseState.DELIVERED}


def test_clocks_that_jump_and_daylight_saving_hold_nothing_up_and_give_nothing_up(
    tmp_path: Path, clock: FakedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    port = free_port()
    settings, ids = prepared(tmp_path, port, 3, "[6, 6]")
    pacs = KeepingPacs(statuses=[0xA700] * 3)  # refused for now: nobody comes to wake them
    clock.set(datetime(2027, 10, 31, 0, 59, 50, tzinfo=UTC))  # ten seconds before 3 o'clock becomes 2 o'clock
    with Operations(settings) as node, keeping_pacs(pacs, port=port), sender(tmp_path, clock):
        assert eventually(lambda: len(pacs.received) == 3, 30.0), tail(tmp_path)
        clock.set(datetime(2027, 10, 30, 19, 0, tzinfo=UTC))  # six hours back, while all three wait
        assert eventually(lambda: len(pacs.stored) == 3 and node.waiting() == [], 40.0), tail(tmp_path)
        assert eventually(lambda: count_of(tmp_path, "clock_was_put_back") > 0, 5.0)
        pacs.statuses = [0xA700] * 3
        for case_id in ids:
            node.retry(case_id)
        clock.set(datetime(2027, 11, 2, 12, 0, tzinfo=UTC))  # days forward
        assert eventually(lambda: len(pacs.received) == 12 and node.waiting() == [], 40.0), tail(tmp_path)
        assert {case.state for case in node.jobs().cases} == {CaseState.DELIVERED}
