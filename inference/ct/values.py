"""Values of a CT header, read so that foreign bytes end as a reason and never as a surprise."""

import math
from collections import Counter
from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.uid import LegacyConvertedEnhancedCTImageStorage

from inference.errors import InvalidRescale, MissingGeometry, UnreadableInstance

READ_KEYWORDS = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "Rows", "Columns"),
    *("SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "NumberOfFrames", "LossyImageCompression"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    *("ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber"),
    *("FrameType", "VolumetricProperties", "VolumeBasedCalculationTechnique", "TemporalPositionIndex"),
)
"""Every element that is looked at in `ct_headers`, `ct_frames` and `ct_pixels`."""


def rescale(dataset: Dataset) -> tuple[float, float]:
    """Slope and intercept from stored values to HU (PS3.3 C.11.1.1, C.8.2.1).

    Raises:
        InvalidRescale: absent, not finite, slope not above 0, a lookup table, or a Rescale Type other than HU.
    """
    try:
        slope, intercept = (float(dataset[name].value) for name in ("RescaleSlope", "RescaleIntercept"))
    except (KeyError, TypeError, ValueError):
        raise InvalidRescale("rescale slope or intercept is absent or no number") from None
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope > 0):
        raise InvalidRescale(f"rescale slope {slope:g} and intercept {intercept:g} are impossible")
    unspecified = ("", "US") if text(dataset, "SOPClassUID") == LegacyConvertedEnhancedCTImageStorage else ("",)
    # A converter must write a type (C.7.6.16.2.9): US where the single images had none, which are read as HU as well.
    if text(dataset, "RescaleType") not in ("HU", *unspecified):
        raise InvalidRescale("the rescale type is not HU")
    if dataset.get("ModalityLUTSequence"):
        raise InvalidRescale("a lookup table stands where HU need a slope and intercept")
    return slope, intercept


def require_parsable(datasets: Sequence[Dataset]) -> None:
    """Look at every value that is needed: pydicom parses it only then, and raises whatever it likes.

    Raises:
        UnreadableInstance: a value cannot be parsed.
    """
    for dataset in datasets:
        for keyword in READ_KEYWORDS:
            try:
                dataset.get(keyword)
            except Exception:
                raise UnreadableInstance(f"{keyword} cannot be parsed") from None


def numbers(dataset: Dataset, keyword: str, count: int) -> list[float]:
    """Finite numbers, as many as there must be; `MissingGeometry` if there are not."""
    try:
        values = [float(value) for value in dataset[keyword].value]
    except (KeyError, TypeError, ValueError):
        raise MissingGeometry(keyword) from None
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise MissingGeometry(keyword)
    return values


def values(dataset: Dataset, keyword: str) -> Counter[str]:
    """How often each value of a multi-valued text occurs."""
    value = dataset.get(keyword) or ()
    return Counter([value] if isinstance(value, str) else [str(item) for item in value])


def text(dataset: Dataset, keyword: str) -> str:
    """A value as text without padding; empty if it is absent."""
    try:
        value = dataset.get(keyword)
    except Exception:
        raise UnreadableInstance(f"{keyword} cannot be parsed") from None
    return "" if value is None else str(value).strip()
