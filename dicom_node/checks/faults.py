"""Every rule of the check as one table, and what a broken rule gives.

A code is stable: it stands in the journal, in answers of `perfnode check` and in the documentation. Sentences of
faults name attributes, numbers of frames and contours, ROIs and measured differences, never a patient's data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from dicom_node.objects.kinds import ObjectKind


class Need(StrEnum):
    """What else must be at hand to try a rule."""

    CT = "the images of the CT"
    MASKS = "the segmented regions"
    MAP = "the perfusion map"
    FIGURES = "the segmented regions and the perfusion map"
    OBJECTS = "the objects that it refers to"
    RESULT = "the result itself, which only the node has"


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold, stated once for the code, the documentation and the people who read a fault."""

    code: str
    meaning: str
    """One sentence: what holds in a right object."""
    kinds: tuple[ObjectKind, ...] = ()
    """Kinds of objects that the rule is for; empty for all."""
    need: Need | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule that an object breaks."""

    code: str
    """Code of one of `RULES`."""
    object: str
    """File name of the object."""
    sentence: str
    """What was found; no patient data."""
    where: str = ""
    """Place in the object: a ROI, a frame, an attribute; empty for the object as a whole."""

    def __post_init__(self) -> None:
        if self.code not in RULES:
            raise ValueError(f"no rule has the code {self.code}")

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.object}: {self.code}: {self.sentence}{place}"


_ANY: tuple[ObjectKind, ...] = ()
_MAP = (ObjectKind.PARAMETRIC_MAP,)
_SET = (ObjectKind.STRUCTURE_SET,)
_TWIN = (ObjectKind.MR_TWIN,)
_SEG = (ObjectKind.SEGMENTATION,)
_REPORT = (ObjectKind.REPORT,)
_PDF = (ObjectKind.SUMMARY_PDF,)
_PICTURE = (ObjectKind.SUMMARY_IMAGE, ObjectKind.REFUSAL_NOTICE)

RULE_TABLE: tuple[Rule, ...] = (
    Rule("UNREADABLE", "The file is a DICOM object that can be read to its end."),
    Rule("FILE_META_DIFFERS", "File meta information names the SOP class and instance that the dataset has."),
    Rule("UID_INVALID", "Every UID has at most 64 characters, digits and dots only, and no leading zeros (PS3.5 9.1)."),
    Rule("UID_REPEATED", "No two objects have the same SOP Instance UID, and none has that of a CT image."),
    Rule("SERIES_SHARED", "An object is neither in the series of the CT nor in that of another kind of object."),
    Rule("PRIVATE_ELEMENT", "There is no private element at any depth."),
    Rule("RESEARCH_UNSAID", "Series Description, Content Qualification or the description of the set says RESEARCH."),
    Rule("DATE_ABSENT", "Dates and times of series and content are present and valid."),
    Rule("PATIENT_DIFFERS", "Patient attributes are those of the CT, byte for byte.", _ANY, Need.CT),
    Rule("STUDY_DIFFERS", "Study attributes and Study Instance UID are those of the CT.", _ANY, Need.CT),
    Rule("FRAME_OF_REFERENCE_DIFFERS", "The frame of reference is that of the CT.", _ANY, Need.CT),
    # Parametric Map
    Rule("MAP_FRAMES", "Frames, their functional groups and the length of Float Pixel Data agree.", _MAP),
    Rule("MAP_FRAME_ORDER", "Frames ascend along row direction x column direction and are numbered so.", _MAP),
    Rule("MAP_ANATOMY_ABSENT", "Frame Anatomy is present with a region and a laterality.", _MAP),
    Rule("MAP_QUANTITY", "The quantity is Perfusion, the unit %, slope 1, intercept 0.", _MAP),
    Rule("MAP_NOT_FINITE", "Every value is a number: neither NaN nor infinite.", _MAP),
    Rule("MAP_NEGATIVE", "No value is below 0.", _MAP),
    Rule("MAP_OUT_OF_RANGE", "Every value lies within the range of the real world value mapping.", _MAP),
    Rule("MAP_GEOMETRY", "Matrix, pixel spacing and orientation are those of the CT.", _MAP, Need.CT),
    Rule("MAP_SLICES", "Every CT image has exactly one frame at its position.", _MAP, Need.CT),
    Rule("MAP_SOURCE_IMAGE", "Each frame names the CT image at its position as its source.", _MAP, Need.CT),
    Rule("MAP_VALUES_DIFFER", "The values are those of the result, in percent.", _MAP, Need.RESULT),
    # RT Structure Set
    Rule("SET_LABEL", "Structure Set Label has 1 to 16 ASCII characters.", _SET),
    Rule("SET_EMPTY", "There is at least one ROI.", _SET),
    Rule("SET_APPROVED", "Approval Status is UNAPPROVED.", _SET),
    Rule("SET_SOURCES", "The set refers to study, series and exactly the images of the CT.", _SET, Need.CT),
    Rule("ROI_NUMBER_REPEATED", "ROI Numbers are unique.", _SET),
    Rule("ROI_NAME", "ROI Names have 1 to 16 printable ASCII characters.", _SET),
    Rule("ROI_NAME_REPEATED", "ROI Names are unique whatever their case.", _SET),
    Rule("ROI_UNRESOLVED", "Each ROI has one contour item and one observation, and these refer to an ROI.", _SET),
    Rule("ROI_FRAME_OF_REFERENCE", "Each ROI lies in the frame of reference of the set.", _SET),
    Rule("ROI_NOT_AUTOMATIC", "ROI Generation Algorithm is AUTOMATIC.", _SET),
    Rule("ROI_TYPE", "RT ROI Interpreted Type is ORGAN, AVOIDANCE or CONTROL.", _SET),
    Rule("ROI_COLOUR", "ROI Display Color is three numbers from 0 to 255.", _SET),
    Rule("ROI_EMPTY", "A Contour Sequence that is present has contours.", _SET),
    Rule("CONTOUR_TYPE", "Every contour is CLOSED_PLANAR.", _SET),
    Rule("CONTOUR_NUMBERS", "Contour Data is numbers of at most 16 bytes each (DS, PS3.5 6.2).", _SET),
    Rule("CONTOUR_TOO_LONG", "Contour Data has at most 65,534 bytes, the limit of explicit VR.", _SET),
    Rule("CONTOUR_POINT_COUNT", "Number of Contour Points is a third of the count of numbers.", _SET),
    Rule("CONTOUR_TOO_FEW_POINTS", "A contour has at least three points.", _SET),
    Rule("CONTOUR_CLOSED_TWICE", "The first point of a contour is not repeated at its end.", _SET),
    Rule("CONTOUR_IMAGE", "Each contour refers to one image of the CT.", _SET, Need.CT),
    Rule("CONTOUR_OFF_PLANE", "All points lie in the plane of the image referred to, within 0.001 mm.", _SET, Need.CT),
    Rule("CONTOUR_OUTSIDE_IMAGE", "All points lie within the image referred to.", _SET, Need.CT),
    Rule("CONTOURS_OVERLAP", "Contours of one ROI in one image cover no pixel twice.", _SET, Need.CT),
    Rule("ROIS_OVERLAP", "Both lungs, the lobes, high and low function have no voxel in common.", _SET, Need.CT),
    Rule("ROI_NOT_IN_LUNGS", "Sides, lobes and function regions lie within Lungs.", _SET, Need.CT),
    Rule("SIDES_SWAPPED", "The left lung lies to the patient's left of the right lung.", _SET, Need.CT),
    Rule("ROI_ABSENT", "A set with one region of a group has every region of it that is not empty.", _SET, Need.RESULT),
    Rule("ROI_UNKNOWN", "Each ROI is a region of the result.", _SET, Need.RESULT),
    Rule(
        "ROI_SHAPE_DIFFERS",
        "Contours filled again give the region: Dice at least 0.99, volume within 1 % or 0.1 ml.",
        _SET,
        Need.MASKS,
    ),
    # Twin of the map as MR images
    Rule("TWIN_PIXELS", "Pixels are one unsigned 16-bit sample, as many as rows x columns, without rescaling.", _TWIN),
    Rule("TWIN_UNLABELLED", "Series Description says NOT FOR DOSE.", _TWIN),
    Rule("TWIN_GEOMETRY", "Each image has position, orientation, spacing and matrix of a CT image.", _TWIN, Need.CT),
    Rule("TWIN_SOURCE_IMAGE", "Each image names the CT image at its position as its source.", _TWIN, Need.CT),
    Rule("TWIN_SLICES", "Every CT image has exactly one image at its position, all in one series.", _TWIN, Need.CT),
    Rule("TWIN_VALUES_DIFFER", "Pixels are 10 x percent, rounded, 1 at least in the lungs.", _TWIN, Need.MAP),
    # Segmentation
    Rule("SEGMENT_NUMBERS", "Segments are numbered from 1 without gaps.", _SEG),
    Rule("SEGMENT_LABELS", "Segment labels are present and unique whatever their case.", _SEG),
    Rule("SEGMENT_FRAMES", "Frames, their functional groups and the length of Pixel Data agree; BINARY.", _SEG),
    Rule("SEGMENT_FRAME_ORDER", "Frames of a segment ascend along row direction x column direction.", _SEG),
    Rule(
        "SEGMENT_GEOMETRY", "Matrix, spacing and orientation are the CT's; no image twice in a segment.", _SEG, Need.CT
    ),
    Rule("SEGMENT_SOURCE_IMAGE", "Each frame names the CT image at its position as its source.", _SEG, Need.CT),
    Rule(
        "SEGMENT_ABSENT",
        "A segmentation with one region of a group has every region of it that is not empty.",
        _SEG,
        Need.RESULT,
    ),
    Rule("SEGMENT_UNKNOWN", "Each segment is a region of the result.", _SEG, Need.RESULT),
    Rule("SEGMENT_SHAPE_DIFFERS", "Each segment has exactly the voxels of its region.", _SEG, Need.RESULT),
    # Structured report
    Rule("REPORT_VERIFIED", "No person is named as having verified the report.", _REPORT),
    Rule(
        "REPORT_REFERENCE",
        "Instances referred to are among the objects given and have that SOP class.",
        _REPORT,
        Need.OBJECTS,
    ),
    Rule("REPORT_SEGMENT", "Segments referred to are those of the lobe named.", _REPORT, Need.OBJECTS),
    Rule("REPORT_LOBES", "Each lobe that has voxels has one group of measurements.", _REPORT),
    Rule("REPORT_RANGE", "Volumes and percentages are possible.", _REPORT),
    Rule("REPORT_SHARES", "The lobes' shares of perfusion sum to 100 % within rounding.", _REPORT),
    Rule("REPORT_FIGURES_DIFFER", "The figures of each lobe are those of the result.", _REPORT, Need.FIGURES),
    # Documents and pictures
    Rule("PDF_INVALID", "The document is a PDF: it begins with %PDF and ends with %%EOF.", _PDF),
    Rule("PDF_LENGTH", "Encapsulated Document Length is the length without padding.", _PDF),
    Rule("PICTURE_PIXELS", "Pixel Data has rows x columns x samples bytes, padded to even length.", _PICTURE),
    Rule(
        "BURNED_IN_UNSAID",
        "Burned In Annotation of a page that names the patient is YES.",
        (*_PDF, ObjectKind.SUMMARY_IMAGE),
    ),
)
"""All rules in the order they are tried."""

RULES: Mapping[str, str] = MappingProxyType({rule.code: rule.meaning for rule in RULE_TABLE})
"""Code of each rule and what holds in a right object."""
