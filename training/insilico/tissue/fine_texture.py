"""Texture finer than a centimetre: lobules, nets of scars, patches of air.

A pattern of chance that repeats every two decimetres or so: too fine to be drawn anew for a whole body, too large a
period for the repetition to be seen.
"""

import numpy as np
from jaxtyping import Float32

from training.insilico.draws import Draws
from training.insilico.tissue.lung_voxels import LungVoxels

TILE = 96
"""Steps after which the pattern repeats."""
STEPS = 2.5
"""Per correlation length."""


def mesh(voxels: LungVoxels, draws: Draws, what: str, scale_mm: float) -> Float32[np.ndarray, " voxels"]:
    """Values of chance, mean 0 and variance 1, with correlation exp(-(r / scale)^2) over the distance r.

    Where they are near 0 lies a mesh of sheets, where they are high lie balls.
    """
    from scipy import ndimage  # heavy; only some diseases need it

    noise = draws.generator(what).standard_normal((TILE, TILE, TILE), dtype=np.float32)
    tile = ndimage.gaussian_filter(noise, 0.5 * STEPS, mode="wrap")
    kept = ((2.0 + np.exp(-(STEPS**-2))) / 3.0) ** 1.5  # see `SmoothField.drawn`
    tile /= tile.std() * np.float32(kept)
    places = np.stack([voxels.z_mm, voxels.y_mm, voxels.x_mm]) * np.float32(STEPS / scale_mm)
    values: Float32[np.ndarray, " voxels"] = ndimage.map_coordinates(tile, places, order=1, mode="grid-wrap")
    return values
