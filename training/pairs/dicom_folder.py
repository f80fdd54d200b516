"""A folder of DICOM files in any order and depth, sorted by patient and series from their headers.

Nothing is decoded here, and nothing is left out: what cannot be read is counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from training.pairs.pair import SeriesFiles

_HEADER = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID",
    "SeriesInstanceUID", "FrameOfReferenceUID", "StudyDate", "SeriesDate", "AcquisitionDate", "ImageType",
    "SeriesDescription", "StudyDescription", "CorrectedImage", "RadiopharmaceuticalInformationSequence", "SeriesType",
    "SliceThickness",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One DICOM file and the header that finding pairs needs."""

    path: Path
    header: Dataset

    def text(self, keyword: str) -> str:
        """A value as text; empty where there is none."""
        return str(self.header.get(keyword) or "").strip()


@dataclass(frozen=True, slots=True)
class FoundPatient:
    """All files with one Patient ID."""

    patient_id: str
    """Empty for files that have none: those are never one patient."""
    files: tuple[FoundFile, ...]

    @property
    def persons(self) -> frozenset[tuple[str, str]]:
        """Different pairs of name and birth date; more than one is no patient but a mix-up."""
        pairs = {(each.text("PatientName").upper().rstrip("^ "), each.text("PatientBirthDate")) for each in self.files}
        return frozenset(pair for pair in pairs if all(pair))

    def series(self, sop_classes: frozenset[str]) -> tuple[tuple[FoundFile, ...], ...]:
        """Files of some classes of object, by series, in the order of Series Instance UIDs."""
        groups: dict[str, dict[str, FoundFile]] = {}
        for each in self.files:
            if each.text("SOPClassUID") in sop_classes:
                groups.setdefault(each.text("SeriesInstanceUID"), {}).setdefault(each.text("SOPInstanceUID"), each)
        return tuple(tuple(groups[uid].values()) for uid in sorted(groups))

    @property
    def frames(self) -> Mapping[str, str]:
        """Frame of Reference UID of every object that names one, by SOP Instance UID."""
        return {each.text("SOPInstanceUID"): each.text("FrameOfReferenceUID") for each in self.files}


@dataclass(frozen=True, slots=True)
class FoundFolder:
    """Everything in a folder."""

    patients: tuple[FoundPatient, ...]
    not_dicom: tuple[Path, ...]
    """Files that are no DICOM objects, or damaged."""
    links: int
    """How many links there are; they are not followed."""


def read_folder(folder: Path) -> FoundFolder:
    """Read all headers in a folder and its subfolders. A DICOMDIR is passed over: what it lists is looked at itself.

    Raises:
        OSError: a file cannot be read.
    """
    patients: dict[str, list[FoundFile]] = {}
    others = []
    paths = sorted(folder.rglob("*"))
    for path in (path for path in paths if path.is_file() and not path.is_symlink()):
        header = _header(path)
        if header is not None and "DirectoryRecordSequence" in header:
            continue
        if header is None or not header.get("SOPClassUID"):
            others.append(path)
        else:
            patients.setdefault(str(header.get("PatientID") or "").strip(), []).append(FoundFile(path, header))
    found = tuple(FoundPatient(name, tuple(patients[name])) for name in sorted(patients))
    return FoundFolder(found, tuple(others), links=sum(path.is_symlink() for path in paths))


def series_files(files: tuple[FoundFile, ...]) -> SeriesFiles:
    """A series by the header of its first file."""
    first = files[0]
    day = next((first.text(name) for name in ("AcquisitionDate", "SeriesDate", "StudyDate") if first.text(name)), "")
    return SeriesFiles(
        files=tuple(each.path for each in files),
        modality=first.text("Modality"),
        study_instance_uid=first.text("StudyInstanceUID"),
        series_instance_uid=first.text("SeriesInstanceUID"),
        frame_of_reference_uid=first.text("FrameOfReferenceUID"),
        day=day[:8],
    )


def _header(path: Path) -> Dataset | None:
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=[*_HEADER, "DirectoryRecordSequence"])
        for element in header:
            str(element.value)  # values are parsed when they are asked for: here, where a fault is a fault of the file
    except InvalidDicomError:
        return None
    except Exception as fault:  # foreign bytes make pydicom fail in any way
        if isinstance(fault, OSError) and fault.errno is not None:  # the disk; pydicom's own OSErrors have no number
            raise
        return None
    return header
