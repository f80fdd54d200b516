"""Which files are what: images of a CT, objects to check, others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from dicom_node.checks.checked_object import kind_of, nested_datasets, text
from dicom_node.checks.faults import Fault
from dicom_node.checks.segmentation import segment_labels
from dicom_node.checks.source_ct import SourceCt
from dicom_node.objects.kinds import ObjectKind

_LIGHT = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "ImageType",
    "SeriesDescription", "SegmentSequence",
)  # fmt: skip
_ROI_CONTOURS = Tag("ROIContourSequence")
_CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)


@dataclass(frozen=True, slots=True)
class NotChecked:
    """A file that no rule is for."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class FoundObject:
    """A file of one of the node's kinds, known by a few attributes."""

    path: Path
    name: str
    kind: ObjectKind
    header: Dataset


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What a number of files are."""

    objects: tuple[FoundObject, ...]
    cts: tuple[SourceCt, ...]
    others: tuple[NotChecked, ...]
    faults: tuple[Fault, ...]
    """Files that could not be read."""

    def instances(self, cts: Iterable[SourceCt]) -> dict[str, str]:
        """SOP class of every object, and of the images of `cts`, by SOP Instance UID."""
        images = {text(header, "SOPInstanceUID"): text(header, "SOPClassUID") for ct in cts for header in ct.headers}
        return images | {
            text(found.header, "SOPInstanceUID"): text(found.header, "SOPClassUID") for found in self.objects
        }

    def segments(self) -> dict[str, Mapping[int, str]]:
        """Segment labels by number, by SOP Instance UID of the segmentation."""
        return {
            text(found.header, "SOPInstanceUID"): segment_labels(found.header)
            for found in self.objects
            if found.kind is ObjectKind.SEGMENTATION
        }


def survey(names: Mapping[Path, str]) -> Survey:
    """Look at each file just enough to tell what it is.

    Args:
        names: what each file is called in faults.
    """
    objects: list[FoundObject] = []
    others: list[NotChecked] = []
    faults: list[Fault] = []
    images: dict[str, list[Dataset]] = {}
    for path, name in names.items():
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(_LIGHT), force=True)
            if text(header, "SOPClassUID") in _CT_CLASSES:
                image = dcmread(path, stop_before_pixels=True, force=True)
                images.setdefault(text(image, "SeriesInstanceUID"), []).append(image)
                continue
            kind = kind_of(header)
            reason = _foreign(header, kind)
        except Exception as fault:  # foreign bytes make pydicom fail in any way
            faults.append(Fault("UNREADABLE", name, f"it cannot be read as DICOM ({type(fault).__name__})"))
            continue
        if reason:
            others.append(NotChecked(name, reason))
        elif kind is None:
            faults.append(Fault("UNREADABLE", name, "it is no DICOM object: there is no SOP Class UID"))
        else:
            objects.append(FoundObject(path, name, kind, header))
    cts, unusable = _cts(images.values())
    return Survey(tuple(objects), cts, (*others, *unusable), tuple(faults))


def ct_of(dataset: Dataset, cts: Sequence[SourceCt]) -> SourceCt | None:
    """The CT that an object belongs to: by study and frame of reference, by references, or the only one there is."""
    if len(cts) < 2:
        return cts[0] if cts else None
    same = [ct for ct in cts if _is_of_study(dataset, ct.representative)]
    if len(same) == 1:
        return same[0]
    references = _references(dataset)
    referred = [
        ct for ct in same or cts if references & {text(ct.representative, "SeriesInstanceUID"), *ct.sop_instance_uids}
    ]
    return referred[0] if len(referred) == 1 else None


def _foreign(header: Dataset, kind: ObjectKind | None) -> str:
    """Why an object is none to check; empty if it is one, or is nothing."""
    sop_class = header.get("SOPClassUID")
    if kind is None and sop_class:
        return f"{sop_class.name} is no kind of object that the node makes"
    if kind is ObjectKind.MR_TWIN and not text(header, "ImageType").startswith("DERIVED"):
        return "an MR image that is not derived"
    return ""


def _cts(series: Iterable[Sequence[Dataset]]) -> tuple[tuple[SourceCt, ...], list[NotChecked]]:
    usable: list[SourceCt] = []
    unusable: list[NotChecked] = []
    for images in series:
        try:
            usable.append(SourceCt.of(images))
        except ValueError as fault:
            unusable.append(NotChecked(f"{len(images)} CT image(s)", str(fault)))
    return tuple(usable), unusable


def _is_of_study(dataset: Dataset, header: Dataset) -> bool:
    frame_of_reference = text(dataset, "FrameOfReferenceUID")
    return text(dataset, "StudyInstanceUID") == text(header, "StudyInstanceUID") and frame_of_reference in (
        "",
        text(header, "FrameOfReferenceUID"),
    )


def _references(dataset: Dataset) -> set[str]:
    """Series and instances that an object refers to; those of single contours are left out, there are too many."""
    return {
        text(item, keyword)
        for _, item in nested_datasets(dataset, leave_out=_ROI_CONTOURS)
        for keyword in ("SeriesInstanceUID", "ReferencedSOPInstanceUID")
        if keyword in item
    }
