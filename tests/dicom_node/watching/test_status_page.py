"""The page as Prometheus, load balancers and strangers see it, with numbers of real processes."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from dicom_node.constancy.drift_news import DriftNews, DriftNewsFile
from dicom_node.constancy.stop import Outcome, Verdict, VerdictFile
from dicom_node.jobs.job_rows import QueueState
from dicom_node.metrics import COUNTED, counted_below
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.settings.watch_settings import StatusSettings
from dicom_node.watching.job_metrics import LOOKED_UP, LookedUp, gpu_memory, model_label
from dicom_node.watching.job_watch import JobWatch
from dicom_node.watching.node_checks import DISK, OLDEST_JOB, Check, failed, passed
from dicom_node.watching.status_page import StatusPage
from tests.peers import free_port
from tests.stand_in_models import stand_in_bundle, stand_in_key

COUNTING = """
import sys
from pathlib import Path
from dicom_node import metrics
from dicom_node.metrics import *
data_dir, what = Path(sys.argv[1]), sys.argv[2]
if what == "parent":
    import subprocess
    metrics.begin_counting(data_dir, "1")
    INSTANCES_RECEIVED.count()
    for what in ("child", "killed", "too-many"):
        subprocess.run([sys.executable, "-c", sys.argv[3], str(data_dir), what])
elif what == "child":
    INSTANCES_RECEIVED.count(2)
    INSTANCES_REFUSED.count(status="0xA700")
    with counted_attempt("segment") as counting:
        counting.of({"result": "done"})
    with counted_attempt("deliver", "pacs") as counting:
        counting.of({"result": "again", "code": "STORE_REFUSED", "instances": [{"stored": True}, {"stored": False}]})
    try:
        with counted_attempt("perfuse"):
            raise ValueError("ZZCANARY")
    except ValueError:
        pass
elif what == "killed":
    import os, signal
    INSTANCES_RECEIVED.count(4)
    os.kill(os.getpid(), signal.SIGKILL)
else:
    TURNED_AWAY.count(code="1.2.826.0.1.3680043.8.498.7777.1")
    TURNED_AWAY.count(code="ZZCANARY PHI")
    for number in range(1000):
        TURNED_AWAY.count(code=f"CODE_{number}")
"""


class Health:
    checks: Sequence[Check] = (passed(DISK, "7 MB free"), failed(OLDEST_JOB, "The oldest job is old."))
    is_ready = True
    is_alive = True


@contextmanager
def page(health: Health, collectors: Sequence[Any] = ()) -> Iterator[str]:
    shown = StatusPage(StatusSettings(port=free_port()), health, collectors)
    shown.start()
    try:
        yield f"http://127.0.0.1:{shown.port}"
    finally:
        shown.stop()


def get(url: str, method: str = "GET") -> tuple[int, str]:
    answer = requests.request(method, url, timeout=20)
    return answer.status_code, answer.text


def values(text: str) -> dict[tuple[str, ...], float]:
    """By name and labels."""
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, ...], float]]:
    """Numbers of a process, its children, one that was killed, and one that counts what nobody should."""
    data_dir = tmp_path_factory.mktemp("counted")
    subprocess.run([sys.executable, "-c", COUNTING, str(data_dir), "parent", COUNTING], check=True, timeout=120)
    with page(Health(), [counted_below(data_dir)]) as url:
        return data_dir, values(get(f"{url}/metrics")[1])


def test_numbers_of_all_processes_add_up_also_of_one_that_was_killed(counted: Any) -> None:
    _, found = counted
    assert found["perfnode_instances_received_total",] == 7.0
    assert found["perfnode_instances_refused_total", "status=0xA700"] == 1.0
    assert found["perfnode_stage_seconds_count", "result=done", "stage=segment"] == 1.0
    assert found["perfnode_stage_seconds_bucket", "le=0.3", "result=done", "stage=segment"] == 1.0
    assert found["perfnode_attempts_total", "code=STORE_REFUSED", "result=again", "stage=deliver"] == 1.0
    assert found["perfnode_attempts_total", "code=ValueError", "result=failed", "stage=perfuse"] == 1.0
    assert found["perfnode_deliveries_total", "destination=pacs", "result=again"] == 1.0
    assert found["perfnode_instances_delivered_total", "destination=pacs"] == 1.0


def test_labels_are_bounded_and_name_nobody(counted: Any) -> None:
    _, found = counted
    codes = {key: value for key, value in found.items() if key[0] == "perfnode_associations_refused_total"}
    assert len(codes) <= 102
    assert codes["perfnode_associations_refused_total", "code=other"] >= 2 + 1000 - 100
    assert "CANARY" not in str(found)
    assert "1.2.826" not in str(found)


def test_files_of_numbers_have_their_room_on_disk_beforehand(counted: Any) -> None:
    data_dir, _ = counted
    files = list((data_dir / "metrics" / "1").glob("*.db"))
    assert len(files) == 8  # counters and histograms of four processes
    assert all(file.stat().st_blocks * 512 >= file.stat().st_size == 1 << 17 for file in files)


def test_a_start_forgets_its_own_numbers_and_none_of_another(tmp_path: Path) -> None:
    counting = "import sys; from pathlib import Path; from dicom_node.metrics import *; "
    counting += "begin_counting(Path(sys.argv[1]), sys.argv[2]); ASSOCIATIONS.count(int(sys.argv[3]))"
    for name, amount in (("a", "1"), ("b", "2"), ("a", "4")):
        subprocess.run([sys.executable, "-c", counting, str(tmp_path), name, amount], check=True, timeout=60)
    with page(Health(), [counted_below(tmp_path)]) as url:
        assert values(get(f"{url}/metrics")[1])["perfnode_associations_total",] == 6.0


def test_a_spoilt_file_of_numbers_hides_no_other_metric(tmp_path: Path) -> None:
    folder = tmp_path / "metrics" / "1"
    folder.mkdir(parents=True)
    (folder / "counter_1.db").write_bytes(b"\xff\x7f\0\0" + bytes(range(256)) * 4)
    with page(Health(), [counted_below(tmp_path)]) as url:
        status, text = get(f"{url}/metrics")
    assert status == 200
    assert values(text)["perfnode_check_ok", "check=disk"] == 1.0


def test_health_says_what_is_wrong_and_answers_503() -> None:
    health = Health()
    with page(health) as url:
        status, text = get(f"{url}/health/ready")
        assert status == 200
        checks = json.loads(text)["checks"]
        assert checks["disk"]["ok"]
        assert checks["oldest-job"]["code"] == "JOB_LATE"
        assert get(f"{url}/health/live")[0] == 200
        health.is_ready = health.is_alive = False
        assert get(f"{url}/health/ready")[0] == 503
        assert json.loads(get(f"{url}/health/live")[1]) == {"alive": False}


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [("/", "GET", 404), ("/metrics/..", "GET", 404), ("/metrics", "POST", 405), ("/metrics?a=b", "GET", 200)],
)
def test_nothing_else_is_served(path: str, method: str, expected: int) -> None:
    with page(Health()) as url:
        status, text = get(url + path, method)
    assert status == expected
    assert "ZZ" not in text


def test_what_a_stranger_sends_is_not_repeated(capfd: pytest.CaptureFixture[str]) -> None:
    with page(Health()) as url:
        port = int(url.rpartition(":")[2])
        for line in (b"ZZCANARY / HTTP/1.1\r\n\r\n", b"\x16\x03\x01ZZCANARY\r\n", b"GET /" + b"Z" * 70000 + b"\r\n"):
            with socket.create_connection(("127.0.0.1", port), 10) as stranger:
                stranger.sendall(line)
                stranger.settimeout(10)
                answer = b""
                try:
                    while piece := stranger.recv(4096):
                        answer += piece
                except ConnectionResetError:
                    pass
                assert b"ZZ" not in answer
    out = capfd.readouterr()
    assert "ZZ" not in out.out + out.err


def test_silent_peers_hold_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_node.watching.status_page._CONNECTION_S", 0.5)
    with page(Health()) as url:
        port = int(url.rpartition(":")[2])
        silent = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(12)]
        try:
            for peer in silent:
                peer.sendall(b"GET /metrics HTTP/1.1\r\n")
            began = time.monotonic()
            assert get(f"{url}/health/live")[0] == 200
            assert time.monotonic() - began < 10.0
        finally:
            for peer in silent:
                peer.close()


class Book:
    """As much of the job book as is looked at, with a database that goes and comes back."""

    is_there = True

    def waiting(self) -> list[QueueState]:
        if not self.is_there:
            raise ConnectionError("ZZCANARY")
        return [QueueState("work", 3, 1, 0, time.time() - 100.0), QueueState("send-pacs", 0, 0, 2, time.time() - 50.0)]

    def changed_since(self, since_s: float) -> list[Any]:
        return []

    def __exit__(self, *exc_info: object) -> None: ...


def settings_of(folder: Path) -> NodeSettings:
    return parse_settings({"node": {"data_dir": "data"}}, base=folder)


def test_what_is_looked_up_survives_a_database_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, book = settings_of(tmp_path), Book()
    (settings.data_dir / "spool").mkdir(parents=True)
    (settings.data_dir / "spool" / "x").write_bytes(bytes(1000))
    make: Callable[[], Any] = lambda: book  # noqa: E731
    jobs = JobWatch(make)
    jobs.look()
    with page(Health(), [LookedUp(settings, jobs, lambda: "my model 1.0")]) as url:
        found = values(get(f"{url}/metrics")[1])
    assert found["perfnode_queue_jobs", "queue=work", "state=waiting"] == 3.0
    assert found["perfnode_queue_jobs", "queue=send-pacs", "state=delayed"] == 2.0
    assert 100.0 <= found["perfnode_oldest_job_age_seconds", "queue=work"] < 130.0
    assert found["perfnode_spool_bytes",] == 1000.0
    assert found["perfnode_disk_free_bytes", "directory=data"] > 0
    assert any(key[0] == "perfnode_build_info" and "model=my model 1.0" in key for key in found)
    book.is_there = False
    jobs.look()
    monkeypatch.setattr("dicom_node.watching.job_watch._TOO_OLD_S", 0.0)
    with page(Health(), [LookedUp(settings, jobs, lambda: "m")]) as url:
        status, text = get(f"{url}/metrics")
    assert status == 200
    assert values(text)["perfnode_database_up",] == 0.0
    assert "CANARY" not in text


def test_the_last_self_test_and_the_last_look_at_the_charts_are_looked_up(tmp_path: Path) -> None:
    settings, jobs = settings_of(tmp_path), JobWatch(Book)
    looked = LookedUp(settings, jobs, lambda: "m")
    names = {family.name for family in looked.collect()}
    assert not names & {"perfnode_self_test_timestamp_seconds", "perfnode_drift_rules_broken"}
    VerdictFile.under(settings.shared_dir).add(Verdict(Outcome.PASSED, "", "", 100.0))
    VerdictFile.under(settings.shared_dir).add(Verdict(Outcome.FAILED, "X", "x", 200.0))
    DriftNewsFile.under(settings.shared_dir).write(DriftNews(300.0, {"lung_hu": [1, 2]}, {"lung_hu": []}))
    with page(Health(), [looked]) as url:
        found = values(get(f"{url}/metrics")[1])
    assert found["perfnode_self_test_timestamp_seconds", "what=answered"] == 200.0
    assert found["perfnode_self_test_timestamp_seconds", "what=passed"] == 100.0
    assert found["perfnode_drift_rules_broken", "figure=lung_hu", "of=patients"] == 2.0
    assert found["perfnode_drift_rules_broken", "figure=lung_hu", "of=self-tests"] == 0.0


def test_without_a_gpu_nothing_is_said_of_gpus() -> None:
    found = gpu_memory()
    assert all(value > 0 for _, value in found)  # on a machine with one, used and total


def test_the_model_is_named_by_its_card(tmp_path: Path) -> None:
    baseline = parse_settings({"inference": {"perfusion": "densitometric"}}, base=tmp_path)
    assert model_label(baseline) == "densitometric"
    absent = parse_settings({"inference": {"perfusion": "bundle", "model_folder": "none"}}, base=tmp_path)
    assert model_label(absent) == "MODEL_NOT_FOUND"
    key = stand_in_key(tmp_path)
    manifest = stand_in_bundle(tmp_path / "stand-in", key)
    chosen = {"perfusion": "bundle", "model_folder": "stand-in", "trusted_keys": [f"{key.name}.pub"]}
    assert model_label(parse_settings({"inference": chosen}, base=tmp_path)) == manifest.identity().label()


def test_every_metric_has_a_name_of_ours_and_a_meaning() -> None:
    metrics = (*COUNTED, *LOOKED_UP)
    assert len({metric.name for metric in metrics}) == len(metrics)
    for metric in metrics:
        assert metric.name.startswith("perfnode_")
        assert metric.meaning.endswith(".")


def test_a_process_counts_nothing_where_nobody_asks() -> None:
    code = (
        "import sys; from dicom_node.metrics import *; ASSOCIATIONS.count(); print('prometheus_client' in sys.modules)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PROMETHEUS_MULTIPROC_DIR"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "prometheus_client" not in done.stdout.split()
