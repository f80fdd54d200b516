"""From a CT volume to the instances a scanner would have sent: the inverse of `ct_series`.

It writes *input*, never results: the digital thorax for the self-test, the demonstration and the tests, and the
virtual cohort of the study. It lies in `inference` and not beside the writers of `dicom_node.objects` because training
needs it and may not import the node.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from inference.geometry import Grid
from inference.volumes import CtVolume

RESCALE_INTERCEPT_HU = -1024
IMPLEMENTATION_CLASS_UID = "2.25.184216953049173260871352067482103915217"
PATIENT_POSITIONS = {
    ((1, 0, 0), (0, 1, 0)): "HFS",
    ((-1, 0, 0), (0, -1, 0)): "HFP",
    ((-1, 0, 0), (0, 1, 0)): "FFS",
    ((1, 0, 0), (0, -1, 0)): "FFP",
    ((0, -1, 0), (1, 0, 0)): "HFDL",
    ((0, 1, 0), (-1, 0, 0)): "HFDR",
    ((0, 1, 0), (1, 0, 0)): "FFDL",
    ((0, -1, 0), (-1, 0, 0)): "FFDR",
}
"""Row and column direction in LPS to Patient Position, for a scanner that shows its image from the couch's foot end
(PS3.3 C.7.3.1.1.2): along a row the gantry's x axis, down a column towards the floor."""


@dataclass(frozen=True, slots=True)
class PhantomPatient:
    """Who the instances claim to show; never a real person."""

    name: str = "Thorax^Digital"
    patient_id: str = "DIGITAL-THORAX"
    birth_date: str = "19600101"
    sex: str = "O"
    study_description: str = "Digital phantom"
    series_description: str = "Digital thorax, phantom, no patient"
    date: str = "20260101"
    """Study, series, acquisition and content date: fixed, because equal input gives equal bytes."""
    time: str = "120000"


@dataclass(frozen=True, slots=True)
class CtAcquisition:
    """The machine and settings that the instances claim to come from; what is None is left out of them."""

    manufacturer: str = "perfusion-node"
    model: str = "digital phantom"
    software: str = "1"
    kvp: float = 120.0
    institution: str | None = None
    protocol: str | None = None
    """Protocol Name (0018,1030)."""
    kernel: str | None = None
    """Convolution Kernel (0018,1210)."""
    slice_thickness_mm: float | None = None
    """Of the slice profile; None for slices as thick as their distance."""
    exposure_mas: float | None = None
    """Tube current times exposure time; written as a whole number."""
    reconstruction_diameter_mm: float | None = None


def ct_instances(
    ct: CtVolume,
    *,
    patient: PhantomPatient = PhantomPatient(),
    acquisition: CtAcquisition = CtAcquisition(),
    transfer_syntax: str = ExplicitVRLittleEndian,
) -> list[FileDataset]:
    """Write a CT as single-frame CT Image Storage instances (PS3.3 A.3), one per slice, in slice order.

    Pixels are signed 16-bit with slope 1 and intercept -1024, so HU are rounded to whole numbers. Each dataset has its
    file meta information and can be saved with `save_as(path, enforce_file_format=True)`. Positions are decimal
    strings of at most 16 characters: about 0.000001 mm. Equal arguments give equal bytes.

    Args:
        ct: slices in any of the eight axial patient positions, or oblique (written as HFS).
        patient: what stands in the patient and study modules.
        acquisition: what stands of the scanner and its settings.
        transfer_syntax: an uncompressed or a losslessly compressed syntax that pydicom can encode (RLE, JPEG-LS,
            JPEG 2000).
    """
    return [_instance(ct, k, patient, acquisition, transfer_syntax) for k in range(ct.grid.shape[0])]


def patient_position(grid: Grid) -> str:
    """Patient Position (0018,5100) that fits the in-plane axes of a grid; HFS when none does exactly."""
    rows, columns = (tuple(int(c) for c in np.round(grid.direction[:, axis])) for axis in (2, 1))
    return PATIENT_POSITIONS.get((rows, columns), "HFS")  # type: ignore[arg-type]


def _instance(
    ct: CtVolume, k: int, patient: PhantomPatient, acquisition: CtAcquisition, transfer_syntax: str
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(ct.source.sop_instance_uids[k])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = "PERFUSION_NODE"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    _describe_patient_and_study(dataset, ct, patient)
    _describe_series(dataset, ct, patient)
    _describe_acquisition(dataset, acquisition)
    _place(dataset, ct.grid, k)
    if acquisition.slice_thickness_mm is not None:
        dataset.SliceThickness = format_number_as_ds(acquisition.slice_thickness_mm)
    stored = np.clip(np.round(ct.hu[k]) - RESCALE_INTERCEPT_HU, -32768, 32767)
    _describe_pixels(dataset, stored.astype("<i2"))
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = ct.source.sop_instance_uids[k]
    if transfer_syntax != ExplicitVRLittleEndian:
        _transcode(dataset, transfer_syntax)
    return dataset


def _describe_patient_and_study(dataset: FileDataset, ct: CtVolume, patient: PhantomPatient) -> None:
    """Patient (PS3.3 C.7.1.1) and General Study (C.7.2.1)."""
    dataset.PatientName = patient.name
    dataset.PatientID = patient.patient_id
    dataset.PatientBirthDate = patient.birth_date
    dataset.PatientSex = patient.sex
    dataset.StudyInstanceUID = ct.source.study_instance_uid
    dataset.StudyDate, dataset.StudyTime = patient.date, patient.time
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = "1"
    dataset.AccessionNumber = ""
    dataset.StudyDescription = patient.study_description


def _describe_series(dataset: FileDataset, ct: CtVolume, patient: PhantomPatient) -> None:
    """General Series (C.7.3.1) and Frame of Reference (C.7.4.1)."""
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = ct.source.series_instance_uid
    dataset.SeriesNumber = 1
    dataset.SeriesDate, dataset.SeriesTime = patient.date, patient.time
    dataset.SeriesDescription = patient.series_description
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = patient_position(ct.grid)
    dataset.FrameOfReferenceUID = ct.source.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""


def _describe_acquisition(dataset: FileDataset, acquisition: CtAcquisition) -> None:
    """General Equipment (C.7.5.1) and the settings of CT Image (C.8.2.1)."""
    dataset.Manufacturer = acquisition.manufacturer
    dataset.ManufacturerModelName = acquisition.model
    dataset.SoftwareVersions = acquisition.software
    dataset.KVP = format_number_as_ds(acquisition.kvp) if acquisition.kvp % 1.0 else str(int(acquisition.kvp))
    told = {
        "InstitutionName": acquisition.institution,
        "ProtocolName": acquisition.protocol,
        "ConvolutionKernel": acquisition.kernel,
        "Exposure": None if acquisition.exposure_mas is None else str(round(acquisition.exposure_mas)),
        "ReconstructionDiameter": acquisition.reconstruction_diameter_mm,
    }
    for keyword, value in told.items():
        if value is not None:
            setattr(dataset, keyword, format_number_as_ds(value) if isinstance(value, float) else value)


def _place(dataset: FileDataset, grid: Grid, k: int) -> None:
    """Image Plane (C.7.6.2): decimal strings of at most 16 characters (PS3.5 6.2)."""

    def decimals(values: list[float]) -> list[str]:
        return [format_number_as_ds(round(float(value), 9) + 0.0) for value in values]

    first = grid.to_patient_mm(np.array([k, 0.0, 0.0]))
    dataset.ImageOrientationPatient = decimals([*grid.direction[:, 2], *grid.direction[:, 1]])
    dataset.ImagePositionPatient = decimals(list(first))
    dataset.PixelSpacing = decimals([grid.spacing_mm[1], grid.spacing_mm[2]])
    dataset.SliceThickness = decimals([grid.spacing_mm[0]])[0]
    normal = np.cross(grid.direction[:, 2], grid.direction[:, 1])
    dataset.SliceLocation = decimals([float(normal @ first)])[0]
    dataset.InstanceNumber = k + 1


def _describe_pixels(dataset: FileDataset, stored: Int16[np.ndarray, "rows columns"]) -> None:
    """General Image (C.7.6.1), Image Pixel (C.7.6.3) and CT Image (C.8.2.1)."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.AcquisitionNumber = 1
    dataset.AcquisitionDate, dataset.AcquisitionTime = dataset.StudyDate, dataset.StudyTime
    dataset.ContentDate, dataset.ContentTime = dataset.StudyDate, dataset.StudyTime
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(RESCALE_INTERCEPT_HU), "1", "HU"
    dataset.WindowCenter, dataset.WindowWidth = "-500", "1500"
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"


def _transcode(dataset: FileDataset, transfer_syntax: str) -> None:
    uid = UID(transfer_syntax)
    if uid.is_compressed and not uid.is_deflated:
        dataset.compress(uid, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = uid
