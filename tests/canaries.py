"""A patient who must not be found: words and numbers that identify, each of them in one place of the world only.

Whoever writes one of them somewhere that is no DICOM file has leaked it. UIDs count: with the archive they name a
person.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydicom import Dataset
from pydicom.uid import UID

NAME: Final = "ZZCANARY^PHI"
BIRTH_DATE: Final = "19330303"
UID_ROOT: Final = "1.2.826.0.1.3680043.8.498.7777"
"""Every UID of the patient begins with it; nobody else's does."""
ROI_NAME: Final = "GTV ZZROINAME"
"""A planner may write anything there, so no log shows it; objects and results must, because it says what was done."""
WORDS: Final = (
    b"ZZCANARY",
    b"ZzCanary",
    BIRTH_DATE.encode(),
    b"1933-03-03",
    UID_ROOT.encode(),
    "ZZCANARY".encode("utf-16-le"),
    b"ZZROINAME",
)
"""What is looked for."""

# fmt: off
_TEXTS: Final = (
    "AccessionNumber", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy", "RequestingPhysician", "PatientComments", "ImageComments", "StudyComments",
    "StudyDescription", "SeriesDescription", "ProtocolName", "PatientAddress", "PatientTelephoneNumbers",
    "PatientMotherBirthName", "OtherPatientIDs", "IssuerOfPatientID", "StationName", "StudyID",
    "MedicalRecordLocator", "AdmissionID", "RequestedProcedureDescription", "DeviceSerialNumber",
    "AdditionalPatientHistory",
)
# fmt: on
"""Attributes that hold, or could hold, who the patient is; each gets a word of its own."""


def mark(dataset: Dataset, series: int, number: int) -> Dataset:
    """Make an instance one of this patient, in a series of its own.

    Args:
        dataset: changed and returned.
        series: from 1; one study for all.
        number: of the instance.
    """
    dataset.PatientName, dataset.PatientID = NAME, "ZZCANARY-ID"
    dataset.PatientBirthDate = BIRTH_DATE
    for place, keyword in enumerate(_TEXTS):
        setattr(dataset, keyword, f"ZZCANARY{place}")
    block = dataset.private_block(0x0009, "ZZCANARY CREATOR", create=True)
    block.add_new(0x01, "LO", "ZZCANARY private")
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID = "ZZCANARY-OTHER", "ZZCANARY issuer"
    dataset.OtherPatientIDsSequence = [other]
    dataset.StudyInstanceUID = f"{UID_ROOT}.1"
    dataset.SeriesInstanceUID = f"{UID_ROOT}.2.{series}"
    dataset.SOPInstanceUID = UID(f"{UID_ROOT}.3.{series}.{number}")
    if "FrameOfReferenceUID" in dataset:
        dataset.FrameOfReferenceUID = f"{UID_ROOT}.4"
    if hasattr(dataset, "file_meta"):
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def found_in(content: bytes) -> list[str]:
    """The words that stand in these bytes, whatever their case."""
    lower = content.lower()
    return sorted({word.decode("latin-1") for word in WORDS if word.lower() in lower})


def holding_files(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every file under a folder that holds one of the words, with the words."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and (words := found_in(path.read_bytes())):
            yield path, words
