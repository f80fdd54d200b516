"""Both lungs by a plain threshold on the coarse thorax: a second opinion that knows nothing of the lobe engine.

Air inside the body, without trachea and main bronchi and without bowel, in connected parts, parted at the middle of
the body, small gaps closed. It finds aerated lung only: tumours at the wall, consolidation and fluid are missed, where
a network or the atlas engine may rightly have them. The search for the airway is the one thing it shares with the
atlas engine, on another grid.
"""

from dataclasses import dataclass

import cc3d
import numpy as np
from jaxtyping import Bool

from inference.anatomy import Side
from inference.lung_box import lung_box
from inference.quality.coarse_thorax import CoarseThorax, Mask

AIR_HU = -400.0
"""Halfway between aerated lung and soft tissue."""
SMALLEST_PART_ML = 60.0
PURE_GAS_HU = -960.0
"""Mean HU of gas in stomach and bowel; lung holds tissue and lies above."""
CLOSING_MM = 8.0
CORRIDOR_MM = 90.0
"""Main bronchi end well within this distance of the middle."""
_EROSIONS_MM = (0.0, 5.0, 9.0, 13.0)
_LARGE = 0.05
"""Share of all air from which a part decides where right and left are parted."""
_ONE_SIDED = 0.85


@dataclass(frozen=True, slots=True, eq=False)
class ThresholdLungs:
    """Aerated lung and airway on the grid of a `CoarseThorax`; each may be empty."""

    right: Mask
    left: Mask
    airway: Mask
    """Trachea and main bronchi with their walls."""

    @classmethod
    def of(cls, thorax: CoarseThorax) -> "ThresholdLungs":
        """Look for lungs and airway."""
        air = (thorax.hu < AIR_HU) & thorax.body
        nothing = np.zeros_like(air)
        if not air.any():
            return cls(nothing, nothing, nothing)
        airway = _airway(thorax)
        lungs = _lung_parts(air & ~airway, thorax)
        if not lungs.any():
            return cls(nothing, nothing, airway)
        right, left = (_closed(lung, airway, thorax) for lung in _split(lungs, thorax))
        return cls(right & ~left, left, airway)

    def side(self, side: Side) -> Mask:
        """The lung of one side."""
        return self.right if side is Side.RIGHT else self.left

    @property
    def both(self) -> Mask:
        """Both lungs."""
        lungs: Mask = self.right | self.left
        return lungs


def _airway(thorax: CoarseThorax) -> Mask:
    """The airway, looked for near the middle of the body at the level of what has air."""
    from inference.atlas.airways import find_airway  # scipy; the node's own processes know the checks by their types

    airway = np.zeros_like(thorax.body)
    near = np.flatnonzero(np.abs(thorax.positions_mm(2) - thorax.midline_mm) < CORRIDOR_MM)
    rows = np.flatnonzero(thorax.body.any(axis=(0, 2)))
    planes = slice(0, thorax.grid.shape[0])
    box = planes, slice(int(rows[0]), int(rows[-1]) + 1), slice(int(near[0]), int(near[-1]) + 1)
    airway[box] = find_airway(thorax.hu[box], thorax.body[box], thorax.grid.cropped(box), thorax.midline_mm)
    return airway


def _lung_parts(air: Mask, thorax: CoarseThorax) -> Mask:
    """Parts that are large, hold tissue and do not lie below the largest one."""
    parts, count = cc3d.connected_components(air, connectivity=6, return_N=True)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    mean_hu = np.bincount(parts.ravel(), weights=thorax.hu.ravel(), minlength=count + 1) / np.maximum(sizes, 1)
    planes = np.arange(air.shape[0])
    keep = np.zeros(count + 1, dtype=bool)
    floor = -1.0
    for part in np.argsort(-sizes):
        if sizes[part] * thorax.voxel_ml < SMALLEST_PART_ML:
            break
        if mean_hu[part] < PURE_GAS_HU:
            continue
        per_plane = np.count_nonzero(parts == part, axis=(1, 2))
        occupied = np.flatnonzero(per_plane)
        if floor < 0:
            floor = occupied[0] + 0.2 * (occupied[-1] - occupied[0])
        keep[part] = float(np.average(planes, weights=per_plane)) >= floor
    kept: Mask = keep[parts]
    return kept


def _split(lungs: Mask, thorax: CoarseThorax) -> tuple[Mask, Mask]:
    """Right and left: eroded until no large part lies on both sides, the rest goes to the nearer side."""
    from scipy import ndimage

    box = lung_box(lungs, thorax.grid)
    inside, is_right = lungs[box], (thorax.positions_mm(2) < thorax.midline_mm)[box[2]]
    depth_mm = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=thorax.grid.spacing_mm)[1:-1, 1:-1, 1:-1]
    sides = np.where(is_right, np.uint8(1), np.uint8(2)) * inside
    for radius_mm in _EROSIONS_MM:
        markers = _markers(depth_mm > radius_mm, is_right)
        if markers is not None:
            nearest = ndimage.distance_transform_edt(
                markers == 0, sampling=thorax.grid.spacing_mm, return_distances=False, return_indices=True
            )
            sides = markers[tuple(nearest)] * inside
            break
    right, left = np.zeros_like(lungs), np.zeros_like(lungs)
    right[box], left[box] = sides == 1, sides == 2
    return right, left


def _markers(core: Mask, is_right: Bool[np.ndarray, " columns"]) -> np.ndarray | None:
    """1 in parts on the right, 2 in parts on the left; None while a large part lies on both sides or none is left."""
    parts, count = cc3d.connected_components(core, connectivity=6, return_N=True)
    if not count:
        return None
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    share = np.bincount(parts[..., is_right].ravel(), minlength=count + 1)[1:] / sizes
    large = sizes >= _LARGE * sizes.sum()
    if np.any(large & (share > 1 - _ONE_SIDED) & (share < _ONE_SIDED)):
        return None
    value = np.where(large, np.where(share >= 0.5, 1, 2), 0)
    markers: np.ndarray = np.concatenate([[0], value]).astype(np.uint8)[parts]
    return markers


def _closed(lung: Mask, airway: Mask, thorax: CoarseThorax) -> Mask:
    """With the vessels that blocks do not average away, airway left out."""
    from inference.atlas.balls import dilated, eroded

    closed: Mask = (eroded(dilated(lung, CLOSING_MM, thorax.grid), CLOSING_MM, thorax.grid) & ~airway) | lung
    return closed
