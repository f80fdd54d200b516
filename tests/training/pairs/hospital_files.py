"""DICOM files of one invented patient as a hospital would have them: CT, SPECT, PET, and a registration object."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    ExplicitVRLittleEndian,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    SpatialRegistrationStorage,
)

from inference.ct.instances import PhantomPatient, ct_instances
from inference.geometry import Grid
from inference.volumes import CtVolume
from training.pairs.rigid import Rigid

PATIENT = PhantomPatient(name="ZZCANARY^PAIR", patient_id="ZZCANARY-PAIR", birth_date="19500102", sex="F")
STUDY = "2.25.71"


def turned(angles_deg: Sequence[float], shift_mm: Sequence[float], about_mm: Sequence[float] = (0, 0, 0)) -> Rigid:
    """A movement: turns about x, then y, then z through a point, then a shift."""
    a, b, c = np.radians(angles_deg)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = z @ y @ x
    matrix[:3, 3] = np.array(shift_mm) + np.array(about_mm) - matrix[:3, :3] @ np.array(about_mm)
    return Rigid(matrix)


def _object(sop_class: str, uid: str, modality: str, patient: PhantomPatient) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = sop_class, uid, modality
    dataset.PatientName, dataset.PatientID = patient.name, patient.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = patient.birth_date, patient.sex
    dataset.StudyInstanceUID, dataset.StudyDate = STUDY, "20250310"
    dataset.BurnedInAnnotation = "NO"
    return dataset


def nuclear(values: np.ndarray, grid: Grid, *, uid: str = "2.25.81", patient: PhantomPatient = PATIENT) -> FileDataset:
    """An NM object of voxels on any grid. Slices go along row × column direction or against it, as the grid does."""
    dataset = _object(NuclearMedicineImageStorage, uid, "NM", patient)
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = uid + ".1", grid.frame_of_reference_uid
    dataset.SeriesDescription = "Lung perfusion"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    dataset.CorrectedImage = ["ATTN", "SCAT"]
    drug, detector = Dataset(), Dataset()
    drug.Radiopharmaceutical = "Tc-99m MAA"
    dataset.RadiopharmaceuticalInformationSequence = Items([drug])
    direction = grid.direction
    sign = np.sign(np.cross(direction[:, 2], direction[:, 1]) @ direction[:, 0])
    detector.ImagePositionPatient = [f"{v:.9g}" for v in grid.origin_mm]
    detector.ImageOrientationPatient = [f"{v:.9g}" for v in (*direction[:, 2], *direction[:, 1])]
    dataset.DetectorInformationSequence = Items([detector])
    dataset.SpacingBetweenSlices = f"{sign * grid.spacing_mm[0]:.9g}"
    dataset.SliceThickness = f"{grid.spacing_mm[0]:.9g}"
    dataset.PixelSpacing = [f"{grid.spacing_mm[1]:.9g}", f"{grid.spacing_mm[2]:.9g}"]
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = grid.shape
    dataset.NumberOfSlices, dataset.SliceVector = grid.shape[0], list(range(1, grid.shape[0] + 1))
    dataset.FrameIncrementPointer = 0x00540080
    _put(dataset, values / values.max() * 30000.0)
    return dataset


def pet(values: np.ndarray, grid: Grid) -> list[FileDataset]:
    """A PET series; each slice has its own slope."""
    files = []
    for k in range(grid.shape[0]):
        dataset = _object(PositronEmissionTomographyImageStorage, f"2.25.91.{k + 1}", "PT", PATIENT)
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "2.25.92", grid.frame_of_reference_uid
        dataset.SeriesDescription, dataset.SeriesType, dataset.Units = "MAA perfusion", ["STATIC", "IMAGE"], "BQML"
        dataset.ImageType, dataset.CorrectedImage = ["ORIGINAL", "PRIMARY"], ["DECY", "ATTN"]
        dataset.ImagePositionPatient = [f"{v:.9g}" for v in grid.to_patient_mm(np.array([k, 0.0, 0.0]))]
        dataset.ImageOrientationPatient = [f"{v:.9g}" for v in (*grid.direction[:, 2], *grid.direction[:, 1])]
        dataset.PixelSpacing = [f"{grid.spacing_mm[1]:.9g}", f"{grid.spacing_mm[2]:.9g}"]
        dataset.SliceThickness = f"{grid.spacing_mm[0]:.9g}"
        dataset.Rows, dataset.Columns = grid.shape[1:]
        slope = float(f"{max(float(values[k].max()), 1e-6) / 30000.0:.6g}")
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.6g}", "0"
        _put(dataset, values[k] / slope)
        files.append(dataset)
    return files


def _put(dataset: FileDataset, values: np.ndarray) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = np.round(values).clip(0, 65535).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def registration(own_uid: str, items: Sequence[tuple[str, Rigid]], *, images: Sequence[str] = ()) -> FileDataset:
    """A Spatial Registration object; each item has a frame of reference, or images, and a movement into `own_uid`."""
    dataset = _object(SpatialRegistrationStorage, "2.25.101", "REG", PATIENT)
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "2.25.102", own_uid
    parts = []
    for uid, movement in items:
        item, wrapped, matrix = Dataset(), Dataset(), Dataset()
        if images and uid == "":
            references = []
            for each in images:
                reference = Dataset()
                reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = NuclearMedicineImageStorage, each
                references.append(reference)
            item.ReferencedImageSequence = Items(references)
        else:
            item.FrameOfReferenceUID = uid
        matrix.FrameOfReferenceTransformationMatrixType = "RIGID"
        matrix.FrameOfReferenceTransformationMatrix = [f"{v:.12g}" for v in movement.matrix.ravel()]
        wrapped.MatrixSequence = Items([matrix])
        item.MatrixRegistrationSequence = Items([wrapped])
        parts.append(item)
    dataset.RegistrationSequence = Items(parts)
    return dataset


def ct_files(ct: CtVolume, folder: Path, *, patient: PhantomPatient = PATIENT) -> None:
    """Write a CT series."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(ct_instances(ct, patient=patient)):
        dataset.BurnedInAnnotation = "NO"
        dataset.save_as(folder / f"ct{number:03d}.dcm", enforce_file_format=True)


def save(dataset: FileDataset, path: Path) -> Path:
    """Write one object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path
