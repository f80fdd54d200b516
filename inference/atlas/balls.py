"""Erosion, dilation and opening by a ball whose radius is in millimetres.

By distance transform, so the time does not grow with the radius; only the box around the mask is worked on.
"""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from inference.geometry import Box, Grid

Mask = Bool[np.ndarray, "a b c"]


def eroded(mask: Mask, radius_mm: float, grid: Grid) -> Mask:
    """Voxels further than a radius from all voxels outside the mask; beyond the volume the mask goes on."""
    result = np.zeros_like(mask)
    box = _box(mask, grid, margin_mm=0.0)
    if box is not None:
        result[box] = _further(_with_rim(mask, box), radius_mm, grid)[_inside(mask, box)]
    return result


def dilated(mask: Mask, radius_mm: float, grid: Grid) -> Mask:
    """Voxels not further than a radius from a voxel of the mask."""
    result = np.zeros_like(mask)
    box = _box(mask, grid, margin_mm=radius_mm)
    if box is not None:
        result[box] = ~_further(~mask[box], radius_mm, grid)
    return result


def opened(mask: Mask, radius_mm: float, grid: Grid) -> Mask:
    """The parts of a mask into which a ball fits."""
    fitting: Mask = dilated(eroded(mask, radius_mm, grid), radius_mm, grid) & mask
    return fitting


def _further(mask: Mask, radius_mm: float, grid: Grid) -> Mask:
    if mask.all():
        return mask.copy()
    further: Mask = ndimage.distance_transform_edt(mask, sampling=grid.spacing_mm) > radius_mm
    return further


def _box(mask: Mask, grid: Grid, *, margin_mm: float) -> Box | None:
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return None
    margins = [int(np.ceil(margin_mm / spacing)) for spacing in grid.spacing_mm]
    widened = (
        slice(max(s.start - margin, 0), min(s.stop + margin, n))
        for s, margin, n in zip(found[0], margins, mask.shape, strict=True)
    )
    return tuple(widened)  # type: ignore[return-value]


def _with_rim(mask: Mask, box: Box) -> Bool[np.ndarray, "d e f"]:
    """The box of a mask with one voxel around it, where the volume has one."""
    return mask[tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)]


def _inside(mask: Mask, box: Box) -> Box:
    """Where the box lies in what `_with_rim` gives."""
    shifts = [1 if s.start > 0 else 0 for s in box]
    return tuple(slice(shift, shift + s.stop - s.start) for shift, s in zip(shifts, box, strict=True))  # type: ignore[return-value]
