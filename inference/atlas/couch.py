"""On which side of the patient the couch lies: at the back of one who lies supine, in front of one who lies prone.

Found in the CT and not in the header, which says where somebody thought that the patient lies.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from inference.geometry import Grid

COUCH_HU = -850.0
"""Shells, foam with a cover and mattresses, averaged over some millimetres; air is -1000."""
LEAST_COUCH_ML = 100.0
COUCH_RATIO = 3.0
"""So much more of it on one side of the body says where the couch is."""
_SKIN_MM = 4.0
"""Next to the body voxels hold skin and air."""


def couch_side(
    hu: Float32[np.ndarray, "slices rows columns"], body: Bool[np.ndarray, "slices rows columns"], grid: Grid
) -> Literal["back", "front"] | None:
    """Where the couch lies; None if none shows.

    Args:
        hu: a coarse volume with patient axes (slice to superior, row to posterior, column to left).
        body: the patient without the couch.
        grid: of both.
    """
    if not body.any():
        return None
    skin = max(round(_SKIN_MM / min(grid.spacing_mm)), 1)
    beside = np.asarray(body.any(axis=1))[:, np.newaxis, :]
    things = (hu > COUCH_HU) & ~ndimage.binary_dilation(body, iterations=skin) & beside
    rows = np.arange(grid.shape[1])
    is_back = rows > np.average(rows, weights=body.sum(axis=(0, 2)))
    back_ml, front_ml = (
        float(np.count_nonzero(things[:, side])) * grid.voxel_volume_ml for side in (is_back, ~is_back)
    )
    if back_ml >= max(LEAST_COUCH_ML, COUCH_RATIO * front_ml):
        return "back"
    return "front" if front_ml >= max(LEAST_COUCH_ML, COUCH_RATIO * back_ml) else None
