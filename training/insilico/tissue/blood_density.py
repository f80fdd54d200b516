"""How dense lung looks by the blood in its capillaries: where less flows than the tissue could carry, it is darker.

About half of the tissue of a lung is blood. Its volume rises with flow, more slowly, as capillaries open and widen. A
CT shows it as dark areas: mosaic perfusion, and what lies behind chronically narrowed arteries.
"""

import numpy as np
from jaxtyping import Float, Float32, Int32

from training.insilico.tissue.lung_tissue import bedded_fraction

DENSITY_EXPONENT = 0.15
"""Density goes with this power of flow per tissue: half of the tissue is blood, whose volume goes with the third root
of flow or less; ours, so that the density of lobes tells as little of their perfusion as published."""
DENSITY_LIMITS = (0.75, 1.15)
"""Of the factor to the density; ours."""
AERATED_HU = -500.0
"""Denser lung is consolidated or tumour, and stays as it is."""


def darkened_by_flow(
    hu: Float32[np.ndarray, "slices rows columns"],
    territories: Int32[np.ndarray, "slices rows columns"],
    flow: Float[np.ndarray, " territories"],
) -> Float32[np.ndarray, "slices rows columns"]:
    """A copy of the CT numbers in which aerated lung is as dense as its flow makes it.

    Args:
        hu: of the body, without vessels in the lungs.
        territories: of each voxel, -1 for none.
        flow: of each territory, as far as it shows.
    """
    inside = territories >= 0
    owner = territories[inside]
    tissue = np.bincount(owner, weights=bedded_fraction(hu[inside]), minlength=len(flow))
    per_tissue = np.divide(flow, tissue, out=np.zeros(len(flow)), where=tissue > 0.0)
    usual = float(np.average(per_tissue, weights=tissue)) if tissue.any() else 0.0
    if not usual > 0.0:
        return hu
    factor = np.clip((per_tissue / usual) ** DENSITY_EXPONENT, *DENSITY_LIMITS)
    shown = hu.copy()
    found = hu[inside]
    density = (found + np.float32(1000.0)) * factor[owner].astype(np.float32)
    shown[inside] = np.where(found < AERATED_HU, density - np.float32(1000.0), found)
    return shown
