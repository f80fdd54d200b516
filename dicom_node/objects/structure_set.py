"""`LobeMap` and `FunctionRegions` → RT Structure Set (PS3.3 A.19): lungs, lobes, high- and low-functional lung.

Written for planning systems rather than with a library: the libraries for it either break the 16-byte limit of DS or
lose holes. Implicit VR little endian, because some planning systems accept nothing else for this object (and because
Contour Data may grow beyond what explicit VR can say).

Contours lie in the plane of the CT image they refer to, in that image's own position; numbers have two decimals in
plane (0.01 mm) and four across. Everything is AUTOMATIC and UNAPPROVED: a person decides. A region without a voxel is
left out, and the description of the structure set names it, because planning systems differ in what they make of an
ROI without contours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from dicom_node.errors import EncodingError
from dicom_node.objects import codes
from dicom_node.objects.codes import CodedTerm, RoiName, RoiType, Structure
from dicom_node.objects.contours import PlanarContour, trace_contours
from dicom_node.objects.identifiers import ObjectKind
from dicom_node.objects.provenance import ResultContext, SourceSeries, ascii_text
from inference.anatomy import Lobe, Side
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.volumes import FunctionRegions, LobeMap, require_same_grid

_KIND = "structure set"
_UID_KIND = ObjectKind.STRUCTURE_SET
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
    series_number: int = 902

    def __post_init__(self) -> None:
        codes.roi_name(RoiName.HIGH, self.name_separator)
        if not self.label or self.label != ascii_text(self.label, 16):
            raise ValueError(f"the label must have 1 to 16 ASCII characters, got {self.label!r}")


@dataclass(frozen=True, slots=True, eq=False)
class _Roi:
    name: str
    mask: Bool[np.ndarray, "slices rows columns"]
    structure: Structure
    type: RoiType
    made_by: ModelIdentity
    family: CodedTerm
    description: str


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
    present: list[_Roi] = []
    absent: list[str] = []
    for roi in _rois(lobes, regions, context, options):
        if roi.mask.any():
            present.append(roi)
        else:
            absent.append(roi.name)
    dataset.StructureSetDescription = _description(context, absent)
    dataset.StructureSetROISequence = [_definition(n, roi, context) for n, roi in enumerate(present, start=1)]
    dataset.ROIContourSequence = [_contours(n, roi, lobes.grid, context) for n, roi in enumerate(present, start=1)]
    dataset.RTROIObservationsSequence = [_observation(n, roi) for n, roi in enumerate(present, start=1)]
    _keep_raw(dataset)
    return dataset


def _rois(
    lobes: LobeMap, regions: FunctionRegions, context: ResultContext, options: StructureSetOptions
) -> Iterator[_Roi]:
    """Every ROI in the order of the object: lungs, sides, lobes, function."""
    network = bool(lobes.segmenter.weights_sha256)
    family = codes.ARTIFICIAL_INTELLIGENCE if network else codes.MORPHOLOGICAL_OPERATIONS
    note = f"RESEARCH ONLY. {lobes.segmenter.caveat}".strip()

    def organ(name: str, mask: Bool[np.ndarray, "slices rows columns"], structure: Structure) -> _Roi:
        return _Roi(name, mask, structure, RoiType.ORGAN, lobes.segmenter, family, note)

    yield organ(RoiName.LUNGS, lobes.lungs, codes.LUNGS_STRUCTURE)
    for side in Side:
        yield organ(side.tg263, lobes.lung(side), codes.SIDE_STRUCTURES[side])
    for lobe in Lobe:
        yield organ(lobe.tg263, lobes.mask(lobe), codes.LOBE_STRUCTURES[lobe])

    model = context.perfusion_model
    family = codes.ARTIFICIAL_INTELLIGENCE if model.weights_sha256 else codes.HISTOGRAM_ANALYSIS
    note = f"RESEARCH ONLY. {context.caveats()} {regions.rule.statement()}"
    for name, mask in ((RoiName.HIGH, regions.high), (RoiName.LOW, regions.low)):
        shown = codes.roi_name(name, options.name_separator)
        yield _Roi(shown, mask, codes.FUNCTION_STRUCTURE, options.function_type, model, family, note)


def _frame(context: ResultContext, options: StructureSetOptions) -> Dataset:
    """The object without its ROIs: patient, study, series, equipment, references."""
    dataset = Dataset()
    context.source.copy_identity(dataset)
    context.describe_maker(dataset)
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = context.identifiers.instance_uid(_UID_KIND)
    dataset.SeriesInstanceUID = context.identifiers.series_uid(_UID_KIND)
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesNumber = options.series_number
    dataset.SeriesDescription = "RESEARCH lung function structures from CT"
    dataset.OperatorsName = ""
    dataset.InstanceNumber = 1
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


def _definition(number: int, roi: _Roi, context: ResultContext) -> Dataset:
    """Item of Structure Set ROI Sequence (PS3.3 C.8.8.5)."""
    algorithm = Dataset()
    algorithm.AlgorithmFamilyCodeSequence = [roi.family.dataset()]
    algorithm.AlgorithmName = ascii_text(roi.made_by.name, 64)
    algorithm.AlgorithmVersion = ascii_text(roi.made_by.version, 64)
    item = Dataset()
    item.ROINumber = number
    item.ReferencedFrameOfReferenceUID = context.source.representative.FrameOfReferenceUID
    item.ROIName = roi.name
    item.ROIDescription = ascii_text(roi.description, 1024)
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    item.ROIGenerationDescription = ascii_text(roi.made_by.label(), 64)
    item.ROIDerivationAlgorithmIdentificationSequence = [algorithm]
    return item


def _contours(number: int, roi: _Roi, grid: Grid, context: ResultContext) -> Dataset:
    """Item of ROI Contour Sequence (PS3.3 C.8.8.6)."""
    item = Dataset()
    item.ROIDisplayColor = list(codes.COLOURS[roi.name.replace("Lungs_", "Lungs^")])
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


def _observation(number: int, roi: _Roi) -> Dataset:
    """Item of RT ROI Observations Sequence (PS3.3 C.8.8.8)."""
    kind = roi.structure.type.dataset()
    if roi.structure.laterality:
        kind.SegmentedPropertyTypeModifierCodeSequence = [roi.structure.laterality.dataset()]
    item = Dataset()
    item.ObservationNumber = number
    item.ReferencedROINumber = number
    item.RTROIInterpretedType = roi.type.value
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
