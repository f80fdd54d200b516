"""`PerfusionMap` → series of MR Images (PS3.3 A.4): the map once more, for systems that read no Parametric Map.

MR because planning systems take CT, PET and MR for contouring (IHE-RO MMRO-III): as a CT the map would be offered for
dose calculation, as a PET for uptake values. The description of the series says what it is not.

One image per CT image, in its plane and on its pixels. A pixel is `UNITS_PER_PERCENT` times the percent, rounded; in
the lung at least 1, so that 0 is outside and nowhere else. There is neither a rescale nor a real world value mapping:
some readers apply them to MR and others do not, and all shall show the same numbers.
"""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
from jaxtyping import UInt16
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from dicom_node.errors import EncodingError
from dicom_node.objects import codes
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.percent import highest_percent, require_promised_values, slice_percent
from dicom_node.objects.provenance import ResultContext, ascii_text
from dicom_node.objects.source_series import LOSSY, image_reference
from inference.volumes import PerfusionMap

ROLE = ObjectRole(ObjectKind.MR_TWIN)
UNITS_PER_PERCENT = 10
WINDOW = (1000, 2000)
"""Centre and width of the first view in pixel values: from none to twice the mean."""
HIGHEST = 65535
_KIND = "MR twin"
_PLANE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns")


def encode_mr_twin(perfusion: PerfusionMap, context: ResultContext) -> Iterator[Dataset]:
    """Write a perfusion map as derived MR Images, one per CT image in slice order.

    The map is checked before the first image is made; images are made one at a time, so memory stays small. Each is
    ready for `save_as(path, enforce_file_format=True)`; explicit VR little endian.

    Raises:
        EncodingError: the map is not on the grid of the CT, was made by another model than `context` says, is not
            finite, is not above 0 exactly inside the lungs, or exceeds what 16 bits hold.
    """
    context.source.require_grid(perfusion.grid, _KIND)
    require_promised_values(perfusion, context, _KIND)
    highest = highest_percent(perfusion)
    if round(UNITS_PER_PERCENT * highest) > HIGHEST:
        raise EncodingError(_KIND, f"{highest:.0f} % does not fit into 16 bits in steps of 0.1 %")
    text = _explanation(context)
    return (_image(perfusion, k, context, text) for k in range(perfusion.grid.shape[0]))


def _image(perfusion: PerfusionMap, k: int, context: ResultContext, text: str) -> Dataset:
    dataset = Dataset()
    context.source.copy_identity(dataset)
    context.describe_maker(dataset)
    context.describe_series(dataset, ROLE, k + 1)
    if k == 0:  # of an earlier series, only the first image is known
        context.refer_to_earlier_image(dataset, ROLE)
    dataset.ContentDate, dataset.ContentTime = context.source.date_and_time()
    _place(dataset, context.source.headers[k], perfusion.grid.spacing_mm[0])
    _describe_derivation(dataset, context.source.headers[k], text)
    _describe_acquisition(dataset)
    _write_pixels(dataset, _pixels(perfusion, k))
    dataset.file_meta = context.file_meta(ROLE.series.sop_class_uid, dataset.SOPInstanceUID, ExplicitVRLittleEndian)
    return dataset


def _pixels(perfusion: PerfusionMap, k: int) -> UInt16[np.ndarray, "rows columns"]:
    units = np.rint(slice_percent(perfusion, k).astype(np.float64) * UNITS_PER_PERCENT)
    pixels: np.ndarray = np.maximum(units, perfusion.lungs[k]).astype("<u2")
    return pixels


def _place(dataset: Dataset, header: Dataset, slice_spacing_mm: float) -> None:
    """Where the CT image is (PS3.3 C.7.6.2, C.7.3.1), in the very digits of its header."""
    for keyword in _PLANE:
        if keyword in header:
            dataset[keyword] = deepcopy(header[keyword])
    if not header.get("SliceThickness"):  # Type 2 in a CT
        dataset.SliceThickness = format_number_as_ds(slice_spacing_mm)
    dataset.SpacingBetweenSlices = format_number_as_ds(slice_spacing_mm)
    dataset.PatientPosition = header.get("PatientPosition") or ""
    dataset.BodyPartExamined = codes.BODY_PART


def _describe_derivation(dataset: Dataset, header: Dataset, text: str) -> None:
    """From which image it was made and how (PS3.3 C.7.6.1, C.12.4)."""
    source = image_reference(header)
    source.PurposeOfReferenceCodeSequence = [codes.SOURCE_IMAGE.dataset()]
    dataset.SourceImageSequence = [source]
    dataset.DerivationCodeSequence = [codes.DERIVATION_PERFUSION.dataset()]
    dataset.DerivationDescription = dataset.ImageComments = text
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    for keyword in LOSSY:
        if keyword in header:
            dataset[keyword] = deepcopy(header[keyword])


def _describe_acquisition(dataset: Dataset) -> None:
    """What an MR Image must say of its acquisition (PS3.3 C.8.3.1) where there was none."""
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.ScanningSequence = "RM"  # Research Mode: the only term that names no pulse sequence
    dataset.SequenceVariant = "NONE"
    for keyword in ("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength"):
        setattr(dataset, keyword, None)


def _write_pixels(dataset: Dataset, pixels: UInt16[np.ndarray, "rows columns"]) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = WINDOW
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"


def _explanation(context: ResultContext) -> str:
    return ascii_text(
        "RESEARCH ONLY. NOT MR, NOT FOR DOSE. Pixel value = 10 x percent: 1000 is the mean of relative lung perfusion "
        f"over both lungs of this patient; 0 outside the lungs. {context.caveats()} Estimated from CT by "
        f"{context.perfusion_model.label()} in lungs drawn by {context.segmenter.label()}; not comparable between "
        "patients.",
        1024,
    )
