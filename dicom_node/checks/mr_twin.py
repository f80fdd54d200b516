"""Rules of the map's twin as MR images: each image is one CT image's plane, and the series is all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt16
from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import CheckedObject, integer, items, raw_bytes, referred_image, text
from dicom_node.checks.faults import Fault
from dicom_node.checks.image_plane import ImagePlane
from dicom_node.checks.source_ct import SourceCt
from dicom_node.checks.surroundings import Surroundings

UNITS_PER_PERCENT = 10
_LABEL = "NOT FOR DOSE"


@dataclass(frozen=True, slots=True)
class TwinImage:
    """What is kept of one image for the rules about the series."""

    name: str
    series_instance_uid: str
    slice: int | None
    """Slice of the CT that it lies on."""

    @classmethod
    def of(cls, checked: CheckedObject, ct: SourceCt) -> "TwinImage":
        """The place of an image."""
        k = ct.slice_at(ImagePlane.of(checked.dataset).position_mm)
        return cls(checked.name, text(checked.dataset, "SeriesInstanceUID"), k)


def check_mr_image(checked: CheckedObject, around: Surroundings) -> Iterator[Fault]:
    """Rules about one image of the series."""
    pixels = _pixels(checked.dataset)
    if pixels is None:
        yield checked.fault("TWIN_PIXELS", "pixels are not rows x columns of one unsigned 16-bit sample")
    if any(keyword in checked.dataset for keyword in ("RescaleSlope", "RescaleIntercept")):
        yield checked.fault("TWIN_PIXELS", "there is a rescale, which some readers apply and others do not")
    if _LABEL not in text(checked.dataset, "SeriesDescription").upper():
        yield checked.fault("TWIN_UNLABELLED", f"Series Description does not say {_LABEL}")
    if (ct := around.ct) is None:
        return
    plane = ImagePlane.of(checked.dataset)
    k = ct.slice_at(plane.position_mm)
    differences = plane.differences(ct.first)
    if k is None:
        differences.append("position")
    if text(checked.dataset, "PatientPosition") not in {text(header, "PatientPosition") for header in ct.headers}:
        differences.append("Patient Position")
    if differences:
        yield checked.fault("TWIN_GEOMETRY", f"not that of a CT image: {', '.join(differences)}")
    if k is None:
        return
    sources = {referred_image(source) for source in items(checked.dataset, "SourceImageSequence")}
    if sources != {ct.images[k]}:
        yield checked.fault("TWIN_SOURCE_IMAGE", "the source image is not the CT image at its position")
    if pixels is not None and around.expected.percent is not None and pixels.shape == ct.shape[1:]:
        yield from _check_values(checked, pixels, around.expected.percent(k))


def check_mr_series(images: Sequence[TwinImage], ct: SourceCt) -> Iterator[Fault]:
    """Rules about the images of each series together."""
    series: dict[str, list[TwinImage]] = {}
    for image in images:
        series.setdefault(image.series_instance_uid, []).append(image)
    for members in series.values():
        slices = [image.slice for image in members if image.slice is not None]
        if repeated := len(slices) - len(set(slices)):
            yield Fault("TWIN_SLICES", members[0].name, f"{repeated} image(s) lie on a CT image that has another one")
        if missing := ct.shape[0] - len(set(slices)):
            yield Fault("TWIN_SLICES", members[0].name, f"{missing} CT image(s) have no image in the series")


def _pixels(dataset: Dataset) -> UInt16[np.ndarray, "rows columns"] | None:
    wanted = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0, "SamplesPerPixel": 1}
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    encoded = raw_bytes(dataset, "PixelData")
    if any(integer(dataset, keyword) != value for keyword, value in wanted.items()):
        return None
    if min(rows, columns) < 1 or encoded is None or len(encoded) != 2 * rows * columns:
        return None
    return np.frombuffer(encoded, dtype="<u2").reshape(rows, columns)


def _check_values(
    checked: CheckedObject, pixels: UInt16[np.ndarray, "rows columns"], percent: np.ndarray
) -> Iterator[Fault]:
    units = np.rint(percent.astype(np.float64) * UNITS_PER_PERCENT)
    wanted = np.where(percent > 0, np.maximum(units, 1), 0)
    different = int(np.count_nonzero(pixels != wanted))
    if different:
        worst = float(np.abs(pixels - wanted).max()) / UNITS_PER_PERCENT
        yield checked.fault("TWIN_VALUES_DIFFER", f"{different} pixel(s) differ from the map, by up to {worst:g} %")
