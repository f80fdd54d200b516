"""`LobeMap` and `FunctionRegions` → Segmentation (PS3.3 A.51): lobes, high- and low-functional lung, voxel by voxel.

Two objects: the lobes, and apart from them the functional regions, which overlap them. Where segments of one object
overlap, OHIF may leave out whole slices without a word (cornerstone3D issue 2846). BINARY, because archives in use
refuse the newer LABELMAP. On the planning CT's own grid; of each segment only the slices that hold a voxel of it.

highdicom builds the functional groups (see `highdicom_objects`) from a stand-in of one pixel per slice and segment,
which only says where frames are wanted: it needs the regions side by side as whole volumes otherwise, a gigabyte for
an ordinary CT. The pixels are packed here, frame by frame, each from the slice that lies at the frame's position, in
ascending order of position along row × column as in the Parametric Map.

A region without a voxel is left out, and the description names it; the remaining segments are numbered from 1 without
a gap, as BINARY wants (PS3.3 C.8.20.2), so a segment is found by its label (`segment_numbers`) and not by a number.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from highdicom.seg import Segmentation as HighdicomSegmentation
from jaxtyping import Bool
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from dicom_node.errors import EncodingError
from dicom_node.objects import codes
from dicom_node.objects.highdicom_objects import concept, mend, source_images
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.provenance import ResultContext, ascii_text
from dicom_node.objects.rois import Roi, function_rois, lobe_rois
from inference.geometry import Grid
from inference.volumes import FunctionRegions, LobeMap, require_same_grid

LOBES = ObjectRole(ObjectKind.SEGMENTATION, "lobes")
FUNCTION = ObjectRole(ObjectKind.SEGMENTATION, "function")
_LABELS = {LOBES: "LUNG_LOBES", FUNCTION: "LUNG_FUNCTION"}
_KIND = "segmentation"
_FRAMES_PER_BYTE = 8
"""Frames after which packed bits end at a byte, whatever the size of a frame."""


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Which segments there are and in which slices."""

    descriptions: list[SegmentDescription]
    occupied: list[Bool[np.ndarray, " slices"]]
    """Per segment: slices that hold a voxel of it."""
    absent: list[str]
    """Names of regions without a voxel."""


def encode_segmentation(lobes: LobeMap, regions: FunctionRegions, context: ResultContext, role: ObjectRole) -> Dataset:
    """Write lobes or functional regions as a binary Segmentation.

    The returned dataset is ready for `save_as(path, enforce_file_format=True)`; explicit VR little endian.

    Args:
        lobes: lungs and lobes on the grid of the CT.
        regions: functional regions on the same grid.
        context: where the result comes from and who made it.
        role: `LOBES` or `FUNCTION`.

    Raises:
        GridMismatch: lobes and regions lie on different grids.
        EncodingError: they are not on the grid of the CT, the lobes are another segmenter's than `context` says, or no
            region of this role has a voxel.
    """
    require_same_grid(lobes.grid, regions.grid)
    context.source.require_grid(lobes.grid, _KIND)
    if lobes.segmenter != context.segmenter:
        raise EncodingError(_KIND, "the lobes were drawn by another segmenter than the context names")
    plan = _plan(_rois(lobes, regions, context, role), context, role)
    if not plan.descriptions:
        raise EncodingError(_KIND, f"none of its regions ({', '.join(plan.absent)}) has a voxel")
    # A plain dataset: highdicom's own keeps tables of the frames it made, and would read the changed ones by them.
    dataset = Dataset(_build(plan, lobes.grid, context, role))
    slices = _order_frames(dataset, lobes.grid)
    dataset.Rows, dataset.Columns = lobes.grid.shape[1:]
    dataset.SegmentsOverlap = "NO"
    dataset.PixelData = _packed(_frames(_rois(lobes, regions, context, role), slices))
    _describe(dataset, plan.absent, context, role)
    return dataset


def segment_numbers(segmentation: Dataset) -> dict[str, int]:
    """Segment Number (0062,0004) of each region by its name; regions without a voxel have none."""
    return {str(item.SegmentLabel): int(item.SegmentNumber) for item in segmentation.SegmentSequence}


def _rois(lobes: LobeMap, regions: FunctionRegions, context: ResultContext, role: ObjectRole) -> Iterator[Roi]:
    # Drawn twice rather than kept: five lobes as masks are more memory than the lobe map they come from.
    return lobe_rois(lobes) if role == LOBES else function_rois(regions, context)


def _plan(rois: Iterable[Roi], context: ResultContext, role: ObjectRole) -> _Plan:
    plan = _Plan([], [], [])
    for place, roi in enumerate(rois, start=1):
        occupied = np.any(roi.mask, axis=(1, 2))
        if not occupied.any():
            plan.absent.append(roi.name)
            continue
        plan.descriptions.append(
            # By its own place, whether or not others are empty.
            _description(len(plan.descriptions) + 1, roi, context.identifiers.tracking_uid(role, place))
        )
        plan.occupied.append(occupied)
    return plan


def _description(number: int, roi: Roi, tracking_uid: str) -> SegmentDescription:
    """Item of Segment Sequence (PS3.3 C.8.20.4)."""
    maker = roi.made_by
    is_function = roi.structure is codes.FUNCTION_STRUCTURE
    item = SegmentDescription(
        segment_number=number,
        segment_label=str(roi.name),
        segmented_property_category=concept(roi.structure.category),
        segmented_property_type=concept(roi.structure.type),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=ascii_text(maker.name, 64),
            family=concept(roi.family),
            version=ascii_text(maker.version, 64),
            parameters={"weights_sha256": maker.weights_sha256} if maker.weights_sha256 else None,
        ),
        tracking_uid=tracking_uid,
        tracking_id=str(roi.name),
        anatomic_regions=[concept(codes.LUNG)] if is_function else None,
        display_color=CIELabColor.from_rgb(*roi.colour),
    )
    if roi.structure.laterality:
        kind = item.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [roi.structure.laterality.dataset()]
    item.SegmentDescription = ascii_text(roi.description, 1024)
    return item


def _build(plan: _Plan, grid: Grid, context: ResultContext, role: ObjectRole) -> HighdicomSegmentation:
    images = source_images(context.source, grid)
    for image in images:
        image.Rows, image.Columns = 1, 1
    made_by = context.equipment
    return HighdicomSegmentation(
        source_images=images,
        pixel_array=np.stack(plan.occupied, axis=-1)[:, np.newaxis, np.newaxis, :],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=plan.descriptions,
        series_instance_uid=context.identifiers.series_uid(role),
        series_number=role.series.series_number,
        sop_instance_uid=context.identifiers.instance_uid(role),
        instance_number=1,
        manufacturer=made_by.manufacturer,
        manufacturer_model_name=made_by.model_name,
        software_versions=made_by.software_version,
        device_serial_number=made_by.serial_number,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label=_LABELS[role],
        content_description=f"RESEARCH: {role.part} of the lungs from CT",
        content_creator_name="",
    )


def _order_frames(dataset: Dataset, grid: Grid) -> list[tuple[int, int]]:
    """Put frames in order of segment, then of ascending position along row × column, and number them so.

    Returns:
        Segment number and slice of each frame.
    """
    normal = np.cross(grid.direction[:, 2], grid.direction[:, 1])
    frames = dataset.PerFrameFunctionalGroupsSequence
    # Where there is one segment only, highdicom says so once for all frames.
    shared = dataset.SharedFunctionalGroupsSequence[0]
    identified = [f if "SegmentIdentificationSequence" in f else shared for f in frames]
    segments = np.array([f.SegmentIdentificationSequence[0].ReferencedSegmentNumber for f in identified])
    positions = np.array([f.PlanePositionSequence[0].ImagePositionPatient for f in frames], dtype=np.float64)
    slices = np.rint(grid.to_index(positions)[:, 0]).astype(int)
    heights = positions @ normal
    order = np.lexsort((heights, segments))
    ranks = np.unique(heights, return_inverse=True)[1] + 1
    for i, frame in enumerate(frames):
        frame.FrameContentSequence[0].DimensionIndexValues = [int(segments[i]), int(ranks[i])]
    dataset.PerFrameFunctionalGroupsSequence = Sequence([frames[i] for i in order])
    # The reader of the CT has accepted its spacing as even; highdicom is stricter and may have left this out.
    measures = shared.PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = format_number_as_ds(grid.spacing_mm[0])
    return [(int(segments[i]), int(slices[i])) for i in order]


def _frames(rois: Iterable[Roi], slices: list[tuple[int, int]]) -> Iterator[Bool[np.ndarray, "rows columns"]]:
    """The pixels of each frame, for frames in order of segment."""
    number = 0
    for roi in rois:
        mask = roi.mask
        if mask.any():
            number += 1
            yield from (mask[k] for segment, k in slices if segment == number)


def _packed(frames: Iterator[Bool[np.ndarray, "rows columns"]]) -> bytes:
    """Pixel Data of one bit per pixel: the first pixel is the lowest bit, frames follow without a gap (PS3.5 8.1.1)."""
    packed = []
    while group := list(islice(frames, _FRAMES_PER_BYTE)):
        packed.append(np.packbits(np.stack(group), bitorder="little").tobytes())
    if sum(map(len, packed)) % 2:
        packed.append(b"\0")
    return b"".join(packed)


def _describe(dataset: Dataset, absent: list[str], context: ResultContext, role: ObjectRole) -> None:
    """Put in who made it from what, and what a reader must know."""
    mend(dataset, context, role, ExplicitVRLittleEndian)
    context.refer_to_earlier_image(dataset, role)
    dataset.BodyPartExamined = codes.BODY_PART
    empty = f"Empty, therefore absent: {', '.join(absent)}. " if absent else ""
    dataset.DerivationDescription = ascii_text(
        f"RESEARCH ONLY, not approved. {empty}{context.caveats()} High and low refer to relative perfusion estimated "
        f"from CT by {context.perfusion_model.label()}; lobes by {context.segmenter.label()}.",
        1024,
    )
    dataset.ImageComments = dataset.DerivationDescription  # the one text that most viewers show
