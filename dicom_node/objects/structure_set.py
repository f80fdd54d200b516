"""`LobeMap` and `FunctionRegions` → RT Structure Set (PS3.3 A.19): lungs, lobes, high- and low-functional lung.

Written for planning systems rather than with a library: the libraries for it either break the 16-byte limit of DS or
lose holes. Implicit VR little endian, because some planning systems accept nothing else for this object (and because
Contour Data may grow beyond what explicit VR can say).

Contours lie in the plane of the CT image they refer to, in that image's own position; numbers have two decimals in
plane (0.01 mm) and four across. Everything is AUTOMATIC and UNAPPROVED: a person decides. A region without a voxel is
left out, and the description of the structure set names it, because planning systems differ in what they make of an
ROI without contours.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from dicom_node.errors import EncodingError
from dicom_node.objects import codes
from dicom_node.objects.codes import RoiName, RoiType
from dicom_node.objects.contours import PlanarContour, trace_contours
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.provenance import ResultContext, SourceSeries, ascii_text
from dicom_node.objects.rois import Roi, function_rois, lobe_rois, lung_rois
from inference.geometry import Grid
from inference.volumes import FunctionRegions, LobeMap, require_same_grid

_KIND = "structure set"
_ROLE = ObjectRole(ObjectKind.STRUCTURE_SET)
_CONTOUR_DATA = Tag("ContourData")
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management: retired, yet what planning systems expect in RT Referenced Study Sequence."""


@dataclass(frozen=True, slots=True)
class StructureSetOptions:
    """What a site may choose."""

    name_separator: str = "^"
    """Before a custom qualifier in ROI names: `^` as in TG-263, or `_` where a planning system refuses it."""
    function_type: RoiType = RoiType.ORGAN
    """RT ROI Interpreted Type of high- and low-functional lung. AVOIDANCE says what it is for, but some planning
    systems treat that type in ways of their own."""
    label: str = "PERF RESEARCH"
    """Structure Set Label (3006,0002), at most 16 characters."""

    def __post_init__(self) -> None:
        codes.roi_name(RoiName.HIGH, self.name_separator)
        if not self.label or self.label != ascii_text(self.label, 16):
            raise ValueError(f"the label must have 1 to 16 ASCII characters, got {self.label!r}")


def encode_structure_set(
    lobes: LobeMap,
    regions: FunctionRegions,
    context: ResultContext,
    options: StructureSetOptions | None = None,
) -> Dataset:
    """Write lungs, lobes and functional regions as one RT Structure Set.

    The returned dataset is ready for `save_as(path, enforce_file_format=True)`; implicit VR little endian.

    Raises:
        GridMismatch: lobes and regions lie on different grids.
        EncodingError: they are not on the grid of the CT, the lobes are another segmenter's than `context` says, or
            there is no lung.
    """
    options = options or StructureSetOptions()
    require_same_grid(lobes.grid, regions.grid)
    context.source.require_grid(lobes.grid, _KIND)
    if lobes.segmenter != context.segmenter:
        raise EncodingError(_KIND, "the lobes were drawn by another segmenter than the context names")
    if not lobes.labels.any():
        raise EncodingError(_KIND, "there is no lung")
    dataset = _frame(context, options)
    rois = chain(lung_rois(lobes), lobe_rois(lobes), function_rois(regions, context))
    absent = _draw(dataset, rois, lobes.grid, context, options)
    dataset.StructureSetDescription = _description(context, absent)
    _keep_raw(dataset)
    return dataset


def _draw(
    dataset: Dataset, rois: Iterable[Roi], grid: Grid, context: ResultContext, options: StructureSetOptions
) -> list[str]:
    """Put in every region that has voxels, one after the other; the names of those that have none."""
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    absent = []
    for roi in rois:
        name = codes.roi_name(roi.name, options.name_separator)
        if not roi.mask.any():
            absent.append(name)
            continue
        number = len(dataset.StructureSetROISequence) + 1
        dataset.StructureSetROISequence.append(_definition(number, name, roi, context))
        dataset.ROIContourSequence.append(_contours(number, roi, grid, context))
        dataset.RTROIObservationsSequence.append(_observation(number, roi, options))
    return absent


def _frame(context: ResultContext, options: StructureSetOptions) -> Dataset:
    """The object without its ROIs: patient, study, series, equipment, references."""
    dataset = Dataset()
    context.source.copy_identity(dataset)
    context.describe_maker(dataset)
    context.describe_series(dataset, _ROLE)
    dataset.OperatorsName = ""
    dataset.StructureSetLabel = options.label
    dataset.StructureSetName = "Lung function from CT, research"
    dataset.StructureSetDate, dataset.StructureSetTime = context.source.date_and_time()
    dataset.ReferencedFrameOfReferenceSequence = [_references(context.source)]
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.file_meta = context.file_meta(RTStructureSetStorage, dataset.SOPInstanceUID, ImplicitVRLittleEndian)
    return dataset


def _references(source: SourceSeries) -> Dataset:
    """Frame of reference → study → series → every CT image (PS3.3 C.8.8.5)."""
    series = Dataset()
    series.SeriesInstanceUID = source.representative.SeriesInstanceUID
    series.ContourImageSequence = [_image(header) for header in source.headers]
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_CLASS
    study.ReferencedSOPInstanceUID = source.representative.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame_of_reference = Dataset()
    frame_of_reference.FrameOfReferenceUID = source.representative.FrameOfReferenceUID
    frame_of_reference.RTReferencedStudySequence = [study]
    return frame_of_reference


def _image(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def _description(context: ResultContext, absent: list[str]) -> str:
    empty = f"Empty, therefore absent: {', '.join(absent)}. " if absent else ""
    return ascii_text(
        f"RESEARCH ONLY, not approved. {context.caveats()} {empty}High and low refer to relative perfusion estimated "
        f"from CT by {context.perfusion_model.label()}; lobes by {context.segmenter.label()}.",
        1024,
    )


def _definition(number: int, name: str, roi: Roi, context: ResultContext) -> Dataset:
    """Item of Structure Set ROI Sequence (PS3.3 C.8.8.5)."""
    algorithm = Dataset()
    algorithm.AlgorithmFamilyCodeSequence = [roi.family.dataset()]
    algorithm.AlgorithmName = ascii_text(roi.made_by.name, 64)
    algorithm.AlgorithmVersion = ascii_text(roi.made_by.version, 64)
    item = Dataset()
    item.ROINumber = number
    item.ReferencedFrameOfReferenceUID = context.source.representative.FrameOfReferenceUID
    item.ROIName = name
    item.ROIDescription = ascii_text(roi.description, 1024)
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    item.ROIGenerationDescription = ascii_text(roi.made_by.label(), 64)
    item.ROIDerivationAlgorithmIdentificationSequence = [algorithm]
    return item


def _contours(number: int, roi: Roi, grid: Grid, context: ResultContext) -> Dataset:
    """Item of ROI Contour Sequence (PS3.3 C.8.8.6)."""
    item = Dataset()
    item.ROIDisplayColor = list(roi.colour)
    item.ReferencedROINumber = number
    item.ContourSequence = [
        _contour(n, contour, grid, context.source) for n, contour in enumerate(trace_contours(roi.mask, grid), start=1)
    ]
    return item


def _contour(number: int, contour: PlanarContour, grid: Grid, source: SourceSeries) -> Dataset:
    header = source.headers[contour.slice_index]
    # The grid is even; a CT's positions are rounded. The contour goes into the plane of its image exactly.
    on_grid = grid.to_patient_mm(np.array([contour.slice_index, 0.0, 0.0]))
    points = contour.points_mm + (np.array(header.ImagePositionPatient, dtype=np.float64) - on_grid)
    points = np.column_stack([np.round(points[:, :2], 2), np.round(points[:, 2], 4)]) + 0.0  # no "-0.00"
    text = "\\".join(["%.2f\\%.2f\\%.4f"] * len(points)) % tuple(points.ravel().tolist())
    encoded = text.encode("ascii")
    encoded += b" " * (len(encoded) % 2)
    item = Dataset()
    item.ContourImageSequence = [_image(header)]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points)
    item.ContourNumber = number
    # As bytes: lists of DS objects take ten times as long to build and to write.
    item[_CONTOUR_DATA] = RawDataElement(_CONTOUR_DATA, "DS", len(encoded), encoded, 0, True, True)
    return item


def _observation(number: int, roi: Roi, options: StructureSetOptions) -> Dataset:
    """Item of RT ROI Observations Sequence (PS3.3 C.8.8.8)."""
    kind = roi.structure.type.dataset()
    if roi.structure.laterality:
        kind.SegmentedPropertyTypeModifierCodeSequence = [roi.structure.laterality.dataset()]
    item = Dataset()
    item.ObservationNumber = number
    item.ReferencedROINumber = number
    is_function = roi.structure is codes.FUNCTION_STRUCTURE
    item.RTROIInterpretedType = options.function_type if is_function else RoiType.ORGAN
    item.ROIInterpreter = ""
    item.SegmentedPropertyCategoryCodeSequence = [roi.structure.category.dataset()]
    item.RTROIIdentificationCodeSequence = [kind]
    return item


def _keep_raw(dataset: Dataset) -> None:
    """Tell pydicom that contour bytes are already as they will be written; else it parses each on saving."""
    declared = dataset.get("SpecificCharacterSet")
    dataset.set_original_encoding(True, True, convert_encodings(declared) if declared else default_encoding)
    for roi in dataset.ROIContourSequence:
        roi.set_original_encoding(True, True, default_encoding)
        for contour in roi.ContourSequence:
            contour.set_original_encoding(True, True, default_encoding)
