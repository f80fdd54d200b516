"""Every odd real file ends as the table says: at the door of the spool, and when it is read."""

import io
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian

from dicom_node.errors import InvalidInstance
from dicom_node.network.acceptance import STORAGE_CLASSES
from dicom_node.network.receiver import ReceiverSettings
from dicom_node.reception.encoded_dataset import read_header
from inference.ct.pixels import slice_hu
from inference.ct.series import read_ct_files, read_ct_series
from inference.errors import UnusableSeries
from tests.odd_files import ODD_FILES, Outcome, Reception, odd_paths

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom has something to say about most of these files


def opened(path: Path) -> Dataset:
    return dcmread(path, force=True)


def dataset_bytes(path: Path) -> bytes:
    """What follows the file meta information."""
    file = io.BytesIO(path.read_bytes())
    read_preamble(file, force=True)
    _read_file_meta_info(file)
    return file.read()


def test_the_table_is_about_every_file(test_data: Path) -> None:
    assert set(odd_paths(test_data)) == set(ODD_FILES)


def is_whole(path: Path, dataset: Dataset) -> bool:
    try:
        read_header(dataset_bytes(path), str(dataset.file_meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian))
    except InvalidInstance:
        return False
    return True


def reception(path: Path, dataset: Dataset, settings: ReceiverSettings) -> Reception:
    syntax, sop_class = dataset.file_meta.get("TransferSyntaxUID"), dataset.get("SOPClassUID")
    if not syntax or not sop_class:
        return Reception.CANNOT_BE_SENT
    if syntax not in settings.transfer_syntaxes or sop_class not in STORAGE_CLASSES:
        return Reception.NO_CONTEXT
    return Reception.STORED if is_whole(path, dataset) else Reception.REFUSED


@pytest.mark.parametrize(("name", "outcome"), ODD_FILES.items(), ids=[name.rsplit("/")[-1] for name in ODD_FILES])
def test_the_spool_takes_what_the_table_says(test_data: Path, name: str, outcome: Outcome) -> None:
    path = odd_paths(test_data)[name]
    dataset = opened(path)
    assert is_whole(path, dataset) == outcome.is_whole
    assert reception(path, dataset, ReceiverSettings("NODE")) == outcome.reception
    allowed = outcome.reception_when_lossy or outcome.reception
    assert reception(path, dataset, ReceiverSettings("NODE", accept_lossy=True)) == allowed


def code_of(read: object, *args: object, **more: object) -> str:
    try:
        read(*args, **more)  # type: ignore[operator]
    except UnusableSeries as refusal:
        return refusal.code
    return ""


@pytest.mark.parametrize(("name", "outcome"), ODD_FILES.items(), ids=[name.rsplit("/")[-1] for name in ODD_FILES])
def test_the_reader_ends_as_the_table_says(test_data: Path, name: str, outcome: Outcome) -> None:
    path = odd_paths(test_data)[name]
    assert code_of(read_ct_series, [opened(path)]) == outcome.reading
    assert code_of(read_ct_series, [opened(path)], accept_lossy=True) == outcome.reading
    assert code_of(read_ct_files, [path]) in (outcome.reading, "UNREADABLE_INSTANCE")
    if opened(path).get("SOPClassUID") == CTImageStorage:
        assert code_of(slice_hu, opened(path)) == outcome.pixels
        assert code_of(slice_hu, opened(path), accept_lossy=True) == outcome.pixels_when_lossy
