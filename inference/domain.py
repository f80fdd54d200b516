"""Simple statistics of a CT and its lungs, by which a CT is compared with those of the training (`fingerprint`).

They say how the CT was made and what the lungs look like to a network: spacing, noise, sharpness, breath, density,
contrast medium, position. All are cheap, and each has a name, a unit and a tolerance: a difference that small does not
matter to a network that works on voxels of some 5 mm, however alike the training patients are. Training measures its
cases with `input_statistics`, the node its CTs, so both mean the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from inference.anatomy import Lobe, Side, lobes_of
from inference.geometry import Reorientation
from inference.lung_box import lung_box
from inference.quality.coarse_thorax import CoarseThorax
from inference.quality.patient import soft_tissue_noise_hu
from inference.volumes import CtVolume, LobeMap, require_same_grid


@dataclass(frozen=True, slots=True)
class Statistic:
    """One row of the table."""

    measures: str
    """What is measured, in words for a physicist."""
    unit: str
    """UCUM."""
    tolerance: float
    """Smallest distance from the median to the end of a range; a factor above 1 where `is_ratio`. Ours, untuned."""
    is_ratio: bool = False
    """Whether differences are ratios."""


# fmt: off
STATISTICS: Mapping[str, Statistic] = MappingProxyType({
    "slice_spacing": Statistic("distance between slices", "mm", 1.3, is_ratio=True),
    "pixel_spacing": Statistic("size of pixels", "mm", 1.3, is_ratio=True),
    "noise": Statistic("standard deviation of HU in soft tissue, from pairs of pixels", "[hnsf'U]", 1.5, is_ratio=True),
    "noise_grain": Statistic("the same of neighbouring pixels, by that of pixels three apart: low for a smooth kernel",
                             "1", 1.3, is_ratio=True),
    "lung_volume": Statistic("volume of both lungs", "ml", 1.3, is_ratio=True),
    "right_share": Statistic("right lung in percent of both", "%", 5.0),
    "lung_height": Statistic("height of the lungs", "mm", 1.15, is_ratio=True),
    "lung_hu_05": Statistic("5th percentile of HU in the lungs", "[hnsf'U]", 25.0),
    "lung_hu_25": Statistic("25th percentile of HU in the lungs", "[hnsf'U]", 25.0),
    "lung_hu_50": Statistic("median of HU in the lungs", "[hnsf'U]", 25.0),
    "lung_hu_75": Statistic("75th percentile of HU in the lungs", "[hnsf'U]", 40.0),
    "lung_hu_95": Statistic("95th percentile of HU in the lungs", "[hnsf'U]", 80.0),
    "low_attenuation": Statistic("lung below -950 HU, on voxels of some 4 mm", "%", 5.0),
    "dense_share": Statistic("lung above -500 HU: vessels, walls, disease", "%", 1.3, is_ratio=True),
    "texture": Statistic("upper quartile of the difference of HU between neighbouring blocks of some 4 mm in the lungs",
                         "[hnsf'U]", 1.3, is_ratio=True),
    "gradient": Statistic("how much denser aerated lung is per cm towards the back", "[hnsf'U]/cm", 5.0),
    "blood": Statistic("upper quartile of HU between the lungs, in front of their middle", "[hnsf'U]", 40.0),
})
"""By name."""
# fmt: on


_MOST_VOXELS = 200_000
"""Lung voxels from which percentiles of HU are taken, evenly spread."""
UNKNOWN = float("nan")
_DENSE_HU = -500.0
_EMPHYSEMA_HU = -950.0
_AERATED_HU = (-950.0, -500.0)
_BLOOD_HU = (0.0, 600.0)
_BESIDE_MIDDLE_MM = 60.0


def input_statistics(ct: CtVolume, lobes: LobeMap) -> dict[str, float]:
    """Every one of `STATISTICS`; a value that cannot be measured is not a number.

    Args:
        ct: HU on any axial grid.
        lobes: on the grid of `ct`; holds at least one voxel of lung.

    Raises:
        GridMismatch: `lobes` is not on the grid of `ct`.
        ValueError: `lobes` is empty.
    """
    require_same_grid(ct.grid, lobes.grid)
    between, down, across = Reorientation.to_patient_axes(ct.grid).grid(ct.grid).spacing_mm
    noise_hu, neighbours_hu = soft_tissue_noise_hu(ct), soft_tissue_noise_hu(ct, apart=1)
    found = {
        "slice_spacing": between,
        "pixel_spacing": (down * across) ** 0.5,
        "noise": UNKNOWN if noise_hu is None else noise_hu,
        "noise_grain": neighbours_hu / noise_hu if noise_hu and neighbours_hu is not None else UNKNOWN,
        **_of_volumes(lobes),
        **_of_density(ct, lobes),
        **_of_blocks(CoarseThorax.of(ct, lobes)),
    }
    return {name: round(float(found[name]), 6) for name in STATISTICS}  # further digits depend on threads


def _of_volumes(lobes: LobeMap) -> dict[str, float]:
    voxels = np.bincount(lobes.labels.ravel(), minlength=len(Lobe) + 1)
    right = sum(int(voxels[lobe]) for lobe in lobes_of(Side.RIGHT))
    both = right + sum(int(voxels[lobe]) for lobe in lobes_of(Side.LEFT))
    return {"lung_volume": both * lobes.grid.voxel_volume_ml, "right_share": 100.0 * right / max(both, 1)}


def _of_density(ct: CtVolume, lobes: LobeMap) -> dict[str, float]:
    box = lung_box(lobes.lungs, lobes.grid)
    hu = ct.hu[box][lobes.labels[box] > 0]
    some = hu[:: max(hu.size // _MOST_VOXELS, 1)]
    percentiles = (5, 25, 50, 75, 95)
    levels = np.percentile(some, percentiles)
    dense = 100.0 * float(np.mean(some > _DENSE_HU))
    found = {f"lung_hu_{percent:02d}": float(level) for percent, level in zip(percentiles, levels, strict=True)}
    return {**found, "dense_share": dense}


def _of_blocks(thorax: CoarseThorax) -> dict[str, float]:
    """What noise must not touch, from means over some 4 mm."""
    lungs = thorax.lungs
    if not lungs.any():
        return dict.fromkeys(("lung_height", "low_attenuation", "texture", "gradient", "blood"), UNKNOWN)
    levels = np.flatnonzero(lungs.any(axis=(1, 2)))
    return {
        "lung_height": float(levels[-1] - levels[0] + 1) * thorax.grid.spacing_mm[0],
        "low_attenuation": 100.0 * float(np.mean(thorax.hu[lungs] < _EMPHYSEMA_HU)),
        "texture": _texture_hu(thorax),
        "gradient": _gradient_per_cm(thorax),
        "blood": _blood_hu(thorax),
    }


def _texture_hu(thorax: CoarseThorax) -> float:
    """How much blocks of lung differ from the next one behind and beside."""
    lungs, hu = thorax.lungs, thorax.hu
    behind = (hu[:, 1:] - hu[:, :-1])[lungs[:, 1:] & lungs[:, :-1]]
    beside = (hu[:, :, 1:] - hu[:, :, :-1])[lungs[:, :, 1:] & lungs[:, :, :-1]]
    steps = np.abs(np.concatenate([behind, beside]))
    return float(np.percentile(steps, 75.0)) if steps.size else UNKNOWN


def _gradient_per_cm(thorax: CoarseThorax) -> float:
    """Slope of a straight line through aerated lung, towards the back: positive in a patient who lies supine."""
    aerated = thorax.lungs & (thorax.hu > _AERATED_HU[0]) & (thorax.hu < _AERATED_HU[1])
    if np.count_nonzero(aerated) < 2:
        return UNKNOWN
    depth_cm = 0.1 * thorax.positions_mm(1)[np.nonzero(aerated)[1]]
    hu = thorax.hu[aerated].astype(np.float64)
    depth_cm -= depth_cm.mean()
    spread = float(np.dot(depth_cm, depth_cm))
    return float(np.dot(depth_cm, hu)) / spread if spread > 0.0 else UNKNOWN


def _blood_hu(thorax: CoarseThorax) -> float:
    """Upper quartile between the lungs, in their lower half and in front of their middle, without the sternum."""
    lungs = thorax.lungs
    z_mm, y_mm, x_mm = (thorax.positions_mm(axis) for axis in range(3))
    levels, rows = np.flatnonzero(lungs.any(axis=(1, 2))), np.flatnonzero(lungs.any(axis=(0, 2)))
    bottom, height = z_mm[levels[0]], z_mm[levels[-1]] - z_mm[levels[0]]
    part = np.ix_(
        (z_mm > bottom + 0.25 * height) & (z_mm < bottom + 0.65 * height),
        (y_mm > y_mm[rows[0]] + 15.0) & (y_mm < thorax.centre_mm(lungs)[1] + 10.0),
        np.abs(x_mm - thorax.midline_mm) < _BESIDE_MIDDLE_MM,
    )
    hu = thorax.hu[part][~lungs[part]]
    blood = hu[(hu > _BLOOD_HU[0]) & (hu < _BLOOD_HU[1])]
    return float(np.percentile(blood, 75.0)) if blood.size else UNKNOWN
