"""Contours of a structure set → voxels on the planes of the CT.

A pixel belongs to a contour when its centre lies inside, decided by `matplotlib.path` (even-odd rule); contours of one
plane cancel each other where they overlap, as planning systems fill holes that are drawn as contours of their own
(PS3.3 C.8.8.6.3). The checks of our own objects fill contours with other code on purpose (`checks.raster`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.path import Path as Outline
from scipy import ndimage

from inference.geometry import Box, Grid

OFF_PLANE_MM = 0.5
"""A contour may lie this far from the plane of its image, and never more than a quarter of the slice distance."""
MOST_WORK = 2e10
"""Points times pixels of all contours of a structure: half a minute. A hundred contours of a whole lung have 1e10."""

Polygon = Float[np.ndarray, "points 3"]
"""LPS positions in mm."""


class Undrawable(ValueError):
    """Contours cannot be drawn on the CT; `contours` of them, and the text says why."""

    def __init__(self, contours: int, reason: str) -> None:
        self.contours = contours
        super().__init__(reason)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnStructure:
    """A structure as the part of the volume that it occupies."""

    box: Box
    mask: Bool[np.ndarray, "s r c"]
    slices_without_contour: int
    """Between the first and the last."""


def draw_structure(polygons: Sequence[Polygon], grid: Grid, margin_mm: float = 0.0) -> DrawnStructure:
    """Fill closed planar contours.

    Args:
        polygons: at least one, each of at least three points.
        grid: of the CT; what lies beside its images is left away.
        margin_mm: every voxel whose centre is at most this far from the structure belongs to it as well.

    Raises:
        Undrawable: a contour lies between two images or beyond the first or last, or there is too much to draw.
    """
    placed = [_place(polygon, grid) for polygon in polygons]
    off = sum(k is None for k, _ in placed)
    if off:
        raise Undrawable(off, "lie off the planes of the CT")
    slices = [k for k, _ in placed if k is not None]
    outlines = [outline for _, outline in placed]
    inner = _box(slices, outlines, grid)
    if _work(outlines, grid) > MOST_WORK:
        raise Undrawable(len(polygons), "have more points than can be drawn")
    box = _with_margin(inner, grid, margin_mm)
    mask = np.zeros(tuple(side.stop - side.start for side in box), dtype=bool)
    for k, outline in zip(slices, outlines, strict=True):
        _flip_inside(mask[k - box[0].start], outline - np.array([box[1].start, box[2].start]))
    if margin_mm > 0 and mask.any():
        mask = ndimage.distance_transform_edt(~mask, sampling=grid.spacing_mm) <= margin_mm
    gaps = max(slices) - min(slices) + 1 - len(set(slices))
    return DrawnStructure(box, mask, gaps)


def _place(polygon: Polygon, grid: Grid) -> tuple[int | None, Float[np.ndarray, "points 2"]]:
    """Slice, or None if it is none, and the outline in rows and columns."""
    index = grid.to_index(polygon)
    k = round(float(index[:, 0].mean()))
    off_mm = float(np.abs(index[:, 0] - k).max()) * grid.spacing_mm[0]
    is_on = 0 <= k < grid.shape[0] and off_mm <= min(OFF_PLANE_MM, grid.spacing_mm[0] / 4)
    return k if is_on else None, index[:, 1:]


def _box(slices: Sequence[int], outlines: Sequence[np.ndarray], grid: Grid) -> Box:
    lowest = np.floor(np.min([outline.min(axis=0) for outline in outlines], axis=0)).astype(int)
    highest = np.ceil(np.max([outline.max(axis=0) for outline in outlines], axis=0)).astype(int) + 1
    sides = zip((min(slices), *lowest.tolist()), (max(slices) + 1, *highest.tolist()), grid.shape, strict=True)
    return tuple(slice(min(max(a, 0), n), max(min(b, n), 0)) for a, b, n in sides)  # type: ignore[return-value]


def _with_margin(box: Box, grid: Grid, margin_mm: float) -> Box:
    reach = [int(np.ceil(margin_mm / spacing)) for spacing in grid.spacing_mm]
    sides = zip(box, reach, grid.shape, strict=True)
    return tuple(slice(max(s.start - r, 0), min(s.stop + r, n)) for s, r, n in sides)  # type: ignore[return-value]


def _work(outlines: Sequence[np.ndarray], grid: Grid) -> float:
    return float(sum(len(o) * np.prod(np.minimum(np.ptp(o, axis=0) + 1, grid.shape[1:])) for o in outlines))


def _flip_inside(plane: Bool[np.ndarray, "rows columns"], outline: Float[np.ndarray, "points 2"]) -> None:
    """Flip every pixel whose centre lies in a closed outline."""
    first = np.clip(np.floor(outline.min(axis=0)).astype(int), 0, plane.shape)
    stop = np.clip(np.ceil(outline.max(axis=0)).astype(int) + 1, 0, plane.shape)
    rows, columns = np.arange(first[0], stop[0]), np.arange(first[1], stop[1])
    if not (len(rows) and len(columns)):
        return
    centres = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = Outline(outline, closed=False).contains_points(centres).reshape(len(rows), len(columns))
    plane[first[0] : stop[0], first[1] : stop[1]] ^= inside
