"""Trachea and main bronchi, so that they can be taken out of the lungs.

Found as a chain of small round gas areas near the middle of the body, then grown at rising HU until the growth would
leak into lung. Works on a coarse volume with patient axes (slice to superior, row to posterior, column to left).
Bronchi narrower than about 7 mm stay with the lung, as in radiotherapy contours.
"""

import cc3d
import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from inference.atlas.balls import dilated, opened
from inference.geometry import Grid

_GAS_HU = -900.0
"""Lumen of the trachea, partial volume included; aerated lung is denser (about -850 at full inspiration)."""
_LUMEN_MM2 = (40.0, 700.0)
"""Cross-section of a trachea, children's and widened ones included; normal men 110 to 350 mm2."""
_LONGEST_WIDTH_MM = 45.0
"""A trachea cut just above the carina is the widest."""
_OFF_MIDLINE_MM = 40.0
_SHORTEST_CHAIN_MM = 30.0
_MOST_ML = 110.0
"""Trachea and main bronchi hold 30 to 80 ml; more means a leak into lung."""
_LEAK = 1.5
"""A volume that grows by this factor at one step of the threshold has leaked."""
_NARROWEST_RADIUS_MM = 3.5
_WALL_MM = 2.5


def find_airway(
    hu: Float32[np.ndarray, "slices rows columns"],
    body: Bool[np.ndarray, "slices rows columns"],
    grid: Grid,
    midline_mm: float,
) -> Bool[np.ndarray, "slices rows columns"]:
    """Trachea and main bronchi with their walls; empty when there is no trachea in the volume.

    Args:
        hu: on `grid`.
        body: the patient, holes filled.
        grid: has patient axes.
        midline_mm: patient x that parts right from left.
    """
    chain = _trachea_chain(hu, body, grid, midline_mm)
    if not chain.any():
        return chain
    lumen = _grown(hu, body, chain, grid)
    return dilated(opened(lumen, _NARROWEST_RADIUS_MM, grid) | chain, _WALL_MM, grid)


def _trachea_chain(
    hu: Float32[np.ndarray, "slices rows columns"],
    body: Bool[np.ndarray, "slices rows columns"],
    grid: Grid,
    midline_mm: float,
) -> Bool[np.ndarray, "slices rows columns"]:
    gas = (hu < _GAS_HU) & body
    round_gas = np.zeros_like(gas)
    for k in range(gas.shape[0]):
        round_gas[k] = _lumens(gas[k], grid, midline_mm)
    chains, count = cc3d.connected_components(round_gas, connectivity=26, return_N=True)
    best, best_mm = 0, _SHORTEST_CHAIN_MM
    for label, box in enumerate(ndimage.find_objects(chains, count), start=1):
        length_mm = (box[0].stop - box[0].start) * grid.spacing_mm[0]
        if length_mm > best_mm:
            best, best_mm = label, length_mm
    return (chains == best) if best else np.zeros_like(gas)


def _lumens(gas: Bool[np.ndarray, "rows columns"], grid: Grid, midline_mm: float) -> Bool[np.ndarray, "rows columns"]:
    """Gas areas of one slice that could be a trachea by size, shape and place."""
    _, row_mm, column_mm = grid.spacing_mm
    labels, count = ndimage.label(gas)
    keep = np.zeros(count + 1, dtype=bool)
    if count:
        areas = np.bincount(labels.ravel(), minlength=count + 1) * row_mm * column_mm
        for label, box in enumerate(ndimage.find_objects(labels), start=1):
            height_mm = (box[0].stop - box[0].start) * row_mm
            width_mm = (box[1].stop - box[1].start) * column_mm
            centre_mm = grid.origin_mm[0] + column_mm * (box[1].start + box[1].stop - 1) / 2
            keep[label] = (
                _LUMEN_MM2[0] <= areas[label] <= _LUMEN_MM2[1]
                and max(height_mm, width_mm) <= _LONGEST_WIDTH_MM
                and areas[label] >= 0.4 * height_mm * width_mm
                and abs(centre_mm - midline_mm) <= _OFF_MIDLINE_MM
            )
    kept: Bool[np.ndarray, "rows columns"] = keep[labels]
    return kept


def _grown(
    hu: Float32[np.ndarray, "slices rows columns"],
    body: Bool[np.ndarray, "slices rows columns"],
    seed: Bool[np.ndarray, "slices rows columns"],
    grid: Grid,
) -> Bool[np.ndarray, "slices rows columns"]:
    """Gas connected to the seed at the highest threshold that does not leak."""
    grown = seed
    for threshold in range(-960, -690, 20):
        parts = cc3d.connected_components(((hu < threshold) & body) | seed, connectivity=6)
        wanted = np.zeros(int(parts.max()) + 1, dtype=bool)
        wanted[np.unique(parts[seed])] = True
        candidate = wanted[parts]
        before, after = np.count_nonzero(grown), np.count_nonzero(candidate)
        if after * grid.voxel_volume_ml > _MOST_ML or (grown is not seed and after > _LEAK * before):
            break
        grown = candidate
    return grown
