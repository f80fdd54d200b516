"""Tiny CT instances for tests of the network and the spool: a few hundred bytes each, every byte known."""

from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from dicom_node.reception.spool import ReceivedBytes

SERIES = "1.2.826.0.1.3680043.8.498.1"
CANARY = "CANARY^NAME"


def small_ct(number: int = 1, *, series: str = SERIES, side: int = 4, fill: int = 1) -> Dataset:
    """One slice of `side` x `side` pixels."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{series}.{number}"
    dataset.Modality = "CT"
    dataset.PatientName = CANARY
    dataset.PatientID = "CANARY-ID"
    dataset.ReferencedImageSequence = Sequence([Dataset()])
    dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.8.498"
    dataset.SeriesInstanceUID = series
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = side
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.PixelData = bytes([fill, 0]) * side * side
    dataset["PixelData"].VR = "OW"
    return dataset


def encoded(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The dataset as it goes over the wire."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = syntax.is_implicit_VR
    buffer.is_little_endian = syntax.is_little_endian
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def received(dataset: Dataset, association_id: str = "a1", syntax: UID = ExplicitVRLittleEndian) -> ReceivedBytes:
    """The dataset as the receiver hands it to the spool."""
    return ReceivedBytes(
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        str(syntax),
        "SCANNER",
        association_id,
        encoded(dataset, syntax),
    )


def write_file(folder: Path, dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """The dataset as a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, slices: int, *, series: str = SERIES, side: int = 4) -> list[Path]:
    """A series of DICOM files in its own folder."""
    folder.mkdir(exist_ok=True)
    return [write_file(folder, small_ct(number, series=series, side=side)) for number in range(1, slices + 1)]


def dataset_bytes(path: Path) -> bytes:
    """What follows the file meta information of a DICOM file."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]
