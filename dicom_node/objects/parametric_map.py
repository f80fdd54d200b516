"""`PerfusionMap` → Parametric Map (PS3.3 A.75): float values on the planning CT's grid, one frame per CT image.

Values are percent: 100 is the mean over both lungs of this patient. Outside the lungs they are 0.0 (NaN is legal but
unusable in some viewers).

highdicom builds the object (see `highdicom_objects`). What it does otherwise than a map needs is corrected afterwards:

* it stores frames in descending position; dcmqi (3D Slicer) and OHIF take file order for ascending position and flip
  such a map head to feet. Frames are put in ascending order of position along row × column;
* it makes two more copies of the pixels while it works. It gets frames of one pixel; the real ones come afterwards;
* it omits Frame Anatomy, without which dcmqi crashes and validators ask for a laterality.

Then every frame is compared with the slice that lies at its position.
"""

from io import BytesIO

import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sr import CodeContentItem
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from dicom_node.errors import EncodingError
from dicom_node.objects import codes
from dicom_node.objects.highdicom_objects import concept, mend, source_images
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.percent import highest_percent, require_promised_values, slice_percent
from dicom_node.objects.provenance import ResultContext, ascii_text
from inference.geometry import Grid
from inference.volumes import PerfusionMap

ROLE = ObjectRole(ObjectKind.PARAMETRIC_MAP)
WINDOW = (100.0, 200.0)
"""Centre and width of the first view, percent: from none to twice the mean."""
_KIND = "parametric map"


def encode_parametric_map(perfusion: PerfusionMap, context: ResultContext) -> Dataset:
    """Write a perfusion map as a Parametric Map in percent of the patient's own lung mean.

    The returned dataset is ready for `save_as(path, enforce_file_format=True)`; explicit VR little endian.

    Raises:
        EncodingError: the map is not on the grid of the CT, was made by another model than `context` says, is not
            finite, or is not above 0 exactly inside the lungs.
    """
    context.source.require_grid(perfusion.grid, _KIND)
    require_promised_values(perfusion, context, _KIND)
    # A plain dataset: highdicom's own would read the changed frames by its tables of the old ones.
    dataset = Dataset(_build(perfusion, context))
    _order_frames(dataset, perfusion.grid)
    _put_pixels(dataset, perfusion)
    _describe(dataset, context)
    _require_frames_in_place(dataset, perfusion)
    return dataset


def _build(perfusion: PerfusionMap, context: ResultContext) -> ParametricMap:
    """The object with frames of one pixel."""
    version = context.equipment.software_version
    images = source_images(context.source, perfusion.grid)
    for image in images:
        image.Rows, image.Columns = 1, 1
    return ParametricMap(
        source_images=images,
        pixel_array=np.zeros((perfusion.grid.shape[0], 1, 1), dtype=np.float32),
        series_instance_uid=context.identifiers.series_uid(ROLE),
        series_number=ROLE.series.series_number,
        sop_instance_uid=context.identifiers.instance_uid(ROLE),
        instance_number=1,
        manufacturer=context.equipment.manufacturer,
        manufacturer_model_name=context.equipment.model_name,
        software_versions=version,
        device_serial_number=context.equipment.serial_number,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_mapping(max(200.0, highest_percent(perfusion)), context)],
        voi_lut_transformations=[VOILUTTransformation(window_center=WINDOW[0], window_width=WINDOW[1])],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="REL_PERFUSION",
        content_description="RESEARCH: relative perfusion from CT, 100 % = mean of both lungs",
        content_creator_name="",
        content_qualification=context.content_qualification,
        image_flavor="PERFUSION",
        derived_pixel_contrast="QUANTITY",
        derivation=concept(codes.DERIVATION_PERFUSION),
    )


def _mapping(highest: float, context: ResultContext) -> RealWorldValueMapping:
    mapping = RealWorldValueMapping(
        lut_label="REL_PERFUSION",
        lut_explanation="Percent of the mean over both lungs of this patient",
        unit=concept(codes.PERCENT),
        value_range=(0.0, highest),
        slope=1.0,
        intercept=0.0,
        quantity_definition=concept(codes.PERFUSION_QUANTITY),
    )
    network = bool(context.perfusion_model.weights_sha256)
    method = codes.METHOD_NETWORK if network else codes.METHOD_DENSITOMETRIC
    mapping.QuantityDefinitionSequence.append(
        CodeContentItem(name=concept(codes.MEASUREMENT_METHOD), value=concept(method))
    )
    return mapping


def _order_frames(dataset: Dataset, grid: Grid) -> None:
    """Put frames in ascending order of position along row × column, and number them so."""
    frames = dataset.PerFrameFunctionalGroupsSequence
    normal = np.cross(grid.direction[:, 2], grid.direction[:, 1])
    heights = [float(np.dot(f.PlanePositionSequence[0].ImagePositionPatient, normal)) for f in frames]
    order = sorted(range(len(frames)), key=heights.__getitem__)
    dataset.PerFrameFunctionalGroupsSequence = Sequence([frames[k] for k in order])
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):
        frame.FrameContentSequence[0].DimensionIndexValues = number
    # The reader of the CT has accepted its spacing as even; highdicom is stricter and may have left these out.
    dataset.DimensionOrganizationType = "3D"
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = format_number_as_ds(grid.spacing_mm[0])


def _put_pixels(dataset: Dataset, perfusion: PerfusionMap) -> None:
    """Put in the pixels of all frames, in ascending order of position along row × column."""
    axis = perfusion.grid.direction
    ascending = float(np.dot(axis[:, 0], np.cross(axis[:, 2], axis[:, 1]))) > 0
    slices = range(perfusion.grid.shape[0])
    pixels = BytesIO()  # unlike a join, it grows without a second copy and gives its bytes away
    for k in slices if ascending else reversed(slices):
        pixels.write(slice_percent(perfusion, k).astype("<f4", copy=False).data)
    dataset.Rows, dataset.Columns = perfusion.grid.shape[1:]
    dataset.FloatPixelData = pixels.getvalue()


def _describe(dataset: Dataset, context: ResultContext) -> None:
    """Put in who made it from what, and what a reader must know."""
    mend(dataset, context, ROLE, ExplicitVRLittleEndian)
    context.refer_to_earlier_image(dataset, ROLE)
    anatomy = Dataset()
    anatomy.AnatomicRegionSequence = [codes.LUNG.dataset()]
    anatomy.FrameLaterality = "B"
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    dataset.BodyPartExamined = codes.BODY_PART
    dataset.DerivationDescription = ascii_text(
        f"RESEARCH ONLY. {context.caveats()} Relative lung perfusion estimated from CT by "
        f"{context.perfusion_model.label()} in lungs drawn by {context.segmenter.label()}. Percent of this patient's "
        "mean over both lungs; not comparable between patients; 0 outside the lungs.",
        1024,
    )
    dataset.ImageComments = dataset.DerivationDescription  # the one text that most viewers show


def _require_frames_in_place(dataset: Dataset, perfusion: PerfusionMap) -> None:
    stored = np.frombuffer(dataset.FloatPixelData, dtype="<f4").reshape(perfusion.grid.shape)
    positions = [f.PlanePositionSequence[0].ImagePositionPatient for f in dataset.PerFrameFunctionalGroupsSequence]
    slices = np.rint(perfusion.grid.to_index(np.array(positions, dtype=np.float64))[:, 0]).astype(int)
    if sorted(slices) != list(range(len(stored))):
        raise EncodingError(_KIND, "frame positions are not those of the CT")
    for frame, k in enumerate(slices):
        if not np.array_equal(stored[frame], slice_percent(perfusion, int(k))):
            raise EncodingError(_KIND, f"frame {frame + 1} does not hold the slice that lies at its position")
