"""What an operator does: a PACS that is down, a case that is cancelled and tried again, a series that is sent again."""

import shutil
from pathlib import Path

import pytest

from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from dicom_node.network.storage_folder import StorageFolder
from tests.peers import eventually, free_port
from tests.running_node import running_node


@pytest.fixture
def pacs(tmp_path: Path):
    folder = StorageFolder(tmp_path / "pacs", AeAddress("PACS", "127.0.0.1", free_port()))
    yield folder
    folder.stop()


def test_results_wait_for_a_pacs_that_is_down_and_a_second_destination_does_not_wait_with_them(
    tmp_path: Path, pacs: StorageFolder, thorax_files: list[Path]
) -> None:
    other = StorageFolder(tmp_path / "tps", AeAddress("TPS", "127.0.0.1", free_port()))
    other.start()
    try:
        orders = ["", 'objects = ["structure-set"]']
        with running_node(tmp_path / "node", [pacs.address, other.address], orders=orders) as node:
            node.send(thorax_files)
            assert eventually(lambda: len(other.instances()) == 1, 120.0), node.log()
            assert eventually(lambda: node.only_case().code == "PEER_UNREACHABLE", 20.0), node.log()
            assert node.only_case().state is CaseState.DELIVERING
            pacs.start()
            (case,) = node.finished_cases()
            assert case.state is CaseState.DELIVERED
            assert len(pacs.instances()) == 2
            assert [path.name.partition("-")[0] for path in other.instances()] == ["RTSTRUCT"]
    finally:
        other.stop()


def test_a_cancelled_case_is_not_sent_until_it_is_retried_and_sending_again_delivers_again(
    tmp_path: Path, pacs: StorageFolder, thorax_files: list[Path]
) -> None:
    pacs.start()
    with running_node(tmp_path / "node", [pacs.address]) as node:
        node.send(thorax_files)
        assert eventually(lambda: bool(node.cases()), 30.0)
        case_id = node.only_case().case_id
        assert node.perfnode("cancel", case_id).returncode == 0
        assert eventually(lambda: node.only_case().state is CaseState.CANCELLED, 20.0), node.log()
        assert pacs.instances() == []

        assert node.perfnode("retry", case_id).returncode == 0
        assert [c.state for c in node.finished_cases()] == [CaseState.DELIVERED], node.log()
        first = {path: path.read_bytes() for path in pacs.instances()}
        assert len(first) == 2

        for path in first:
            path.unlink()
        node.send(thorax_files)
        assert eventually(lambda: len(pacs.instances()) == 2, 60.0), node.log()
        assert {path: path.read_bytes() for path in pacs.instances()} == first
        assert len(node.cases()) == 1

        # Somebody has cleaned up the disk: the series is a new one, and still gives the same objects.
        node.finished_cases()
        shutil.rmtree(node.folder_of(node.only_case()).path)
        for path in first:
            path.unlink()
        node.send(thorax_files)
        assert eventually(lambda: len(pacs.instances()) == 2, 180.0), node.log()
        assert {path: path.read_bytes() for path in pacs.instances()} == first


def test_the_node_stops_cleanly_on_sigterm(tmp_path: Path, pacs: StorageFolder) -> None:
    with running_node(tmp_path / "node", [pacs.address]) as node:
        assert node.stop() == 0
        assert '"node_stopping"' in node.log()
