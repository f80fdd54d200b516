"""Relative perfusion from a CT: what every engine promises, and the one scale they share.

An engine looks at a CT and its lobes and returns a `PerfusionMap`. How it gets there differs (density and gravity in
`densitometric`, a trained network in `network_perfusion`); the scale does not: it is set here and nowhere else.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from inference.errors import ImplausibleResult
from inference.model_card import ModelIdentity
from inference.volumes import CtVolume, LobeMap, PerfusionMap

PERFUSION_FLOOR = 0.001
"""Smallest relative perfusion inside the lungs. Keeps 0 for "outside the lungs", also after rounding to 0.1 %."""


@runtime_checkable
class PerfusionModel(Protocol):
    """Predicts relative perfusion; loaded once, used for many patients."""

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, weights and caveat, written into every object made from a map."""
        ...

    def predict(self, ct: CtVolume, lobes: LobeMap) -> PerfusionMap:
        """Predict the map on the grid of `ct`; `lobes` must lie on the same grid."""
        ...


def relative_to_lung_mean(
    uptake: Float[np.ndarray, "slices rows columns"],
    lungs: Bool[np.ndarray, "slices rows columns"],
) -> Float[np.ndarray, "slices rows columns"]:
    """Scale raw uptake so that the mean over both lungs is 1.

    Inside the lungs the result is `PERFUSION_FLOOR + (1 - PERFUSION_FLOOR) * uptake / mean`: the mean is 1 and every
    value is above 0 at once, and the order of voxels (on which percentile rules rest) is kept, which clipping at the
    floor would not do. Outside the lungs it is exactly 0. Negative uptake counts as none.

    Args:
        uptake: in any unit, at least 0; values outside `lungs` are ignored.
        lungs: voxels of both lungs.

    Returns:
        float32, dimensionless.

    Raises:
        ImplausibleResult: uptake inside the lungs is not finite, or is nowhere above 0.
    """
    inside = np.maximum(uptake[lungs].astype(np.float64), 0.0)  # maximum() keeps NaN
    mean = float(inside.mean()) if inside.size else 0.0
    if not np.isfinite(mean):
        raise ImplausibleResult({"MAP_NOT_FINITE": "Predicted perfusion holds values that are not numbers."})
    if mean <= 0.0:
        raise ImplausibleResult({"MAP_EMPTY": "Predicted perfusion is zero everywhere in the lungs."})
    values = np.zeros(uptake.shape, dtype=np.float32)
    values[lungs] = PERFUSION_FLOOR + (1.0 - PERFUSION_FLOOR) * inside / mean
    return values
