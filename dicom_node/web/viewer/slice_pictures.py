"""One slice as a PNG, drawn here: for browsers that cannot draw volumes.

The picture is cut from the coarse volumes, so a slice takes little memory. Directions are those of `lung_views`:
superior is up, and the patient's right is at the left of axial and coronal pictures.
"""

import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from contourpy import contour_generator
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageDraw

from dicom_node.pages.lung_views import AXIAL, CORONAL, MAP_RANGE_PERCENT, SAGITTAL, Plane
from dicom_node.web.viewer.nifti import HEADER_BYTES, grid_of, voxels_of
from dicom_node.web.viewer.view_facts import shown_table
from dicom_node.web.viewer.volume_cache import VolumeCache
from dicom_node.web.viewer.volumes import HIGH, LOW, VolumeName
from inference.anatomy import Lobe
from inference.geometry import Grid

PLANES: Final = {plane.name.lower(): plane for plane in (AXIAL, CORONAL, SAGITTAL)}
"""By the names that addresses have."""
SIDE_PIXELS: Final = 640
"""Longest side of a picture."""
_LOBE, _LOW, _HIGH = "#c3ccd4", "#3fd2ff", "#ffffff"


@dataclass(frozen=True, slots=True)
class SliceLook:
    """How a slice is shown."""

    window_hu: tuple[float, float]
    opacity: float
    """Of the map, 0 to 1."""
    threshold_percent: float
    """Smaller values of the map are not drawn."""
    has_outlines: bool


@dataclass(frozen=True, slots=True)
class _Volume:
    values: Shaped[np.ndarray, "s p l"]
    grid: Grid

    @classmethod
    def opened(cls, cache: VolumeCache, name: VolumeName) -> "_Volume":
        with cache.opened(name) as file:
            header = file.read(HEADER_BYTES)
            grid = grid_of(header)
            return cls(np.memmap(file, voxels_of(header), "r", HEADER_BYTES, grid.shape), grid)

    def cut(self, plane: Plane, at_mm: Shaped[np.ndarray, "3"], picture: "_Picture") -> Shaped[np.ndarray, "h w"]:
        """The nearest voxel at each pixel, 0 outside."""
        start = self.grid.to_index(picture.corner_mm)
        across, down = (self.grid.to_index(picture.corner_mm + step) - start for step in (picture.across, picture.down))
        rows, columns = plane.in_plane
        index: list[Any] = [0, 0, 0]
        index[plane.axis] = round(float(self.grid.to_index(at_mm)[plane.axis]))
        index[rows] = np.rint(start[rows] + down[rows] * np.arange(picture.height)).astype(int)[:, None]
        index[columns] = np.rint(start[columns] + across[columns] * np.arange(picture.width)).astype(int)[None, :]
        inside = np.ones((picture.height, picture.width), bool)
        for axis, size in enumerate(self.grid.shape):
            inside &= (index[axis] >= 0) & (index[axis] < size)
            index[axis] = np.clip(index[axis], 0, size - 1)
        return np.where(inside, self.values[tuple(index)], 0)


@dataclass(frozen=True, slots=True)
class _Picture:
    """Pixels of a plane: where the first one lies, and the steps to the next, LPS mm."""

    width: int
    height: int
    corner_mm: Shaped[np.ndarray, "3"]
    across: Shaped[np.ndarray, "3"]
    down: Shaped[np.ndarray, "3"]

    @classmethod
    def of(cls, grid: Grid, plane: Plane, number: int) -> "_Picture":
        rows, columns = plane.in_plane
        size_mm = [grid.shape[axis] * grid.spacing_mm[axis] for axis in (rows, columns)]
        step_mm = max(size_mm) / SIDE_PIXELS
        height, width = (max(round(length / step_mm), 1) for length in size_mm)
        corner = np.full(3, -0.5)
        corner[plane.axis] = number
        steps = []
        for axis in (rows, columns):
            sign = plane.sign(axis)
            if sign < 0:
                corner[axis] = grid.shape[axis] - 0.5
            steps.append(grid.direction[:, axis] * sign * step_mm)
        down, across = steps
        return cls(width, height, grid.to_patient_mm(corner) + 0.5 * (down + across), across, down)


def slice_picture(
    cache: VolumeCache, grid: Grid, plane: Plane, number: int, look: SliceLook, *, has_result: bool
) -> bytes:
    """A slice as PNG.

    Args:
        cache: of the case.
        grid: of its CT in patient axes.
        plane: that is shown.
        number: of the slice, row or column of `grid`.
        look: how.
        has_result: whether there is a map to show.

    Raises:
        FileNotFoundError: the case has no CT or result, or was removed meanwhile.
    """
    picture = _Picture.of(grid, plane, number)
    at_mm = picture.corner_mm
    hu = _Volume.opened(cache, VolumeName.CT_COARSE).cut(plane, at_mm, picture)
    low, high = look.window_hu
    grey = np.clip((hu - low) / max(high - low, 1.0), 0.0, 1.0)
    rgb = np.repeat(grey[..., None], 3, axis=-1) * 255.0
    labels = np.zeros_like(hu)
    if has_result:
        labels = _Volume.opened(cache, VolumeName.LOBES).cut(plane, at_mm, picture)
        percent = _Volume.opened(cache, VolumeName.MAP_COARSE).cut(plane, at_mm, picture) * 0.1
        shown = (percent > 0) & (percent >= look.threshold_percent) & (labels > 0)
        rgb[shown] = (1.0 - look.opacity) * rgb[shown] + look.opacity * _colours(percent[shown])
    image = Image.fromarray(np.rint(rgb).astype(np.uint8))
    if has_result and look.has_outlines:
        regions = _Volume.opened(cache, VolumeName.FUNCTION).cut(plane, at_mm, picture)
        _draw_outlines(image, labels, regions)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _colours(percent: Shaped[np.ndarray, " n"]) -> UInt8[np.ndarray, "n 3"]:
    low, high = MAP_RANGE_PERCENT
    steps = np.clip((percent - low) / (high - low), 0.0, 1.0)
    colours: np.ndarray = np.array(shown_table(), np.uint8)[np.minimum(steps * 256, 255).astype(int)]
    return colours


def _draw_outlines(image: Image.Image, labels: Shaped[np.ndarray, "h w"], regions: Shaped[np.ndarray, "h w"]) -> None:
    pen = ImageDraw.Draw(image)
    masks = [(labels == lobe, _LOBE, 1) for lobe in Lobe]
    masks += [(regions == LOW, _LOW, 2), (regions == HIGH, _HIGH, 2)]
    for mask, colour, width in masks:
        if mask.any():
            for line in contour_generator(z=np.pad(mask, 1).astype(np.float32)).lines(0.5):
                pen.line([(x - 1.0, y - 1.0) for x, y in line], fill=colour, width=width)
