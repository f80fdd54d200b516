"""What of a DICOM object comes into the store: a list of what is kept, not of what is removed.

The Basic Application Level Confidentiality Profile (PS3.15 table E.1-1) names some 600 attributes to remove and leaves
all others, also free text that it does not know. A study needs few attributes, so this list is the other way round:
what does not stand here is gone, in every sequence, and so are private attributes, overlays and curves. Nothing that
stands here is free text: each value is a number, a date that was moved, a UID made anew, or a word of a closed list.
A test holds the list against the profile's table as another project keeps it.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pydicom.uid import (
    UID,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    SpatialRegistrationStorage,
)


class Rule(Enum):
    """What happens to a kept attribute."""

    NUMBER = "number"
    """Kept if it is one: DS and IS are read and written anew, so that no other characters pass."""
    UID = "uid"
    """Replaced by a keyed hash, unless it is one of the standard's own (PS3.6 annex A)."""
    DATE = "date"
    """Moved by the patient's number of days."""
    ITEMS = "items"
    """A sequence; each item is treated as the object is."""
    CODES = "codes"
    """A code sequence; codes are kept if pydicom's copy of PS3.16 has them, and their meanings come from there."""


@dataclass(frozen=True, slots=True)
class Words:
    """Kept if, and as far as, each value is one of these; a pattern must fit the whole value."""

    pattern: str

    def keeps(self, value: str) -> bool:
        """Whether a value may stay."""
        return re.fullmatch(self.pattern, value.strip()) is not None


VENDORS: Final = (
    "SIEMENS",
    "GE",
    "PHILIPS",
    "CANON",
    "TOSHIBA",
    "HITACHI",
    "MEDISO",
    "SPECTRUM",
    "UIH",
    "PERFUSION-NODE",
)
"""First word of a Manufacturer (0008,0070) by which it is kept; model and serial number of a device are not."""

MAA: Final = {"99": "Tc-99m MAA", "68": "Ga-68 MAA", "": "MAA"}
"""What any spelling of a tracer of perfusion becomes in Radiopharmaceutical (0018,0031), by the mass number in it."""

_KERNELS: Final = (
    r"[A-Z][a-z]?\d{2}[a-z]?|FC\d{2}|YA|YB|YC|YD|YE|[A-EL]|"
    r"STANDARD|STND|SOFT|LUNG|BONE|BONEPLUS|CHEST|DETAIL|EDGE|ULTRA|smooth|medium|sharp|[0-9]"
)
"""Convolution Kernel (0018,1210) as Siemens, GE, Philips and Canon name theirs, and the in-silico scanners."""

_IMAGE_TYPES: Final = (
    r"ORIGINAL|DERIVED|PRIMARY|SECONDARY|AXIAL|LOCALIZER|HELIX|VOLUME|MPR|REFORMATTED|AVERAGE|MAXIMUM|MINIMUM|"
    r"RECON TOMO|RECON GATED TOMO|TOMO|GATED TOMO|STATIC|DYNAMIC|WHOLE BODY|EMISSION|TRANSMISSION|IMAGE"
)

KEPT: Final[dict[str, Rule | Words]] = {
    # What the object is, and what it belongs to.
    "SOPClassUID": Rule.UID,
    "SOPInstanceUID": Rule.UID,
    "StudyInstanceUID": Rule.UID,
    "SeriesInstanceUID": Rule.UID,
    "FrameOfReferenceUID": Rule.UID,
    "Modality": Words("CT|NM|PT|REG"),
    "BodyPartExamined": Words("CHEST|CHESTABDOMEN|CHESTABDPELVIS|THORAX|LUNG|HEART|ABDOMEN|NECKCHEST|WHOLEBODY"),
    "ImageType": Words(_IMAGE_TYPES),
    "StudyDate": Rule.DATE,
    "SeriesDate": Rule.DATE,
    "AcquisitionDate": Rule.DATE,
    "ContentDate": Rule.DATE,
    # Links between objects.
    "ReferencedSOPClassUID": Rule.UID,
    "ReferencedSOPInstanceUID": Rule.UID,
    "ReferencedFrameNumber": Rule.NUMBER,
    "ReferencedImageSequence": Rule.ITEMS,
    "ReferencedSeriesSequence": Rule.ITEMS,
    "ReferencedInstanceSequence": Rule.ITEMS,
    "SourceImageSequence": Rule.ITEMS,
    "StudiesContainingOtherReferencedInstancesSequence": Rule.ITEMS,
    # Spatial Registration (PS3.3 C.20.2).
    "RegistrationSequence": Rule.ITEMS,
    "MatrixRegistrationSequence": Rule.ITEMS,
    "MatrixSequence": Rule.ITEMS,
    "FrameOfReferenceTransformationMatrix": Rule.NUMBER,
    "FrameOfReferenceTransformationMatrixType": Words("RIGID|RIGID_SCALE|AFFINE"),
    "RegistrationTypeCodeSequence": Rule.CODES,
    # Where the voxels lie.
    "PatientPosition": Words("(HF|FF)(S|P|DL|DR)|(L|R|A|P)F(S|P|DL|DR)"),
    "PatientOrientationCodeSequence": Rule.CODES,
    "PatientOrientationModifierCodeSequence": Rule.CODES,
    "PatientGantryRelationshipCodeSequence": Rule.CODES,
    "ImagePositionPatient": Rule.NUMBER,
    "ImageOrientationPatient": Rule.NUMBER,
    "PixelSpacing": Rule.NUMBER,
    "SliceThickness": Rule.NUMBER,
    "SpacingBetweenSlices": Rule.NUMBER,
    "GantryDetectorTilt": Rule.NUMBER,
    "TemporalPositionIndex": Rule.NUMBER,
    # Frames of a SPECT (PS3.3 C.8.4.8, C.8.4.11, C.8.4.15).
    "NumberOfFrames": Rule.NUMBER,
    "FrameIncrementPointer": Rule.NUMBER,
    "NumberOfSlices": Rule.NUMBER,
    "SliceVector": Rule.NUMBER,
    "EnergyWindowVector": Rule.NUMBER,
    "DetectorVector": Rule.NUMBER,
    "NumberOfEnergyWindows": Rule.NUMBER,
    "NumberOfDetectors": Rule.NUMBER,
    "NumberOfRotations": Rule.NUMBER,
    "DetectorInformationSequence": Rule.ITEMS,
    "RotationInformationSequence": Rule.ITEMS,
    "StartAngle": Rule.NUMBER,
    "AngularStep": Rule.NUMBER,
    "ScanArc": Rule.NUMBER,
    "ActualFrameDuration": Rule.NUMBER,
    "NumberOfFramesInRotation": Rule.NUMBER,
    "CountsAccumulated": Rule.NUMBER,
    "RotationDirection": Words("CW|CC"),
    "CollimatorType": Words("PARA|PINH|FANB|CONE|SLNT|ASTG|DIVG|NONE|UNKN|RING"),
    # What the numbers mean.
    "KVP": Rule.NUMBER,
    "ConvolutionKernel": Words(_KERNELS),
    "CorrectedImage": Words(
        "DECY|ATTN|SCAT|DTIM|MOTN|CLN|RAN|RADL|DCAL|NORM|UNIF|COR|NCO|ISPLN|PMOT|PMT|CNTS|GEOM|LIN|ENRG|NRGY|PSF|TOF"
    ),
    "Units": Words("CNTS|NONE|CM2|PCNT|CPS|BQML|MGMINML|UMOLMINML|MLMING|MLG|1CM|UMOLML|PROPCNTS|PROPCPS|GML|STDDEV"),
    "SeriesType": Words("STATIC|DYNAMIC|GATED|WHOLE BODY|IMAGE|REPROJECTION"),
    "CountsSource": Words("EMISSION|TRANSMISSION"),
    "DecayCorrection": Words("NONE|START|ADMIN"),
    "DecayFactor": Rule.NUMBER,
    "FrameReferenceTime": Rule.NUMBER,
    "ImageIndex": Rule.NUMBER,
    "EnergyWindowInformationSequence": Rule.ITEMS,
    "EnergyWindowRangeSequence": Rule.ITEMS,
    "EnergyWindowLowerLimit": Rule.NUMBER,
    "EnergyWindowUpperLimit": Rule.NUMBER,
    "RadiopharmaceuticalInformationSequence": Rule.ITEMS,
    "RadionuclideCodeSequence": Rule.CODES,
    "RadiopharmaceuticalCodeSequence": Rule.CODES,
    "RescaleSlope": Rule.NUMBER,
    "RescaleIntercept": Rule.NUMBER,
    "RescaleType": Words("HU|HU_MOD|US"),
    "SamplesPerPixel": Rule.NUMBER,
    "PhotometricInterpretation": Words("MONOCHROME[12]"),
    "Rows": Rule.NUMBER,
    "Columns": Rule.NUMBER,
    "BitsAllocated": Rule.NUMBER,
    "BitsStored": Rule.NUMBER,
    "HighBit": Rule.NUMBER,
    "PixelRepresentation": Rule.NUMBER,
    "LossyImageCompression": Words("00|01"),
    "LossyImageCompressionRatio": Rule.NUMBER,
    "LossyImageCompressionMethod": Words("ISO_10918_1|ISO_14495_1|ISO_15444_1|ISO_13818_2"),
    "BurnedInAnnotation": Words("YES|NO"),
}
"""By keyword, at every depth. Pixel data is treated apart (`stored_pixels`)."""

EMPTY: Final = (
    "AccessionNumber",
    "AcquisitionNumber",
    "PatientBirthDate",
    "PatientSex",
    "PositionReferenceIndicator",
    "ReferringPhysicianName",
    "SeriesNumber",
    "StudyID",
    "StudyTime",
)
"""Must be there (type 2 in PS3.3) and say nothing."""

_OF_NUCLEAR: Final = {
    "PatientOrientationCodeSequence": None,
    "PatientGantryRelationshipCodeSequence": None,
    "RadiopharmaceuticalInformationSequence": None,
}

WHERE_ABSENT: Final[dict[UID, dict[str, str | None]]] = {
    SpatialRegistrationStorage: {"ContentLabel": "REGISTRATION", "ContentDescription": "", "ContentTime": "000000"},
    NuclearMedicineImageStorage: {
        **_OF_NUCLEAR,
        "EnergyWindowInformationSequence": None,
        "CountsAccumulated": None,
    },
    PositronEmissionTomographyImageStorage: {
        **_OF_NUCLEAR,
        "SeriesTime": "000000",
        "AcquisitionDate": None,
        "AcquisitionTime": None,
        "ActualFrameDuration": None,
        "CollimatorType": None,
    },
}
"""What else an object of a class must have (types 1 and 2 in PS3.3 C.20.2, C.8.4 and C.8.9), and what stands there
where nothing was kept: no time of day is, and None says nothing."""
