"""Single-frame CT images → the same CT as one or several Enhanced CT images (PS3.3 A.38.1)."""

from collections.abc import Sequence
from copy import deepcopy

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, EnhancedCTImageStorage, ExplicitVRLittleEndian

TOP_LEVEL = (
    "SpecificCharacterSet", "StudyDate", "StudyTime", "SeriesDate", "SeriesTime", "ContentDate", "ContentTime",
    "AccessionNumber", "Modality", "Manufacturer", "ManufacturerModelName", "ReferringPhysicianName",
    "StudyDescription", "SeriesDescription", "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "SoftwareVersions", "PatientPosition", "StudyInstanceUID", "SeriesInstanceUID", "StudyID", "SeriesNumber",
    "FrameOfReferenceUID", "PositionReferenceIndicator", "SamplesPerPixel", "PhotometricInterpretation", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
DIMENSIONS_UID = "1.2.826.0.1.3680043.8.498.77"
CONCATENATION_UID = "1.2.826.0.1.3680043.8.498.78"


def enhanced_ct(
    images: Sequence[FileDataset],
    *,
    sop_instance_uid: str = "1.2.826.0.1.3680043.8.498.79",
    parts: int = 1,
    transfer_syntax: str = ExplicitVRLittleEndian,
) -> list[FileDataset]:
    """Write single images, uncompressed and in any order, as Enhanced CT with the frames in that order.

    Args:
        images: of one series, with rescale and plane each of their own.
        sop_instance_uid: of the image; of parts, the start of their UIDs.
        parts: instances of a concatenation to cut the image into.
        transfer_syntax: uncompressed, or one that pydicom can encode.
    """
    size = -(-len(images) // parts)
    groups = [images[start : start + size] for start in range(0, len(images), size)]
    made = []
    for number, group in enumerate(groups, start=1):
        uid = sop_instance_uid if parts == 1 else f"{sop_instance_uid}.{number}"
        dataset = _enhanced(group, uid, (number - 1) * size)
        if parts > 1:
            dataset.ConcatenationUID = CONCATENATION_UID
            dataset.SOPInstanceUIDOfConcatenationSource = sop_instance_uid
            dataset.InConcatenationNumber, dataset.InConcatenationTotalNumber = number, len(groups)
            dataset.ConcatenationFrameOffsetNumber = (number - 1) * size
        if transfer_syntax != ExplicitVRLittleEndian:
            dataset.compress(UID(transfer_syntax), generate_instance_uid=False)
        made.append(dataset)
    return made


def _enhanced(images: Sequence[FileDataset], uid: str, offset: int) -> FileDataset:
    first = images[0]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = EnhancedCTImageStorage, UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword in TOP_LEVEL:
        if keyword in first:
            dataset[keyword] = deepcopy(first[keyword])
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.InstanceNumber = EnhancedCTImageStorage, uid, 1
    dataset.DeviceSerialNumber = "1"
    dataset.setdefault("SoftwareVersions", "1")
    dataset.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    dataset.PixelPresentation, dataset.VolumetricProperties = "MONOCHROME", "VOLUME"
    dataset.VolumeBasedCalculationTechnique, dataset.ContentQualification = "NONE", "RESEARCH"
    dataset.MultienergyCTAcquisition = "NO"
    dataset.setdefault("LossyImageCompression", "00")
    dataset.BurnedInAnnotation = "NO"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.AcquisitionContextSequence = []
    organization, index = Dataset(), Dataset()
    organization.DimensionOrganizationUID = index.DimensionOrganizationUID = DIMENSIONS_UID
    index.DimensionIndexPointer, index.FunctionalGroupPointer = 0x00200032, 0x00209113
    dataset.DimensionOrganizationSequence, dataset.DimensionIndexSequence = [organization], [index]
    dataset.NumberOfFrames = len(images)
    dataset.SharedFunctionalGroupsSequence = [_shared(first)]
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame(image, offset + number) for number, image in enumerate(images, start=1)
    ]
    dataset.PixelData = b"".join(image.PixelData for image in images)
    dataset["PixelData"].VR = "OW"
    return dataset


def _shared(image: Dataset) -> Dataset:
    measures, orientation, kind = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = image.PixelSpacing, image.SliceThickness
    orientation.ImageOrientationPatient = image.ImageOrientationPatient
    kind.FrameType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    kind.PixelPresentation, kind.VolumetricProperties = "MONOCHROME", "VOLUME"
    kind.VolumeBasedCalculationTechnique = "NONE"
    window, anatomy, region = Dataset(), Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = "-500", "1500"
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "51185008", "SCT", "Chest"
    anatomy.AnatomicRegionSequence, anatomy.FrameLaterality = [region], "U"
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.CTImageFrameTypeSequence, shared.FrameVOILUTSequence = [kind], [window]
    shared.FrameAnatomySequence = [anatomy]
    irradiation = Dataset()
    irradiation.IrradiationEventUID = f"{DIMENSIONS_UID}.1"
    shared.IrradiationEventIdentificationSequence = [irradiation]
    return shared


def _frame(image: Dataset, number: int) -> Dataset:
    content, position, values = Dataset(), Dataset(), Dataset()
    content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", number, number
    content.TemporalPositionIndex = 1
    position.ImagePositionPatient = image.ImagePositionPatient
    values.RescaleIntercept, values.RescaleSlope, values.RescaleType = image.RescaleIntercept, image.RescaleSlope, "HU"
    frame = Dataset()
    frame.FrameContentSequence, frame.PlanePositionSequence = [content], [position]
    frame.PixelValueTransformationSequence = [values]
    return frame
