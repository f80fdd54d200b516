"""kill -9 of the node at bad moments: the series is finished and delivered once, with the same UIDs."""

import time
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.errors import DeliveryError
from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.stages import Stage
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, InstanceDelivery, send
from dicom_node.network.storage_folder import StorageFolder
from tests.peers import eventually, free_port
from tests.running_node import RunningNode, running_node

pytestmark = pytest.mark.slow  # `make test-long`


@pytest.fixture
def pacs(tmp_path: Path):
    folder = StorageFolder(tmp_path / "pacs", AeAddress("PACS", "127.0.0.1", free_port()))
    folder.start()
    yield folder
    folder.stop()


def _uids(pacs: StorageFolder) -> list[str]:
    return sorted(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in pacs.instances())


def _made_uids(node: RunningNode) -> list[str]:
    paths = node.folder_of(node.only_case()).object_paths()
    return sorted(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths)


def _send_until_killed(node: RunningNode, paths: list[Path], after: int) -> None:
    sent: list[InstanceDelivery] = []

    def progress(instance: InstanceDelivery) -> None:
        sent.append(instance)
        if len(sent) == after:
            node.kill()

    with pytest.raises(DeliveryError):
        send(paths, Destination("node", node.address, calling_ae_title="TPS"), progress)


def test_killed_while_receiving_the_node_waits_for_the_sender_and_finishes_the_series(
    tmp_path: Path, pacs: StorageFolder, thorax_files: list[Path]
) -> None:
    with running_node(tmp_path / "node", [pacs.address]) as node:
        _send_until_killed(node, thorax_files, after=len(thorax_files) // 2)
        node.start()
        time.sleep(3.0)  # longer than the quiet period
        assert node.cases() == []  # half a lung is never processed
        assert "INTERRUPTED" in node.perfnode("jobs").stdout
        node.send(thorax_files)
        (case,) = node.finished_cases()
        assert case.state is CaseState.DELIVERED, node.log()
        assert node.folder_of(case).record().instances == len(thorax_files)
        assert _uids(pacs) == _made_uids(node)
        assert len(_uids(pacs)) == 2


@pytest.mark.parametrize("stage", [Stage.READ, Stage.SEGMENT, Stage.PERFUSE, Stage.ENCODE, Stage.DELIVER])
def test_killed_while_processing_the_node_goes_on_and_delivers_once(
    tmp_path: Path, pacs: StorageFolder, thorax_files: list[Path], stage: Stage
) -> None:
    with running_node(tmp_path / "node", [pacs.address]) as node:
        node.send(thorax_files)

        def reached() -> bool:
            started = [e for e in node.events() if e["event"] == "stage_started" and e["stage"] == stage.value]
            encoded = [e for e in node.events() if e["event"] == "stage_done" and e["stage"] == Stage.ENCODE.value]
            return bool(encoded if stage is Stage.DELIVER else started)

        assert eventually(reached, 120.0), node.log()
        node.kill()
        node.start()
        (case,) = node.finished_cases()
        assert case.state is CaseState.DELIVERED, node.log()
        assert _uids(pacs) == _made_uids(node)
        assert len(_uids(pacs)) == 2
        assert not list(node.data_dir.rglob("*.part"))


def test_a_second_node_on_the_same_data_refuses_to_start(tmp_path: Path, pacs: StorageFolder) -> None:
    with running_node(tmp_path / "node", [pacs.address]) as node:
        second = node.perfnode("serve")
        assert second.returncode == 2
        assert "NODE_ALREADY_RUNNING" in second.stderr
        assert node.answers()
