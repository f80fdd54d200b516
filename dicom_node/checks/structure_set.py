"""Rules of the RT Structure Set: names, numbers and references (PS3.3 C.8.8.5 to C.8.8.8, TG-263).

Public validators look at each item alone; planning systems follow the references between ROIs, contours, observations
and images, and drop or misplace what does not resolve. Rules about points are in `contours`, rules about voxels in
`regions`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import CheckedObject, integer, items, numbers, raw_bytes, text
from dicom_node.checks.contours import check_contours, read_contours
from dicom_node.checks.faults import Fault
from dicom_node.checks.regions import RegionCheck
from dicom_node.checks.source_ct import SourceCt
from dicom_node.checks.surroundings import Surroundings
from dicom_node.objects.codes import LONGEST_ROI_NAME, RoiType

LONGEST_LABEL = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Roi:
    """Everything that a set says of one ROI."""

    number: int
    name: str
    definition: Dataset
    contours: list[Dataset]
    """Items of ROI Contour Sequence that refer to it."""
    observations: list[Dataset]

    @property
    def place(self) -> str:
        """How faults name it."""
        return f"ROI {self.name}" if self.name.isascii() else f"ROI number {self.number}"


def check_structure_set(checked: CheckedObject, around: Surroundings) -> Iterator[Fault]:
    """All rules of this kind."""
    rois = _rois(checked.dataset)
    yield from _check_set(checked)
    yield from _check_names(checked, rois)
    yield from _check_references(checked, rois)
    if around.ct is not None:
        yield from _check_sources(checked, around.ct)
    regions = RegionCheck(checked, around.ct, around.expected) if around.ct is not None else None
    for roi in rois:
        yield from _check_roi(checked, roi)
        contours = [contour for item in roi.contours[:1] for contour in read_contours(item)]
        yield from check_contours(checked, contours, roi.place, around.ct)
        if regions is not None:
            yield from regions.add(roi.name, roi.place, contours)
    if regions is not None:
        yield from regions.finish()


def _rois(dataset: Dataset) -> list[_Roi]:
    contours, observations = items(dataset, "ROIContourSequence"), items(dataset, "RTROIObservationsSequence")
    return [
        _Roi(
            number := integer(definition, "ROINumber"),
            text(definition, "ROIName"),
            definition,
            [item for item in contours if integer(item, "ReferencedROINumber") == number],
            [item for item in observations if integer(item, "ReferencedROINumber") == number],
        )
        for definition in items(dataset, "StructureSetROISequence")
    ]


def _check_set(checked: CheckedObject) -> Iterator[Fault]:
    label = raw_bytes(checked.dataset, "StructureSetLabel")
    label = (text(checked.dataset, "StructureSetLabel").encode("utf-8") if label is None else label).rstrip(b" \0")
    if not 1 <= len(label) <= LONGEST_LABEL or not label.isascii():
        yield checked.fault("SET_LABEL", f"Structure Set Label has {len(label)} bytes or is not ASCII")
    if not items(checked.dataset, "StructureSetROISequence"):
        yield checked.fault("SET_EMPTY", "there is no ROI")
    if text(checked.dataset, "ApprovalStatus") != "UNAPPROVED":
        yield checked.fault("SET_APPROVED", "Approval Status is not UNAPPROVED")


def _check_names(checked: CheckedObject, rois: list[_Roi]) -> Iterator[Fault]:
    for number, times in Counter(roi.number for roi in rois).items():
        if times > 1:
            yield checked.fault("ROI_NUMBER_REPEATED", f"{times} ROIs have the number {number}")
    for roi in rois:
        if not 1 <= len(roi.name) <= LONGEST_ROI_NAME or not (roi.name.isascii() and roi.name.isprintable()):
            sentence = f"the name has {len(roi.name)} characters or others than printable ASCII"
            yield checked.fault("ROI_NAME", sentence, roi.place)
    counted = Counter(roi.name.strip().casefold() for roi in rois)
    for roi in rois:
        if counted.pop(roi.name.strip().casefold(), 0) > 1:
            yield checked.fault("ROI_NAME_REPEATED", "another ROI has the same name, case aside", roi.place)


def _check_references(checked: CheckedObject, rois: list[_Roi]) -> Iterator[Fault]:
    for roi in rois:
        for found, what in ((roi.contours, "contour item"), (roi.observations, "observation")):
            if len(found) != 1:
                yield checked.fault("ROI_UNRESOLVED", f"{len(found)} {what}(s) refer to it instead of 1", roi.place)
    known = {roi.number for roi in rois}
    for keyword in ("ROIContourSequence", "RTROIObservationsSequence"):
        strays = {integer(item, "ReferencedROINumber") for item in items(checked.dataset, keyword)} - known
        for number in sorted(strays):
            yield checked.fault("ROI_UNRESOLVED", f"there is no ROI of the number {number} referred to", keyword)


def _check_roi(checked: CheckedObject, roi: _Roi) -> Iterator[Fault]:
    frame_of_reference = text(roi.definition, "ReferencedFrameOfReferenceUID")
    declared = {
        text(item, "FrameOfReferenceUID") for item in items(checked.dataset, "ReferencedFrameOfReferenceSequence")
    }
    own = text(checked.dataset, "FrameOfReferenceUID") or frame_of_reference
    if frame_of_reference != own or frame_of_reference not in declared:
        yield checked.fault("ROI_FRAME_OF_REFERENCE", "it lies in another frame of reference than the set", roi.place)
    if text(roi.definition, "ROIGenerationAlgorithm") != "AUTOMATIC":
        yield checked.fault("ROI_NOT_AUTOMATIC", "ROI Generation Algorithm is not AUTOMATIC", roi.place)
    for observation in roi.observations:
        if text(observation, "RTROIInterpretedType") not in tuple(RoiType):
            yield checked.fault("ROI_TYPE", "RT ROI Interpreted Type is not one for a lung region", roi.place)
    for item in roi.contours:
        colour = numbers(item, "ROIDisplayColor", 3)
        if not ((colour >= 0) & (colour <= 255)).all():
            yield checked.fault("ROI_COLOUR", "ROI Display Color is not three numbers from 0 to 255", roi.place)
        if "ContourSequence" in item and not items(item, "ContourSequence"):
            yield checked.fault("ROI_EMPTY", "Contour Sequence is present and empty", roi.place)


def _check_sources(checked: CheckedObject, ct: SourceCt) -> Iterator[Fault]:
    """Frame of reference → study → series → every image (PS3.3 C.8.8.5)."""
    frames_of_reference = items(checked.dataset, "ReferencedFrameOfReferenceSequence")
    studies = [study for item in frames_of_reference for study in items(item, "RTReferencedStudySequence")]
    series = [item for study in studies for item in items(study, "RTReferencedSeriesSequence")]
    images = [text(i, "ReferencedSOPInstanceUID") for item in series for i in items(item, "ContourImageSequence")]
    header = ct.representative
    if [text(study, "ReferencedSOPInstanceUID") for study in studies] != [text(header, "StudyInstanceUID")]:
        yield checked.fault("SET_SOURCES", "the study referred to is not that of the CT")
    if [text(item, "SeriesInstanceUID") for item in series] != [text(header, "SeriesInstanceUID")]:
        yield checked.fault("SET_SOURCES", "the series referred to is not that of the CT")
    if sorted(images) != sorted(ct.sop_instance_uids):  # whole instances, whatever their frames
        strays = len(set(images) - set(ct.sop_instance_uids))
        missing = len(set(ct.sop_instance_uids) - set(images))
        sentence = f"of the images listed {strays} are not of the CT, {missing} of the CT are not listed"
        yield checked.fault("SET_SOURCES", sentence)
    if [text(item, "FrameOfReferenceUID") for item in frames_of_reference] != [text(header, "FrameOfReferenceUID")]:
        yield checked.fault("SET_SOURCES", "the frame of reference referred to is not that of the CT")
