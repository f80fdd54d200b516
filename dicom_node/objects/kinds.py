"""The kinds of objects that a case can give, each with its SOP class, series number and description.

A destination chooses among kinds; an object of a kind is named by its *role*: the kind and, where one kind gives
several objects (a profile of a planning system, anatomy apart from function), which of them. UIDs, file names and the
reference to an earlier result all go by role.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    MRImageStorage,
    ParametricMapStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)


class ObjectKind(StrEnum):
    """What a destination may ask for; the value is the word in the site file."""

    PARAMETRIC_MAP = "parametric-map"
    STRUCTURE_SET = "structure-set"
    MR_TWIN = "mr-twin"
    SEGMENTATION = "segmentation"
    REPORT = "report"
    SUMMARY_PDF = "summary-pdf"
    SUMMARY_IMAGE = "summary-image"
    REFUSAL_NOTICE = "refusal-notice"


@dataclass(frozen=True, slots=True)
class ObjectSeries:
    """What the series of one kind is in an archive."""

    sop_class_uid: UID
    modality: str
    series_number: int
    series_description: str
    """At most 64 ASCII characters (LO)."""
    holds: str
    """What is in it, in one sentence for the documentation."""


OBJECT_SERIES: Mapping[ObjectKind, ObjectSeries] = MappingProxyType(
    {
        ObjectKind.PARAMETRIC_MAP: ObjectSeries(
            ParametricMapStorage,
            "OT",
            901,
            "RESEARCH CT perfusion map, % of lung mean",
            "Relative perfusion as float32 on the CT's own grid, every CT slice, percent of the mean over both lungs.",
        ),
        ObjectKind.STRUCTURE_SET: ObjectSeries(
            RTStructureSetStorage,
            "RTSTRUCT",
            902,
            "RESEARCH lung function structures from CT",
            "Lungs, both sides, five lobes, high- and low-functional lung as contours; AUTOMATIC, UNAPPROVED.",
        ),
        ObjectKind.MR_TWIN: ObjectSeries(
            MRImageStorage,
            "MR",
            903,
            "RESEARCH CT perfusion 0.1 % units, NOT MR, NOT FOR DOSE",
            "The map once more as a derived MR series in 16 bit, 10 units per percent, for systems that read no "
            "Parametric Map.",
        ),
        ObjectKind.SEGMENTATION: ObjectSeries(
            SegmentationStorage,
            "SEG",
            904,
            "RESEARCH lung segments from CT",
            "Voxel masks in two objects: the five lobes, and high- and low-functional lung, which overlap them.",
        ),
        ObjectKind.REPORT: ObjectSeries(
            Comprehensive3DSRStorage,
            "SR",
            905,
            "RESEARCH lobar perfusion report from CT",
            "Volume, mean perfusion, share of perfusion and of functional lung per lobe; findings; model identity "
            "(TID 1500).",
        ),
        ObjectKind.SUMMARY_PDF: ObjectSeries(
            EncapsulatedPDFStorage,
            "DOC",
            906,
            "RESEARCH lung perfusion summary page",
            "One page for people: three views, lobar table, findings, model, rule.",
        ),
        ObjectKind.SUMMARY_IMAGE: ObjectSeries(
            SecondaryCaptureImageStorage,
            "OT",
            907,
            "RESEARCH lung perfusion summary picture",
            "The same page as a picture, for systems that show no PDF.",
        ),
        ObjectKind.REFUSAL_NOTICE: ObjectSeries(
            SecondaryCaptureImageStorage,
            "OT",
            908,
            "RESEARCH lung perfusion: NO RESULT, see picture",
            "Why a series gave no result: reason code and sentence, so that nobody waits.",
        ),
    }
)
"""PS3.4 B.5 names the classes; series numbers are a block of our own."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectRole:
    """Which object of a result: its kind and, where the kind gives several, which of them."""

    kind: ObjectKind
    part: str = ""
    """Lower-case letters, digits and hyphens; empty for the only or default object of its kind."""

    def __str__(self) -> str:
        return f"{self.kind.value}.{self.part}" if self.part else self.kind.value

    @property
    def series(self) -> ObjectSeries:
        """What its series is in an archive."""
        return OBJECT_SERIES[self.kind]
