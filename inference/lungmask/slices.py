"""What lungmask shows its networks, made once for both, and the way back to the CT.

Each slice is cropped to the body and brought to 256 x 256 pixels. `prepare` gives bit for bit what lungmask gives its
networks, and `put_back` the label that lungmask puts at each voxel. Why they may be faster:

* lungmask prepares every slice twice, once for each network. Both see the same.
* Nearest-neighbour zooms move values along each axis on its own and compute nothing, so they are index tables: scipy
  itself says once per size which pixel goes where, and looking up replaces zooming.
* The body mask is only asked for its bounding box, and that can be read off before it is enlarged to full size: one
  that is enlarged by copying pixels stays connected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cc3d
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from scipy import ndimage

SIDE = 256
"""Rows and columns that both networks see."""
HU_RANGE = (-1024, 600)
"""Mapped to 0 … 1; what lies beyond is clipped."""
_MASK_SIDE = 128
"""Rows and columns on which lungmask looks for the body."""
_BODY_ABOVE_HU = -500


@dataclass(frozen=True, slots=True)
class Crop:
    """The rectangle of a slice that the networks see."""

    rows: slice
    columns: slice


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSlices:
    """All slices of a CT as the networks see them."""

    pixels: Float32[np.ndarray, "slices 256 256"]
    """HU mapped to 0 … 1."""
    crops: tuple[Crop, ...]
    """Of each slice."""
    shape: tuple[int, int, int]
    """Of the CT."""


def prepare(hu: Float32[np.ndarray, "slices rows columns"]) -> PreparedSlices:
    """Crop and shrink each slice.

    Args:
        hu: slices from bottom to top, rows to posterior, columns to the patient's left.
    """
    pixels = np.empty((len(hu), SIDE, SIDE), dtype=np.float32)
    crops = []
    for image, prepared in zip(hu, pixels, strict=True):
        clipped = np.clip(image, *HU_RANGE)
        crop = _crop_of(clipped)
        cropped = np.ascontiguousarray(clipped[crop.rows, crop.columns])
        ndimage.zoom(cropped, SIDE / np.asarray(cropped.shape), order=1, output=prepared)
        crops.append(crop)
    low, high = HU_RANGE
    np.minimum(pixels, high, out=pixels)  # lungmask clips again after zooming
    pixels += -low
    pixels /= high - low
    return PreparedSlices(pixels, tuple(crops), hu.shape)


def put_back(
    labels: UInt8[np.ndarray, "slices 256 256"], prepared: PreparedSlices
) -> UInt8[np.ndarray, "slices rows columns"]:
    """Labels of what the networks saw as labels of the CT; 0 outside the crops."""
    full = np.zeros(prepared.shape, dtype=np.uint8)
    for small, image, crop in zip(labels, full, prepared.crops, strict=True):
        if small.any():
            image[crop.rows, crop.columns] = enlarged(
                small, (crop.rows.stop - crop.rows.start, crop.columns.stop - crop.columns.start)
            )
    return full


def enlarged(image: UInt8[np.ndarray, "a b"], shape: Sequence[int]) -> UInt8[np.ndarray, "c d"]:
    """What `scipy.ndimage.zoom` with `order=0` makes of an image, 0 where it looks beyond the edge."""
    rows, columns = (nearest(old, new) for old, new in zip(image.shape, shape, strict=True))
    padded = np.zeros((image.shape[0] + 1, image.shape[1] + 1), dtype=image.dtype)
    padded[1:, 1:] = image
    looked_up: UInt8[np.ndarray, "c d"] = padded[np.ix_(rows, columns)]
    return looked_up


@lru_cache(maxsize=1024)
def nearest(old: int, new: int) -> Int64[np.ndarray, " new"]:
    """For each of `new` pixels of a zoomed axis: which of the `old` ones it shows, counted from 1; 0 for none.

    scipy itself is asked, with numbers instead of an image, so its rounding and its edges are taken over.
    """
    table: Int64[np.ndarray, " new"] = ndimage.zoom(np.arange(1, old + 1, dtype=np.int64), new / old, order=0)
    table.flags.writeable = False
    return table


def _crop_of(image: Float32[np.ndarray, "rows columns"]) -> Crop:
    """The bounding box of the body, or the whole slice where there is none."""
    rows, columns = (nearest(size, _MASK_SIDE) for size in image.shape)
    if min(image.shape) < _MASK_SIDE or not (rows.all() and columns.all()):
        return _crop_by_lungmask(image)
    body = _body(image[np.ix_(rows - 1, columns - 1)])
    if not body.any():
        return Crop(slice(0, image.shape[0]), slice(0, image.shape[1]))
    ends = []
    for axis, size in ((1, image.shape[0]), (0, image.shape[1])):
        touched = np.concatenate([[False], body.any(axis=axis)])[nearest(_MASK_SIDE, size)]
        first, last = np.flatnonzero(touched)[[0, -1]]
        ends.append(slice(int(first), int(last) + 1))
    return Crop(*ends)


def _body(image: Float32[np.ndarray, "128 128"]) -> Bool[np.ndarray, "128 128"]:
    """The largest piece of what is denser than lung, without its holes and thin parts such as the table's edge."""
    dense = ndimage.binary_closing(image > _BODY_ABOVE_HU)
    beyond = cc3d.connected_components(np.pad(~dense, 1, constant_values=True).astype(np.uint8), connectivity=8)
    solid = (beyond != beyond[0, 0])[1:-1, 1:-1]  # holes are background that cannot be reached from outside
    pieces = cc3d.connected_components(ndimage.binary_erosion(solid, iterations=2).astype(np.uint8), connectivity=4)
    sizes = np.bincount(pieces.ravel())[1:]
    if not len(sizes):
        return np.zeros(image.shape, dtype=bool)
    body: Bool[np.ndarray, "128 128"] = ndimage.binary_dilation(pieces == np.argmax(sizes) + 1, iterations=2)
    return body


def _crop_by_lungmask(image: Float32[np.ndarray, "rows columns"]) -> Crop:
    """The same by lungmask itself, for slices so small that its body mask is not enlarged but shrunk."""
    from lungmask.utils import crop_and_resize

    _, (top, left, bottom, right) = crop_and_resize(image, SIDE, SIDE)
    return Crop(slice(int(top), int(bottom)), slice(int(left), int(right)))
