"""Several hosts of one node, with a real PostgreSQL and storage that they share."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, send
from dicom_node.network.storage_folder import StorageFolder
from tests.peers import eventually, free_port
from tests.stub_hosts import StubHost, running
from tests.torture.pipeline_jobs import plain_jobs, scan
from tests.torture.postgres import PostgresServer, postgres

pytestmark = pytest.mark.slow  # `make test-long`


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres(tmp_path_factory.mktemp("postgres")) as running_server:
        yield running_server


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StorageFolder]:
    folder = StorageFolder(tmp_path / "pacs", AeAddress("PACS", "127.0.0.1", free_port()))
    folder.start()
    yield folder
    folder.stop()


def _hosts(tmp_path: Path, pacs: StorageFolder, url: str, count: int, roles: tuple[str, ...] = ()) -> list[StubHost]:
    return [StubHost(tmp_path / f"host{k}", pacs.address, url, roles, shared=tmp_path / "shared") for k in range(count)]


def test_a_host_that_dies_is_taken_over_by_another(tmp_path: Path, pacs: StorageFolder, server: PostgresServer) -> None:
    (job,) = plain_jobs(1, tmp_path, work={"encode": "sleep:2"})
    hosts = _hosts(tmp_path, pacs, server.url("takeover"), 2)
    with running(*hosts):
        assert scan(job, hosts[0].address)
        assert eventually(lambda: any(host.children("encode") for host in hosts), 60.0), hosts[0].log
        (busy,) = [host for host in hosts if host.children("encode")]
        (other,) = [host for host in hosts if host is not busy]
        busy.kill()
        (case,) = other.finished(1)
        assert case.state is CaseState.DELIVERED, other.log
        assert other.said("takeover") == 1
        assert len(pacs.instances()) == 1
        assert not list(tmp_path.rglob("*.part"))


def test_without_its_database_a_node_receives_and_makes_cases_when_it_is_back(
    tmp_path: Path, pacs: StorageFolder, server: PostgresServer
) -> None:
    first, second = plain_jobs(2, tmp_path, work={"encode": "sleep:2"})
    (host,) = _hosts(tmp_path, pacs, server.url("away"), 1)
    with running(host):
        assert scan(first, host.address)
        assert eventually(lambda: bool(host.children("encode")), 60.0), host.log
        server.kill()
        try:
            assert eventually(lambda: host.said("database_lost") == 1, 15.0), host.log
            assert not host.children("encode"), "a process works on that cannot prove that it is alive"
            assert scan(second, host.address)
            host.kill()
            host.start(ready=False)  # which needs no database either
            host.wait_until_ready(2)
            assert host.listens()
            assert len(list((host.folder / "data" / "spool" / "incoming").iterdir())) == 1
        finally:
            server.start()
        cases = host.finished(2, 90.0)
        assert [case.state for case in cases] == [CaseState.DELIVERED] * 2, host.log
        assert len(pacs.instances()) == 2


def test_halves_of_a_series_that_reach_two_hosts_at_once_become_one_whole_case(
    tmp_path: Path, pacs: StorageFolder, server: PostgresServer
) -> None:
    (job,) = plain_jobs(1, tmp_path)
    hosts = _hosts(tmp_path, pacs, server.url("halves"), 2)
    with running(*hosts):
        threads = [
            threading.Thread(target=send, args=([path], Destination("node", host.address, calling_ae_title="SCANNER")))
            for host, path in zip(hosts, job.paths, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert eventually(lambda: any(_instances(hosts[0], case) == 2 for case in _ids(hosts[0])), 60.0), hosts[0].log
        cases = hosts[0].finished(len(hosts[0].all_cases()))
        assert sorted(_instances(hosts[0], case.case_id) for case in cases) == [1, 2]
        assert all(not list((host.folder / "data" / "spool" / "incoming").iterdir()) for host in hosts)


def _ids(host: StubHost) -> list[str]:
    return [case.case_id for case in host.all_cases()]


def _instances(host: StubHost, case_id: str) -> int:
    record = json.loads((host.cases.folder(case_id).path / "case.json").read_text())
    assert record["instances"] == len(host.cases.folder(case_id).instances())
    return int(record["instances"])
