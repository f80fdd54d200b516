"""Input that cannot be used: the case ends REJECTED with a code and a sentence, the node lives on.

No result is sent; a destination that wants to hear of it gets a picture that says why, and the other one nothing. No
picture is sent where it is not certain whom it belongs to.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage

from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.stages import ASIDE
from dicom_node.network.addresses import AeAddress
from dicom_node.network.storage_folder import StorageFolder
from inference.ct.instances import ct_instances
from inference.phantom.thorax import ThoraxVariant, draw_thorax
from tests.peers import eventually, free_port
from tests.running_node import RunningNode, running_node, save_instances


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageFolder]:
    folder = StorageFolder(tmp_path_factory.mktemp("pacs"), AeAddress("PACS", "127.0.0.1", free_port()))
    folder.start()
    yield folder
    folder.stop()


@pytest.fixture(scope="module")
def tps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageFolder]:
    folder = StorageFolder(tmp_path_factory.mktemp("tps"), AeAddress("TPS", "127.0.0.1", free_port()))
    folder.start()
    yield folder
    folder.stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, pacs: StorageFolder, tps: StorageFolder) -> Iterator[RunningNode]:
    orders = ["", "refusal_notice = false"]
    # Everything is wanted and nothing waits, so that the reader has to refuse it.
    tables = '[completeness]\nhold_limit_s = 1\n[[rules]]\nname = "everything"\naction = "process"\n'
    folder = tmp_path_factory.mktemp("refusing")
    with running_node(folder, [pacs.address, tps.address], orders=orders, tables=tables) as running:
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


def _notice_is_over(node: RunningNode, case_id: str) -> bool:
    (case,) = [case for case in node.cases() if case.case_id == case_id]
    aside = [attempt for attempt in case.attempts if attempt.id.stage in ASIDE]
    return bool(aside) and not any(attempt.is_active for attempt in aside)


FAULTS: list[tuple[Callable[[list[Dataset]], list[Dataset]], str, str, bool]] = [
    (_not_a_ct, "NOT_CT", "not a CT", True),
    (_two_patients, "MIXED_SERIES", "disagree in Patient", False),
    (_missing_slice, "MISSING_SLICES", "Slices are missing", True),
    (_scout, "LOCALIZER", "scout", True),
    (_no_lung, "LUNGS_NOT_FOUND", "No lungs were found", True),
]


@pytest.mark.parametrize(("fault", "code", "words", "told"), FAULTS, ids=[code for _, code, _, _ in FAULTS])
def test_unusable_series_is_rejected_and_pacs_hears_why(
    node: RunningNode,
    pacs: StorageFolder,
    tps: StorageFolder,
    tmp_path: Path,
    thorax_instances: list[Dataset],
    fault: Callable[[list[Dataset]], list[Dataset]],
    code: str,
    words: str,
    told: bool,
) -> None:
    datasets = fault(deepcopy(thorax_instances))
    for number, dataset in enumerate(datasets):  # a series of its own
        dataset.SeriesInstanceUID = f"2.25.77.{len(code)}.{ord(code[0])}"
        dataset.SOPInstanceUID = f"{dataset.SeriesInstanceUID}.{number + 1}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    before, known = {case.case_id for case in node.cases()}, set(pacs.instances())
    node.send(save_instances(datasets, tmp_path / "ct"))
    (case,) = [c for c in node.finished_cases(len(before) + 1) if c.case_id not in before]
    assert (case.state, case.code) == (CaseState.REJECTED, code), node.log()
    assert words in case.message
    assert eventually(lambda: _notice_is_over(node, case.case_id), 60.0), node.log()
    received = [dcmread(path) for path in set(pacs.instances()) - known]
    assert [dataset.SOPClassUID for dataset in received] == ([SecondaryCaptureImageStorage] if told else [])
    for dataset in received:
        assert dataset.StudyInstanceUID == datasets[0].StudyInstanceUID
        assert (dataset.PatientID, dataset.PatientName) == (datasets[0].PatientID, datasets[0].PatientName)
        assert code in dataset.ImageComments
        assert words in dataset.ImageComments
        assert dataset.SeriesInstanceUID != datasets[0].SeriesInstanceUID
    assert tps.instances() == []
    shown = node.perfnode("show", case.case_id[:8])
    assert code in shown.stdout
    assert words in shown.stdout
    assert node.answers()
