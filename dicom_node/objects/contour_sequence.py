"""Contours → Contour Sequence (3006,0040), encoded here.

A structure set has thousands of contours with hundreds of thousands of numbers. As objects of pydicom they take far
longer to build and to write than to trace, so the items are put together as bytes, in implicit VR little endian like
the object that holds them. For pydicom the sequence is one that was received: it is parsed when somebody looks at it.

Contours lie in the plane of the CT image they refer to, in that image's own position; numbers have two decimals in
plane (0.01 mm) and four across.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import pack

import numpy as np
from jaxtyping import Float
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

from dicom_node.objects.contours import PlanarContour
from dicom_node.objects.source_series import SourceSeries
from inference.geometry import Grid

CONTOUR_SEQUENCE = Tag("ContourSequence")
_CONTOUR_IMAGES = Tag("ContourImageSequence")
_GEOMETRIC_TYPE = Tag("ContourGeometricType")
_POINT_COUNT = Tag("NumberOfContourPoints")
_NUMBER = Tag("ContourNumber")
_DATA = Tag("ContourData")
_CLASS_UID = Tag("ReferencedSOPClassUID")
_INSTANCE_UID = Tag("ReferencedSOPInstanceUID")
_FRAME_NUMBER = Tag("ReferencedFrameNumber")
_ITEM = Tag(0xFFFEE000)
_DECIMALS = (2, 2, 4)
"""Of x, y and z."""


@dataclass(frozen=True, slots=True, eq=False)
class CtPlane:
    """What a contour takes from the image of its slice."""

    reference: bytes
    """Contour Image Sequence that names the image and, of a multi-frame image, the frame; encoded."""
    shift_mm: Float[np.ndarray, "3"]
    """From the place of the slice on the grid to that of the image: a grid is even, a CT's positions are rounded."""


def ct_planes(source: SourceSeries, grid: Grid) -> tuple[CtPlane, ...]:
    """The planes of a CT, in slice order.

    Args:
        source: the CT.
        grid: on which contours are traced; as `source.require_grid` accepts it.
    """
    planes = []
    for k, header in enumerate(source.headers):
        class_uid, instance_uid = (str(uid).encode("ascii") for uid in (header.SOPClassUID, header.SOPInstanceUID))
        image = _element(_CLASS_UID, class_uid, b"\0") + _element(_INSTANCE_UID, instance_uid, b"\0")
        if "ReferencedFrameNumber" in header:
            image += _element(_FRAME_NUMBER, b"%d" % header.ReferencedFrameNumber)
        position_mm = np.array(header.ImagePositionPatient, dtype=np.float64)
        shift_mm = position_mm - grid.to_patient_mm(np.array([k, 0.0, 0.0]))
        planes.append(CtPlane(_element(_CONTOUR_IMAGES, _element(_ITEM, image)), shift_mm))
    return tuple(planes)


def contour_sequence(contours: Sequence[PlanarContour], planes: Sequence[CtPlane]) -> RawDataElement:
    """Contours of one ROI, numbered from 1, as an element of an item of ROI Contour Sequence (PS3.3 C.8.8.6).

    The item and the dataset that hold it must have implicit VR little endian as their original encoding, else pydicom
    parses and writes every number once more.

    Args:
        contours: at least one.
        planes: of the slices that the contours lie in, by slice index.
    """
    lengths = [len(contour.points_mm) for contour in contours]
    shifts_mm = np.repeat([planes[contour.slice_index].shift_mm for contour in contours], lengths, axis=0)
    texts = _decimal_texts(np.concatenate([contour.points_mm for contour in contours]) + shifts_mm, lengths)
    items = b"".join(
        _item(number, planes[contour.slice_index], length, text)
        for number, (contour, length, text) in enumerate(zip(contours, lengths, texts, strict=True), start=1)
    )
    return RawDataElement(CONTOUR_SEQUENCE, "SQ", len(items), items, 0, True, True)


def _item(number: int, plane: CtPlane, length: int, text: bytes) -> bytes:
    elements = (
        plane.reference,
        _element(_GEOMETRIC_TYPE, b"CLOSED_PLANAR"),
        _element(_POINT_COUNT, b"%d" % length),
        _element(_NUMBER, b"%d" % number),
        _element(_DATA, text),
    )
    return _element(_ITEM, b"".join(elements))


def _decimal_texts(points_mm: Float[np.ndarray, "points 3"], lengths: Sequence[int]) -> Iterator[bytes]:
    """The numbers of so many points each, as decimal text with backslashes between them.

    Most coordinates of an ROI occur many times, so each is written once and its characters are copied from there.
    """
    columns = []
    for axis_mm, decimals in zip(points_mm.T, _DECIMALS, strict=True):
        units, which = np.unique(np.rint(axis_mm * 10**decimals).astype(np.int64), return_inverse=True)
        written = np.array([f"{unit / 10**decimals:.{decimals}f}\\" for unit in units.tolist()], dtype="S")
        columns.append(written[which].view(np.uint8).reshape(len(points_mm), -1))
    characters = np.concatenate(columns, axis=1)
    used = characters != 0
    text = characters[used].tobytes()
    ends = np.cumsum(np.count_nonzero(used, axis=1))[np.cumsum(lengths) - 1]
    for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        yield text[start : end - 1]


def _element(tag: BaseTag, value: bytes, padding: bytes = b" ") -> bytes:
    """A data element, or an item, in implicit VR little endian (PS3.5 7.1.3, 7.5): tag, length, even value."""
    value += padding * (len(value) % 2)
    return pack("<HHI", tag.group, tag.element, len(value)) + value
