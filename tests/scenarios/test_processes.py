"""The processes of one host: what is killed is started again, and its work goes on; roles may stand apart."""

from pathlib import Path

import pytest

from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from dicom_node.network.storage_folder import StorageFolder
from tests.peers import eventually, free_port
from tests.stub_hosts import StubHost, running
from tests.torture.pipeline_jobs import plain_jobs, scan

pytestmark = pytest.mark.slow  # `make test-long`


@pytest.fixture
def pacs(tmp_path: Path):
    folder = StorageFolder(tmp_path / "pacs", AeAddress("PACS", "127.0.0.1", free_port()))
    folder.start()
    yield folder
    folder.stop()


def test_a_killed_engine_is_started_again_and_its_work_is_done_once(tmp_path: Path, pacs: StorageFolder) -> None:
    (job,) = plain_jobs(1, tmp_path, work={"encode": "sleep:2"})
    host = StubHost(tmp_path / "host", pacs.address)
    with running(host):
        receivers = [process.pid for process in host.children("receiver")]
        assert scan(job, host.address)
        assert eventually(lambda: bool(host.children("encode")), 30.0), host.log
        (engine,) = host.children("engine_process")
        engine.kill()
        assert eventually(lambda: not host.children("encode"), 1.5), "the stage outlived its engine"
        (case,) = host.finished(1)
        assert case.state is CaseState.DELIVERED, host.log
        assert len(pacs.instances()) == 1
        assert host.said("process_died") == 1
        assert [process.pid for process in host.children("receiver")] == receivers
        assert not list(tmp_path.rglob("*.part"))
        assert host.stop() == 0


def test_a_case_that_kills_every_engine_ends_and_the_others_are_delivered(tmp_path: Path, pacs: StorageFolder) -> None:
    poison, good = plain_jobs(2, tmp_path, work={"read": "sleep:0.1"})
    host = StubHost(tmp_path / "host", pacs.address, work="restart_limit = 1", program="tests.poisoned_node")
    with running(host):
        (tmp_path / "ledger" / "poison").write_text(poison.plan.series)
        assert scan(poison, host.address)
        assert eventually(lambda: host.said("process_died") >= 1, 30.0), host.log
        assert scan(good, host.address)
        cases = {case.state: case for case in host.finished(2, 90.0)}
        assert set(cases) == {CaseState.FAILED, CaseState.DELIVERED}, host.log
        assert cases[CaseState.FAILED].code == "TOO_MANY_RESTARTS"
        assert len(pacs.instances()) == 1


def test_roles_stand_apart_and_another_worker_takes_over_from_one_that_is_killed(
    tmp_path: Path, pacs: StorageFolder
) -> None:
    (job,) = plain_jobs(1, tmp_path, work={"encode": "sleep:2"})
    door = StubHost(tmp_path / "host", pacs.address, roles=["receiver"], name="door")
    workers = [StubHost(tmp_path / "host", pacs.address, roles=["worker"], name=name) for name in ("w1", "w2")]
    sender = StubHost(tmp_path / "host", pacs.address, roles=["sender"], name="s", address=door.address)
    for worker in workers:
        worker.address = door.address
    with running(door, *workers, sender):
        assert not door.children("engine_process")
        assert not sender.listens() or not sender.children("receiver")
        assert scan(job, door.address)
        assert eventually(lambda: any(worker.children("encode") for worker in workers), 30.0), workers[0].log
        (busy,) = [worker for worker in workers if worker.children("encode")]
        (idle,) = [worker for worker in workers if worker is not busy]
        busy.kill()
        (case,) = door.finished(1)
        assert case.state is CaseState.DELIVERED, idle.log
        assert len(pacs.instances()) == 1
        assert idle.said("takeover") + sender.said("takeover") >= 1
        assert (sender.said("stage_started"), sender.said("delivered")) == (0, 1)
        assert [worker.said("delivered") for worker in workers] == [0, 0]
        second = StubHost(tmp_path / "host", pacs.address, roles=["receiver"], name="other", address=door.address)
        second.start(ready=False)
        assert second.process is not None
        assert second.process.wait(60) != 0
        assert "NodeAlreadyRunning" in second.log
