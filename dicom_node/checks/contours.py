"""Rules of single contours: how their numbers are written, and where their points lie (PS3.3 C.8.8.6)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import (
    CheckedObject,
    ImageName,
    integer,
    items,
    raw_bytes,
    referred_image,
    text,
)
from dicom_node.checks.faults import Fault
from dicom_node.checks.raster import Outlines
from dicom_node.checks.source_ct import SourceCt

LONGEST_DS = 16
"""Bytes of one number (PS3.5 6.2)."""

LONGEST_VALUE = 65_534
"""Bytes of a DS element in explicit VR (PS3.5 7.1.2)."""

OFF_PLANE_MM = 0.001
IN_PLANE_ROUNDING_MM = 0.005
"""Coordinates are written to 0.01 mm along x and y; on a tilted image that moves a point off its plane as well."""

OUTSIDE_IMAGE_MM = 0.01
"""Contours run along the outer edge of the outermost pixels, give or take their rounding."""

_DECIMALS = re.compile(rb"(?: *[+-]?(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)? *(?:\\|$))+")
_SENTENCES = {
    "CONTOUR_TYPE": "Contour Geometric Type is not CLOSED_PLANAR",
    "CONTOUR_NUMBERS": "a coordinate has more than 16 bytes or is no number",
    "CONTOUR_TOO_LONG": "Contour Data has more than 65,534 bytes",
    "CONTOUR_POINT_COUNT": "Number of Contour Points is not a third of the count of numbers",
    "CONTOUR_TOO_FEW_POINTS": "there are fewer than three points",
    "CONTOUR_CLOSED_TWICE": "the first point is repeated at the end",
    "CONTOUR_IMAGE": "it does not refer to one image of the CT",
    "CONTOUR_OFF_PLANE": "a point lies off the plane of the image",
    "CONTOUR_OUTSIDE_IMAGE": "a point lies outside the image",
}


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One contour as written."""

    geometric_type: str
    point_count: int
    images: tuple[ImageName, ...]
    """Images or frames referred to."""
    encoded: bytes
    """Contour Data as it stands in the file."""
    points_mm: Float[np.ndarray, "points 3"] | None
    """None if the numbers cannot be read or are no multiple of three."""

    @classmethod
    def of(cls, item: Dataset) -> "Contour":
        """Read an item of Contour Sequence."""
        encoded = raw_bytes(item, "ContourData")
        if encoded is None:  # absent, or converted by another reader of this dataset
            encoded = text(item, "ContourData").encode("ascii", "replace")
        return cls(
            text(item, "ContourGeometricType"),
            integer(item, "NumberOfContourPoints"),
            tuple(referred_image(image) for image in items(item, "ContourImageSequence")),
            encoded,
            _points(encoded),
        )

    @property
    def numbers(self) -> list[bytes]:
        """The numbers as text, without the padding of the element."""
        return self.encoded.rstrip(b" \0").split(b"\\")

    def image(self, ct: SourceCt) -> int | None:
        """Slice of the image that it refers to; None unless it is one image of the CT."""
        return ct.index.get(self.images[0]) if len(self.images) == 1 else None


def read_contours(roi_contour: Dataset) -> list[Contour]:
    """The contours of an item of ROI Contour Sequence."""
    return [Contour.of(item) for item in items(roi_contour, "ContourSequence")]


def check_contours(
    checked: CheckedObject, contours: Sequence[Contour], place: str, ct: SourceCt | None
) -> Iterator[Fault]:
    """Rules about each contour of an ROI; one fault per rule, which names the first contour that breaks it."""
    broken: dict[str, list[int]] = {}
    for number, contour in enumerate(contours, start=1):
        for code in _faults_of_text(contour):
            broken.setdefault(code, []).append(number)
    if ct is not None:
        for code, numbers in _faults_of_place(contours, ct):
            broken[code] = numbers
    for code, numbers in broken.items():
        more = f", and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        yield checked.fault(code, _SENTENCES[code], f"{place}, contour {numbers[0]}{more}")


def outlines_of(contours: Sequence[Contour], ct: SourceCt) -> Outlines:
    """The contours of an ROI in rows and columns of the images that they refer to; unusable ones are left out."""
    placed = _placed(contours, ct)
    return Outlines(placed.index[:, :2], placed.lengths, placed.slices)


def _faults_of_text(contour: Contour) -> Iterator[str]:
    if contour.geometric_type != "CLOSED_PLANAR":
        yield "CONTOUR_TYPE"
    numbers = contour.numbers
    if max(map(len, numbers)) > LONGEST_DS or not _DECIMALS.fullmatch(contour.encoded):
        yield "CONTOUR_NUMBERS"
    if len(contour.encoded) > LONGEST_VALUE:
        yield "CONTOUR_TOO_LONG"
    if 3 * contour.point_count != len(numbers):
        yield "CONTOUR_POINT_COUNT"
    if len(numbers) < 9:
        yield "CONTOUR_TOO_FEW_POINTS"
    points = contour.points_mm
    if points is not None and len(points) > 1 and np.array_equal(points[0], points[-1]):
        yield "CONTOUR_CLOSED_TWICE"


def _points(encoded: bytes) -> Float[np.ndarray, "points 3"] | None:
    try:
        values = np.array(list(map(float, encoded.split(b"\\"))))
    except ValueError:
        return None
    return values.reshape(-1, 3) if len(values) % 3 == 0 and np.isfinite(values).all() else None


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """The usable contours of an ROI, point after point."""

    numbers: Int[np.ndarray, " contours"]
    """From 1, in the order of the file."""
    lengths: Int[np.ndarray, " contours"]
    slices: Int[np.ndarray, " contours"]
    index: Float[np.ndarray, "points 3"]
    """Row, column, and distance from the plane in mm."""

    @property
    def owner(self) -> Int[np.ndarray, " points"]:
        """Place of each point's contour."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


def _placed(contours: Sequence[Contour], ct: SourceCt) -> _Placed:
    usable = [
        (number, k, contour.points_mm)
        for number, contour in enumerate(contours, start=1)
        if contour.points_mm is not None and len(contour.points_mm) and (k := contour.image(ct)) is not None
    ]
    slices = np.array([k for _, k, _ in usable], dtype=np.int64)
    lengths = np.array([len(points) for _, _, points in usable], dtype=np.int64)
    points = np.concatenate([points for _, _, points in usable]) if usable else np.empty((0, 3))
    origins, orientations = (np.repeat(part, lengths, axis=0) for part in ct.plane_arrays(slices))
    offsets = points - origins
    along_row, along_column = orientations[:, :3], orientations[:, 3:]
    column = np.einsum("ij,ij->i", offsets, along_row) / ct.first.spacing_mm[1]
    row = np.einsum("ij,ij->i", offsets, along_column) / ct.first.spacing_mm[0]
    distance = np.einsum("ij,ij->i", offsets, np.cross(along_row, along_column))
    return _Placed(
        np.array([number for number, _, _ in usable], dtype=np.int64),
        lengths,
        slices,
        np.column_stack([row, column, distance]),
    )


def _faults_of_place(contours: Sequence[Contour], ct: SourceCt) -> Iterator[tuple[str, list[int]]]:
    unplaced = [number for number, contour in enumerate(contours, start=1) if contour.image(ct) is None]
    if unplaced:
        yield "CONTOUR_IMAGE", unplaced
    placed = _placed(contours, ct)
    row, column, distance = placed.index.T
    tolerance_mm = OFF_PLANE_MM + IN_PLANE_ROUNDING_MM * float(np.abs(ct.first.normal[:2]).sum())
    slack_rows, slack_columns = OUTSIDE_IMAGE_MM / ct.first.spacing_mm
    outside = (row < -0.5 - slack_rows) | (row > ct.first.rows - 0.5 + slack_rows)
    outside |= (column < -0.5 - slack_columns) | (column > ct.first.columns - 0.5 + slack_columns)
    for code, wrong in (("CONTOUR_OFF_PLANE", np.abs(distance) > tolerance_mm), ("CONTOUR_OUTSIDE_IMAGE", outside)):
        if wrong.any():
            yield code, placed.numbers[np.unique(placed.owner[wrong])].tolist()
