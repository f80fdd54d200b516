"""A real node as whoever operates it sees it: metrics, health, messages, and its end and new start by the watchdog."""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from pydicom.uid import CTImageStorage

from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from dicom_node.watching.watchdog import CANNOT_SERVE
from tests.dicom_node.watching.test_alerts import Hook, MailServer, mail, mail_server, web_hook
from tests.dicom_node.watching.test_status_page import values
from tests.finished_jobs import write_rows
from tests.peers import associate, eventually, free_port, store_bytes
from tests.running_node import RunningNode
from tests.small_ct import encoded, small_ct

pytestmark = pytest.mark.slow  # `make test-long`

SITE = """
[node]
port = {port}
data_dir = "data"
quiet_period_s = 600.0
minimum_free_mb = 100
[inference]
perfusion = "densitometric"
[log]
format = "json"
[status]
port = {page}
[watchdog]
every_s = 1.0
failures = 4
[[alerts]]
name = "hook"
url_file = "hook.url"
[[alerts]]
name = "mail"
url_file = "mail.url"
events = ["failed"]
"""
READ = {"result": "done", "destinations": ["pacs"], "more": True}
ROWS: dict[str, dict[str, Any] | None] = {
    "c0ffee:1:read:1": READ,
    "c0ffee:1:check:1": {"result": "failed", "code": "CHECK_FAILED", "message": "The objects have faults."},
    "beef:1:read:1": READ,
    "beef:1:deliver.pacs:1": {"result": "held", "code": "HOLD", "message": "It waits for a person."},
    "dead:1:read:1": {"result": "rejected", "code": "NO_LUNGS", "message": "There is no lung."},
}


@dataclass
class Operated:
    """What one life of a node and the begin of the next have left."""

    metrics: dict[tuple[str, ...], float]
    ready: requests.Response
    live: requests.Response
    health: Any
    test: Any
    status: int
    told: list[str] = field(default_factory=list)
    hook: Hook = field(default_factory=Hook)
    mails: MailServer = field(default_factory=MailServer)
    log: str = ""


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    folder = tmp_path_factory.mktemp("operated")
    node = RunningNode(folder, AeAddress("PERFNODE", "127.0.0.1", free_port()))
    page = free_port()
    node.site_file.write_text(SITE.format(port=node.address.port, page=page))
    write_rows(node.data_dir, ROWS)
    with mail_server() as (mails, mail_port), web_hook(503) as (hook, url), pytest.MonkeyPatch.context() as patch:
        (folder / "hook.url").write_text(url)
        (folder / "mail.url").write_text(mail(mail_port))
        with _service_manager(folder / "notify") as told:
            patch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
            node.start()
            patch.delenv("NOTIFY_SOCKET")
            try:
                found = _first_life(node, f"http://127.0.0.1:{page}", hook)
                node.start()
                assert eventually(lambda: "RECEIVER_SILENT" in _codes(hook), 60.0), (_codes(hook), node.log()[-3000:])
            finally:
                node.stop()
        found.told = told
        found.hook, found.mails, found.log = hook, mails, node.log()
        yield found


def _first_life(node: RunningNode, page: str, hook: Hook) -> Operated:
    dataset = small_ct(1)
    content, uid = encoded(dataset), str(dataset.SOPInstanceUID)
    association = associate(node.address)
    assert store_bytes(association, CTImageStorage, uid, content) == 0
    assert store_bytes(association, CTImageStorage, f"{uid}.1", content) not in (0, None)
    association.release()
    assert eventually(lambda: _is_ready(page), 60.0), node.log()
    assert eventually(lambda: {"CHECK_FAILED", "HOLD"} <= set(_codes(hook)), 60.0), (
        _codes(hook),
        node.log()[-3000:],
    )
    metrics = values(requests.get(f"{page}/metrics", timeout=20).text)
    ready, live = (requests.get(f"{page}/health/{name}", timeout=20) for name in ("ready", "live"))
    health, test = node.perfnode("health", "--json"), node.perfnode("alerts", "test", "hook")
    assert node.process is not None
    stopped = [process for process in psutil.Process(node.process.pid).children() if _receives(process)]
    for process in stopped:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        status = node.process.wait(60)
    finally:
        for process in stopped:
            if process.is_running():
                os.kill(process.pid, signal.SIGCONT)
    return Operated(metrics, ready, live, health, test, status)


def _is_ready(page: str) -> bool:
    try:
        return requests.get(f"{page}/health/ready", timeout=20).status_code == 200
    except requests.ConnectionError:  # it opens after the port
        return False


def _receives(process: psutil.Process) -> bool:
    return "receiver_process" in " ".join(process.cmdline())


def _codes(hook: Hook) -> list[str]:
    return [body["code"] for _, body in hook.came]


@contextmanager
def _service_manager(address: Path) -> Iterator[list[str]]:
    """What is told to the service manager, read at once as it would."""
    told: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(str(address))

        def hear() -> None:
            while text := hears.recv(4096):
                told.append(text.decode())

        hearing = threading.Thread(target=hear)
        hearing.start()
        try:
            yield told
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"", str(address))
            hearing.join()


def test_metrics_tell_what_was_received_and_how_cases_stand(operated: Operated) -> None:
    found = operated.metrics
    assert found["perfnode_instances_received_total",] == 1.0
    assert found["perfnode_instances_refused_total", "status=0xA900"] == 1.0
    assert found["perfnode_associations_total",] >= 1.0
    assert found["perfnode_database_up",] == 1.0
    assert found["perfnode_check_ok", "check=receiver"] == 1.0
    assert found["perfnode_spool_bytes",] > 0
    for state in (CaseState.FAILED, CaseState.HELD, CaseState.REJECTED):
        assert found["perfnode_cases", f"state={state.value}"] == 1.0
    assert found["perfnode_alerts_total", "alert=hook", "result=again"] == 1.0


def test_health_is_told_on_the_page_and_on_the_command_line(operated: Operated) -> None:
    assert operated.ready.status_code == operated.live.status_code == 200
    checks = operated.ready.json()["checks"]
    late = {"oldest-job", "arrivals", "self-test"}
    assert set(checks) == {"receiver", "database", "disk", "engines", "answer", "supervisor", *late}
    assert operated.health.returncode == 0, operated.health.stdout
    asked = json.loads(operated.health.stdout)
    assert asked["ready"]
    assert "C-ECHO answered" in asked["checks"]["receiver"]["detail"]


def test_each_event_is_told_once_to_whom_it_matters(operated: Operated) -> None:
    taken = [body for _, body in operated.hook.came[1:]]  # the first one was answered 503
    told = [(body["event"], body["code"], body["case"]) for body in taken]
    assert sorted(told) == [
        ("failed", "CHECK_FAILED", "c0ffee"),
        ("held", "HOLD", "beef"),
        ("node", "RECEIVER_SILENT", ""),
        ("test", "TEST", ""),
    ]
    (mail_of_failure,) = operated.mails.mails
    assert "CHECK_FAILED" in str(mail_of_failure["Subject"])
    assert operated.test.stdout.strip() == "hook: sent"


def test_a_node_whose_receivers_are_stuck_ends_itself_and_starts_anew(operated: Operated) -> None:
    assert operated.status == CANNOT_SERVE
    (ended,) = [json.loads(line) for line in operated.log.splitlines() if '"watchdog_ends_node"' in line]
    assert (ended["code"], ended["check"]) == ("RECEIVER_SILENT", "receiver")


def test_the_service_manager_hears_of_begin_life_and_end(operated: Operated) -> None:
    assert operated.told[0].startswith("READY=1\n")
    assert any(text.startswith("WATCHDOG=1\nSTATUS=serving") for text in operated.told)
    assert operated.told[-1] == "STOPPING=1\nSTATUS=ended by its watchdog: RECEIVER_SILENT"
