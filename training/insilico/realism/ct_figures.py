"""What the CT of one patient shows of the lungs, in the figures that publications give."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from inference.anatomy import Lobe, Side, lobes_of
from inference.geometry import Grid
from inference.volumes import CtVolume

HISTOGRAM_HU = tuple(float(edge) for edge in range(-1020, 221, 20))
"""Edges of the bins of the HU histogram; what lies beyond is counted in the outermost bins."""

EMPHYSEMA_HU = -950.0
CLASSES_HU = {"over-inflated": -900.0, "normally inflated": -500.0, "poorly inflated": -100.0, "not inflated": np.inf}
"""Upper limits of the usual classes of inflation, as in Cressoni 2013."""


@dataclass(frozen=True, slots=True)
class CtFigures:
    """Both lungs in one CT, with the true lobes as mask."""

    volume_ml: float
    lobe_percent: dict[str, float]
    """Share of each lobe in the volume of both lungs."""
    right_percent: float
    """Share of the right lung in the volume."""
    mean_hu: float
    laa950_percent: float
    """Volume at or below -950 HU."""
    lobe_laa950_percent: dict[str, float]
    lobe_hu: dict[str, float]
    """Mean CT number of each lobe."""
    class_percent: dict[str, float]
    """Share of each class of inflation in the weight of the lungs."""
    dependent_hu: float
    """Mean of the back third of the lungs' height less that of the front third, in the lower half of the lungs."""
    histogram_percent: tuple[float, ...]
    """Volume in each bin of `HISTOGRAM_HU`."""


def measure_ct(ct: CtVolume, lobes: UInt8[np.ndarray, "slices rows columns"]) -> CtFigures:
    """Figures of one CT.

    Args:
        ct: the CT as a hospital has it, with noise.
        lobes: true lobes on the grid of `ct`; 0 outside the lungs.
    """
    lungs = lobes > 0
    labels, hu = lobes[lungs], ct.hu[lungs]
    voxels = np.bincount(labels, minlength=len(Lobe) + 1)
    sums = np.bincount(labels, weights=hu, minlength=len(Lobe) + 1)
    low = np.bincount(labels, weights=hu <= EMPHYSEMA_HU, minlength=len(Lobe) + 1)
    existing = [lobe for lobe in Lobe if voxels[lobe]]
    total = float(voxels.sum())
    counts, _ = np.histogram(np.clip(hu, HISTOGRAM_HU[0], HISTOGRAM_HU[-1] - 1.0), HISTOGRAM_HU)
    return CtFigures(
        volume_ml=total * ct.grid.voxel_volume_ml,
        lobe_percent={lobe.name: 100.0 * float(voxels[lobe]) / total for lobe in existing},
        right_percent=100.0 * float(sum(voxels[lobe] for lobe in lobes_of(Side.RIGHT))) / total,
        mean_hu=float(hu.mean(dtype=np.float64)),
        laa950_percent=100.0 * float(low.sum()) / total,
        lobe_laa950_percent={lobe.name: 100.0 * float(low[lobe] / voxels[lobe]) for lobe in existing},
        lobe_hu={lobe.name: float(sums[lobe] / voxels[lobe]) for lobe in existing},
        class_percent=class_percent(hu),
        dependent_hu=dependent_hu(ct.hu, lungs, ct.grid),
        histogram_percent=tuple(100.0 * float(count) / total for count in counts),
    )


def class_percent(hu: Float[np.ndarray, " voxels"]) -> dict[str, float]:
    """Share of each class of inflation in the weight, where a voxel weighs (HU + 1000) / 1000 of water."""
    weight = np.maximum(hu.astype(np.float64) + 1000.0, 0.0)
    place = np.searchsorted(list(CLASSES_HU.values()), hu, side="left")
    sums = np.bincount(place, weights=weight, minlength=len(CLASSES_HU))
    return {name: 100.0 * float(part / weight.sum()) for name, part in zip(CLASSES_HU, sums, strict=True)}


def dependent_hu(
    hu: Float32[np.ndarray, "slices rows columns"], lungs: Bool[np.ndarray, "slices rows columns"], grid: Grid
) -> float:
    """How much denser the back of the lung bases is than their front, as median of thirds of the lungs' height.

    Medians, so that vessels and lesions count for what they fill.
    """
    _, y_mm, z_mm = (np.broadcast_to(part, grid.shape)[lungs] for part in grid.coordinates_mm())
    inside = hu[lungs]
    base = z_mm < 0.5 * (float(z_mm.min()) + float(z_mm.max()))
    front, back = np.quantile(y_mm[base], (1.0 / 3.0, 2.0 / 3.0))
    dependent, anterior = inside[base & (y_mm >= back)], inside[base & (y_mm <= front)]
    return float(np.median(dependent)) - float(np.median(anterior))
