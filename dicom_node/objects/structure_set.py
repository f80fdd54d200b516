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
from dataclasses import replace
from itertools import chain

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from dicom_node.errors import EncodingError
from dicom_node.objects import codes
from dicom_node.objects.codes import RoiType
from dicom_node.objects.contour_sequence import CONTOUR_SEQUENCE, CtPlane, contour_sequence, ct_planes
from dicom_node.objects.contours import trace_contours
from dicom_node.objects.kinds import ObjectRole
from dicom_node.objects.profile import StructureGroup, StructureSetProfile
from dicom_node.objects.provenance import ResultContext, ascii_text
from dicom_node.objects.rois import Roi, function_rois, lobe_rois, lung_rois
from dicom_node.objects.source_series import SourceSeries, instance_reference
from inference.geometry import Box, Grid
from inference.lung_box import lung_box
from inference.volumes import FunctionRegions, LobeMap, require_same_grid

_KIND = "structure set"
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management: retired, yet what planning systems expect in RT Referenced Study Sequence."""


def encode_structure_set(
    lobes: LobeMap,
    regions: FunctionRegions,
    context: ResultContext,
    profile: StructureSetProfile | None = None,
    role: ObjectRole | None = None,
) -> Dataset:
    """Write lungs, lobes and functional regions as an RT Structure Set.

    Args:
        lobes: lungs and lobes on the grid of the CT.
        regions: functional regions on the same grid.
        context: where the result comes from and who made it.
        profile: what the planning system wants; the generic one by default.
        role: which of the profile's structure sets (`StructureSetProfile.contents`); the first by default.

    Returns:
        A dataset ready for `save_as(path, enforce_file_format=True)`; implicit VR little endian.

    Raises:
        GridMismatch: lobes and regions lie on different grids.
        EncodingError: they are not on the grid of the CT, the lobes are another segmenter's than `context` says, or
            there is no lung.
    """
    profile = profile or StructureSetProfile()
    role = role or next(iter(profile.contents()))
    require_same_grid(lobes.grid, regions.grid)
    context.source.require_grid(lobes.grid, _KIND)
    if lobes.segmenter != context.segmenter:
        raise EncodingError(_KIND, "the lobes were drawn by another segmenter than the context names")
    if not lobes.labels.any():
        raise EncodingError(_KIND, "there is no lung")
    box = lung_box(lobes.lungs, lobes.grid)
    planes = ct_planes(context.source, lobes.grid)[box[0]]
    lobes, regions = _cropped(lobes, regions, box)
    rois = {
        StructureGroup.LUNGS: lung_rois(lobes),
        StructureGroup.LOBES: lobe_rois(lobes),
        StructureGroup.FUNCTION: function_rois(regions, context),
    }
    chosen = chain.from_iterable(rois[group] for group in profile.contents()[role])
    context = replace(context, identifiers=context.identifiers.including(profile.digest()))
    return _encode(role, chosen, lobes.grid, planes, context, profile)


def _cropped(lobes: LobeMap, regions: FunctionRegions, box: Box) -> tuple[LobeMap, FunctionRegions]:
    """The part with the lungs: masks of the whole volume take longer to make than to outline."""
    grid = lobes.grid.cropped(box)
    return (
        LobeMap(lobes.labels[box], grid, lobes.segmenter),
        FunctionRegions(regions.high[box], regions.low[box], grid, regions.rule),
    )


def _encode(
    role: ObjectRole,
    rois: Iterable[Roi],
    grid: Grid,
    planes: tuple[CtPlane, ...],
    context: ResultContext,
    profile: StructureSetProfile,
) -> Dataset:
    dataset = _frame(role, context, profile)
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    absent = []
    for roi in rois:
        name = codes.roi_name(roi.name, profile.name_separator)
        if not roi.mask.any():
            absent.append(name)
            continue
        number = len(dataset.StructureSetROISequence) + 1
        dataset.StructureSetROISequence.append(_definition(number, name, roi, context))
        dataset.ROIContourSequence.append(_contours(number, roi, grid, planes, profile))
        dataset.RTROIObservationsSequence.append(_observation(number, roi, profile))
    dataset.StructureSetDescription = _description(context, absent)
    _keep_raw(dataset)
    return dataset


def _frame(role: ObjectRole, context: ResultContext, profile: StructureSetProfile) -> Dataset:
    """The object without its ROIs: patient, study, series, equipment, references."""
    dataset = Dataset()
    context.source.copy_identity(dataset)
    context.describe_maker(dataset)
    context.describe_series(dataset, role)
    dataset.OperatorsName = ""
    dataset.StructureSetLabel = profile.label
    dataset.StructureSetName = "Lung function from CT, research"
    dataset.StructureSetDate, dataset.StructureSetTime = context.source.date_and_time()
    dataset.ReferencedFrameOfReferenceSequence = [_references(context.source)]
    if earlier := context.earlier_instance(role):
        dataset.PredecessorStructureSetSequence = [earlier.reference()]  # PS3.3 C.8.8.5
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.file_meta = context.file_meta(RTStructureSetStorage, dataset.SOPInstanceUID, ImplicitVRLittleEndian)
    return dataset


def _references(source: SourceSeries) -> Dataset:
    """Frame of reference → study → series → every CT image (PS3.3 C.8.8.5)."""
    series = Dataset()
    series.SeriesInstanceUID = source.representative.SeriesInstanceUID
    series.ContourImageSequence = [instance_reference(header) for header in source.instances]
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_CLASS
    study.ReferencedSOPInstanceUID = source.representative.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame_of_reference = Dataset()
    frame_of_reference.FrameOfReferenceUID = source.representative.FrameOfReferenceUID
    frame_of_reference.RTReferencedStudySequence = [study]
    return frame_of_reference


def _description(context: ResultContext, absent: list[str]) -> str:
    empty = f"Empty, therefore absent: {', '.join(absent)}. " if absent else ""
    return ascii_text(
        f"RESEARCH ONLY, not approved. {empty}{context.caveats()} High and low refer to relative perfusion estimated "
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


def _contours(number: int, roi: Roi, grid: Grid, planes: tuple[CtPlane, ...], profile: StructureSetProfile) -> Dataset:
    """Item of ROI Contour Sequence (PS3.3 C.8.8.6)."""
    item = Dataset()
    item.ROIDisplayColor = list(roi.colour)
    item.ReferencedROINumber = number
    contours = trace_contours(roi.mask, grid, most_points=profile.most_points)
    item[CONTOUR_SEQUENCE] = contour_sequence(contours, planes)
    return item


def _observation(number: int, roi: Roi, profile: StructureSetProfile) -> Dataset:
    """Item of RT ROI Observations Sequence (PS3.3 C.8.8.8)."""
    kind = roi.structure.type.dataset()
    if roi.structure.laterality:
        kind.SegmentedPropertyTypeModifierCodeSequence = [roi.structure.laterality.dataset()]
    item = Dataset()
    item.ObservationNumber = number
    item.ReferencedROINumber = number
    is_function = roi.structure is codes.FUNCTION_STRUCTURE
    item.RTROIInterpretedType = profile.function_roi_type if is_function else RoiType.ORGAN
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
