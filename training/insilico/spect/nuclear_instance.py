"""From a SPECT to the NM object that a hospital's workstation would have sent (PS3.3 A.5)."""

import numpy as np
from jaxtyping import UInt16
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian, NuclearMedicineImageStorage
from pydicom.valuerep import format_number_as_ds

from inference.ct.instances import IMPLEMENTATION_CLASS_UID, PhantomPatient
from inference.geometry import Grid
from inference.volumes import SeriesReference
from training.insilico.spect.spect_protocol import SpectProtocol
from training.insilico.spect.spect_volume import SpectVolume
from training.insilico.uids import derived_uid
from training.nuclear_image import RECONSTRUCTED, SLICE_VECTOR

FULL_SCALE = 30_000
"""Stored value of the brightest voxel: counts are relative, and no attribute of the object carries a scale."""
HEADS = 2


def nuclear_instance(
    spect: SpectVolume, *, patient: PhantomPatient, ct: SeriesReference, institution: str
) -> FileDataset:
    """Write a SPECT as one Nuclear Medicine Image Storage instance with file meta information.

    It lies in the study and in the frame of reference of the CT, as from a hybrid device. Equal arguments give equal
    bytes.

    Args:
        spect: the image.
        patient: see `dicom_patient`.
        ct: the CT of the same patient.
        institution: Institution Name (0008,0080).

    Raises:
        ValueError: image and CT lie in different frames of reference.
    """
    if spect.grid.frame_of_reference_uid != ct.frame_of_reference_uid:
        raise ValueError("the SPECT lies in another frame of reference than the CT")
    series = derived_uid("nuclear medicine series", ct.study_instance_uid, spect.protocol.name, spect.method)
    instance = derived_uid("nuclear medicine image", series)
    dataset = FileDataset("", {}, file_meta=_meta(instance), preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = NuclearMedicineImageStorage, instance
    _describe_patient_and_study(dataset, patient, ct)
    _describe_series(dataset, series, patient, ct, institution, spect.protocol)
    _describe_acquisition(dataset, spect)
    _describe_rotation(dataset, spect.protocol)
    slices, grid = _slices(spect)
    _place(dataset, grid, on_top=spect.protocol.first_slice_on_top)
    _describe_pixels(dataset, slices)
    return dataset


def _meta(instance: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = NuclearMedicineImageStorage
    meta.MediaStorageSOPInstanceUID = UID(instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = "PERFUSION_NODE"
    return meta


def _describe_patient_and_study(dataset: FileDataset, patient: PhantomPatient, ct: SeriesReference) -> None:
    """Patient (PS3.3 C.7.1.1) and General Study (C.7.2.1): those of the CT."""
    dataset.PatientName = patient.name
    dataset.PatientID = patient.patient_id
    dataset.PatientBirthDate = patient.birth_date
    dataset.PatientSex = patient.sex
    dataset.StudyInstanceUID = ct.study_instance_uid
    dataset.StudyDate, dataset.StudyTime = patient.date, patient.time
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = "1"
    dataset.AccessionNumber = ""
    dataset.StudyDescription = patient.study_description


def _describe_series(
    dataset: FileDataset,
    series: str,
    patient: PhantomPatient,
    ct: SeriesReference,
    institution: str,
    protocol: SpectProtocol,
) -> None:
    """General Series (C.7.3.1), Frame of Reference (C.7.4.1), General Equipment (C.7.5.1), orientation (C.8.4.6)."""
    dataset.Modality = "NM"
    dataset.SeriesInstanceUID = series
    dataset.SeriesNumber = 2
    dataset.SeriesDate, dataset.SeriesTime = patient.date, patient.time
    dataset.SeriesDescription = patient.series_description
    dataset.ProtocolName = protocol.name
    dataset.BodyPartExamined = "CHEST"
    dataset.FrameOfReferenceUID = ct.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer = "perfusion-node"
    dataset.ManufacturerModelName = protocol.camera
    dataset.InstitutionName = institution
    dataset.SoftwareVersions = "1"
    lying = _coded(codes.cid19.Recumbent)
    lying.PatientOrientationModifierCodeSequence = Sequence([_coded(codes.cid20.Supine)])
    dataset.PatientOrientationCodeSequence = Sequence([lying])
    dataset.PatientGantryRelationshipCodeSequence = Sequence([_coded(codes.cid21.Headfirst)])


def _describe_acquisition(dataset: FileDataset, spect: SpectVolume) -> None:
    """General Image (C.7.6.1), NM Image (C.8.4.9) and NM Isotope (C.8.4.10)."""
    protocol = spect.protocol
    dataset.ImageType = ["ORIGINAL", "PRIMARY", RECONSTRUCTED, "EMISSION"]
    dataset.InstanceNumber = 1
    dataset.AcquisitionDate, dataset.AcquisitionTime = dataset.StudyDate, dataset.StudyTime
    dataset.ContentDate, dataset.ContentTime = dataset.StudyDate, dataset.StudyTime
    dataset.CountsAccumulated = spect.counts
    dataset.AcquisitionTerminationCondition = "TIME"
    dataset.CorrectedImage = ["ATTN", "SCAT"] if protocol.reconstruction.scatter_corrected else ["ATTN"]
    window, limits = Dataset(), Dataset()
    limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = (_decimal(v) for v in protocol.window_kev)
    window.EnergyWindowName = "Tc-99m"
    window.EnergyWindowRangeSequence = Sequence([limits])
    dataset.EnergyWindowInformationSequence = Sequence([window])
    drug = Dataset()
    drug.Radiopharmaceutical = "Tc-99m MAA"
    drug.RadiopharmaceuticalRoute = "Intravenous"
    drug.RadionuclideTotalDose = _decimal(protocol.activity_mbq)
    drug.RadionuclideCodeSequence = Sequence([_coded(codes.cid18._99mTechnetium)])
    drug.RadiopharmaceuticalCodeSequence = Sequence([_coded(codes.cid25.TechnetiumTc99mAggregatedAlbumin)])
    dataset.RadiopharmaceuticalInformationSequence = Sequence([drug])


def _describe_rotation(dataset: FileDataset, protocol: SpectProtocol) -> None:
    """NM Multi-frame (C.8.4.8) but for the slices, and NM Tomo Acquisition (C.8.4.12): two heads, half a turn each."""
    dataset.NumberOfEnergyWindows = dataset.NumberOfDetectors = dataset.NumberOfRotations = 1
    turn = Dataset()
    turn.RotationDirection = "CC"
    turn.ScanArc = _decimal(360.0 / HEADS)
    turn.AngularStep = _decimal(360.0 / protocol.views)
    turn.StartAngle = _decimal(0.0)
    turn.ActualFrameDuration = round(1000.0 * protocol.seconds_per_view)
    turn.NumberOfFramesInRotation = protocol.views // HEADS
    dataset.RotationInformationSequence = Sequence([turn])


def _slices(spect: SpectVolume) -> tuple[UInt16[np.ndarray, "slices rows columns"], Grid]:
    """Stored values in the protocol's order of slices, and the grid of the first slice's position."""
    brightest = float(spect.values.max())
    stored = np.round(spect.values * (FULL_SCALE / brightest if brightest > 0 else 1.0)).astype("<u2")
    return (stored[::-1] if spect.protocol.first_slice_on_top else stored), spect.grid


def _place(dataset: FileDataset, grid: Grid, *, on_top: bool) -> None:
    """NM Detector (C.8.4.11) and NM Reconstruction (C.8.4.15): the first slice, and the way to the others."""
    first = grid.to_patient_mm(np.array([grid.shape[0] - 1.0 if on_top else 0.0, 0.0, 0.0]))
    detector = Dataset()
    detector.CollimatorType = "PARA"
    detector.FocalDistance = "0"
    detector.ImagePositionPatient = [_decimal(v) for v in first]
    detector.ImageOrientationPatient = [_decimal(v) for v in (*grid.direction[:, 2], *grid.direction[:, 1])]
    dataset.DetectorInformationSequence = Sequence([detector])
    dataset.PixelSpacing = [_decimal(grid.spacing_mm[1]), _decimal(grid.spacing_mm[2])]
    dataset.SliceThickness = _decimal(grid.spacing_mm[0])
    dataset.SpacingBetweenSlices = _decimal(-grid.spacing_mm[0] if on_top else grid.spacing_mm[0])
    dataset.NumberOfSlices = grid.shape[0]
    dataset.SliceVector = list(range(1, grid.shape[0] + 1))
    dataset.FrameIncrementPointer = SLICE_VECTOR


def _describe_pixels(dataset: FileDataset, stored: UInt16[np.ndarray, "slices rows columns"]) -> None:
    """NM Image Pixel (C.8.4.7) and Multi-frame (C.7.6.6)."""
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = str(FULL_SCALE // 2), str(FULL_SCALE)
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"


def _coded(code: Code) -> Dataset:
    """One item of a code sequence (PS3.3 table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2)."""
    return format_number_as_ds(round(float(value), 9) + 0.0)
