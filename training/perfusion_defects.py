"""Perfusion defects: connected lung below half the lungs' mean, and which of them a predicted map shows.

A map of counts is lower at the lungs' edge, because the SPECT blurs what is lung into what is not. So maps are divided
by the blurred outline of the lungs first (`edge_corrected`), or every edge would be a defect.

No published definition fits relative maps: the level, the smallest volume and the rule of what counts as found are
ours, fixed before any network was scored.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from scipy import ndimage

from inference.geometry import Grid

DEFECT_BELOW = 0.5
"""Perfusion below this part of the lungs' mean is a defect; ours, no published definition fits relative maps."""
SMALLEST_DEFECT_ML = 5.0
"""Some 2 cm across, about one resolution of the SPECT; ours."""
FOUND_FROM = 0.5
"""A defect is found if at least this share of its volume is also below `DEFECT_BELOW` in the predicted map; ours.

The rule that makes a defect is asked again of the same place: a map that is merely a little lower there finds nothing,
and one whose low lung lies beside the defect finds it only as far as both overlap.
"""
_MOST = 255
_LEAST_SHARE = 0.05
"""Where less of a blurred voxel is lung, its counts say nothing about lung."""

Values = Float[np.ndarray, "slices rows columns"]
Mask = Bool[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True)
class DefectSeen:
    """One defect of the truth, and what a map shows in its place."""

    volume_ml: float
    truth: float
    """Mean true perfusion of its voxels, in multiples of the lungs' mean, corrected for the edge."""
    shown: float
    """The same of the map."""
    low_share: float
    """Part of its volume that the map shows below half the lungs' mean."""
    found: bool
    """At least half of its volume is; see `FOUND_FROM`."""

    @property
    def contrast_shown(self) -> float:
        """How much of the missing perfusion the map lacks too: 1 all of it, 0 the map shows the lungs' mean there."""
        return (1.0 - self.shown) / (1.0 - self.truth)


@dataclass(frozen=True, slots=True)
class DefectsShown:
    """All defects of one patient's truth in one map, and those that only the map has."""

    defects: tuple[DefectSeen, ...]
    shown: int
    """Defects of the map, by the same rule as those of the truth."""
    false: int
    """Defects of the map that share no voxel with one of the truth."""
    dice: float | None
    """Overlap of all defect voxels of both; None if neither has one."""


def edge_corrected(values: Values, outline: Values, lungs: Mask) -> Float32[np.ndarray, "slices rows columns"]:
    """Perfusion per volume of lung in multiples of the lungs' mean; 0 outside and where hardly any voxel is lung.

    Args:
        values: counts per voxel at the resolution of the SPECT, in any unit.
        outline: the lungs' share of each voxel at the same resolution, in any unit.
        lungs: voxels whose mean becomes 1.
    """
    inside = outline[lungs]
    share = inside / inside.max() if inside.size else inside
    counts = np.maximum(values[lungs], 0.0)
    perfusion = np.divide(counts, share, out=np.zeros_like(counts), where=share > _LEAST_SHARE)
    mean = float(perfusion.mean(dtype=np.float64)) if perfusion.size else 0.0
    corrected = np.zeros(values.shape, np.float32)
    corrected[lungs] = perfusion / mean if mean > 0 else 0.0
    return corrected


def find_defects(
    relative: Values, lungs: Mask, grid: Grid, *, mean: float = 1.0
) -> UInt8[np.ndarray, "slices rows columns"]:
    """Connected parts of the lungs (by faces) below half the mean and of at least 5 ml, numbered from the largest.

    Args:
        relative: perfusion per volume of lung.
        lungs: where to look.
        grid: of both.
        mean: of `relative` over both lungs.
    """
    parts, _ = ndimage.label(lungs & (relative < DEFECT_BELOW * mean))
    sizes_ml = np.bincount(parts.ravel()) * grid.voxel_volume_ml
    sizes_ml[0] = 0.0
    order = np.argsort(-sizes_ml, kind="stable")
    order = order[sizes_ml[order] >= SMALLEST_DEFECT_ML - 1e-6][:_MOST]
    numbers = np.zeros(sizes_ml.size, np.uint8)
    numbers[order] = np.arange(1, order.size + 1)
    labels: UInt8[np.ndarray, "slices rows columns"] = numbers[parts]
    return labels


def defects_shown(
    shown: Values, truth: Values, defects: UInt8[np.ndarray, "slices rows columns"], lungs: Mask, grid: Grid
) -> DefectsShown:
    """How far a map shows the defects of the truth.

    Args:
        shown: the map, corrected for the edge (`edge_corrected`).
        truth: true perfusion, corrected likewise.
        defects: of the truth, numbered from 1 (`find_defects`).
        lungs: voxels of both lungs.
        grid: of all.
    """
    own = find_defects(shown, lungs, grid)
    places = np.arange(1, int(defects.max()) + 1)
    voxels = np.bincount(defects.ravel(), minlength=places.size + 1)[1:]
    parts = [ndimage.mean(part, defects, places) for part in (truth, shown, (shown < DEFECT_BELOW).astype(np.float32))]
    seen = tuple(
        DefectSeen(float(count) * grid.voxel_volume_ml, float(true), float(mean), float(low), bool(low >= FOUND_FROM))
        for count, true, mean, low in zip(voxels, *parts, strict=True)
        if count
    )
    touching = np.unique(own[(own > 0) & (defects > 0)])
    both = int(np.count_nonzero(defects)) + int(np.count_nonzero(own))
    overlap = int(np.count_nonzero((defects > 0) & (own > 0)))
    return DefectsShown(
        defects=seen,
        shown=int(own.max()),
        false=int(own.max()) - int(touching.size),
        dice=2.0 * overlap / both if both else None,
    )
