"""Input that cannot be used: the case ends REJECTED with a code and a sentence, nothing is sent, the node lives on."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import MRImageStorage

from dicom_node.addresses import AeAddress
from dicom_node.attempts import CaseState
from dicom_node.storage_folder import StorageFolder
from inference.ct_instances import ct_instances
from inference.thorax import ThoraxVariant, draw_thorax
from tests.peers import free_port
from tests.running_node import RunningNode, running_node, save_instances


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageFolder]:
    folder = StorageFolder(tmp_path_factory.mktemp("pacs"), AeAddress("PACS", "127.0.0.1", free_port()))
    folder.start()
    yield folder
    folder.stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, pacs: StorageFolder) -> Iterator[RunningNode]:
    with running_node(tmp_path_factory.mktemp("refusing"), [pacs.address]) as running:
        yield running


def _not_a_ct(datasets: list[Dataset]) -> list[Dataset]:
    for dataset in datasets:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
        dataset.Modality = "MR"
    return datasets


def _two_patients(datasets: list[Dataset]) -> list[Dataset]:
    for dataset in datasets[::2]:
        dataset.PatientID = "SOMEBODY-ELSE"
    return datasets


def _missing_slice(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:40] + datasets[41:]


def _scout(datasets: list[Dataset]) -> list[Dataset]:
    for dataset in datasets[:2]:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return datasets[:2]


def _no_lung(datasets: list[Dataset]) -> list[Dataset]:
    return ct_instances(draw_thorax(variant=ThoraxVariant.NO_LUNGS).ct)


FAULTS: list[tuple[Callable[[list[Dataset]], list[Dataset]], str, str]] = [
    (_not_a_ct, "NOT_CT", "not a CT"),
    (_two_patients, "MIXED_SERIES", "disagree in Patient"),
    (_missing_slice, "MISSING_SLICES", "Slices are missing"),
    (_scout, "LOCALIZER", "scout"),
    (_no_lung, "LUNGS_NOT_FOUND", "No lungs were found"),
]


@pytest.mark.parametrize(("fault", "code", "words"), FAULTS, ids=[code for _, code, _ in FAULTS])
def test_unusable_series_is_rejected_with_its_code_and_nothing_is_sent(
    node: RunningNode,
    pacs: StorageFolder,
    tmp_path: Path,
    thorax_instances: list[Dataset],
    fault: Callable[[list[Dataset]], list[Dataset]],
    code: str,
    words: str,
) -> None:
    datasets = fault(deepcopy(thorax_instances))
    for number, dataset in enumerate(datasets):  # a series of its own
        dataset.SeriesInstanceUID = f"2.25.77.{len(code)}.{ord(code[0])}"
        dataset.SOPInstanceUID = f"{dataset.SeriesInstanceUID}.{number + 1}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    before = {case.case_id for case in node.cases()}
    node.send(save_instances(datasets, tmp_path / "ct"))
    (case,) = [c for c in node.finished_cases(len(before) + 1) if c.case_id not in before]
    assert (case.state, case.code) == (CaseState.REJECTED, code), node.log()
    assert words in case.message
    assert pacs.instances() == []
    shown = node.perfnode("show", case.case_id[:8])
    assert code in shown.stdout
    assert words in shown.stdout
    assert node.answers()
