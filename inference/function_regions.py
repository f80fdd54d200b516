"""High- and low-functional lung from a perfusion map, by a stated rule.

No threshold is right: publications use the median, top thirds, quartiles and fractions of the mean. So every rule has
a name, is chosen in the configuration and travels with the regions it made.

Small islands are noise and make contours that nobody wants in a planning system, so they are taken out of their
region. They do not join the other region: what is called low is always below the level, except for small filled
holes. With the median rule, high and low together therefore leave out the removed islands and need not fill the
lungs entirely.
"""

from collections.abc import Mapping
from types import MappingProxyType

import cc3d
import numpy as np
from jaxtyping import Bool, UInt32

from inference.lung_box import lung_box
from inference.volumes import FunctionBasis, FunctionRegions, FunctionRule, PerfusionMap

RULES: Mapping[str, FunctionRule] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            # What the Dice and Spearman values of Ren 2022 (10.3389/fonc.2022.883516) imply; the default.
            FunctionRule("median", FunctionBasis.PERCENTILE, high_from=50.0, low_below=50.0),
            # What those of Ren 2021 (IJROBP 110:1508) imply: high is the top 66 %.
            FunctionRule("thirds-66-34", FunctionBasis.PERCENTILE, high_from=34.0, low_below=34.0),
            # Three equal volumes (Grover 2022), the middle one in neither region.
            FunctionRule("top-bottom-third", FunctionBasis.PERCENTILE, high_from=200.0 / 3.0, low_below=100.0 / 3.0),
            # 75th and 25th percentile (PMC8444226).
            FunctionRule("quartiles", FunctionBasis.PERCENTILE, high_from=75.0, low_below=25.0),
            # Levels in multiples of the lung mean: region volumes then say how uneven the map is. Ours.
            FunctionRule("fraction-of-mean", FunctionBasis.FRACTION_OF_MEAN, high_from=1.0, low_below=0.7),
        )
    }
)
"""Rules that a configuration may name."""

DEFAULT_RULE = RULES["median"]


def function_rule(name: str) -> FunctionRule:
    """The rule of that name.

    Raises:
        ValueError: there is none; the message lists all names.
    """
    if name not in RULES:
        raise ValueError(f"there is no function rule {name!r}; known are {', '.join(RULES)}")
    return RULES[name]


def find_function_regions(perfusion: PerfusionMap, rule: FunctionRule = DEFAULT_RULE) -> FunctionRegions:
    """Cut the lungs into high- and low-functional regions.

    Percentiles are taken over all voxels of both lungs, with linear interpolation. Then islands under
    `rule.smallest_island_ml` are removed and holes under `rule.smallest_hole_ml` filled. An island is joined by
    faces only; a hole is lung outside the region, joined also by edges and corners. A hole that holds part of the
    other region is not filled.

    Args:
        perfusion: relative perfusion of both lungs.
        rule: levels and sizes.
    """
    high = np.zeros(perfusion.grid.shape, dtype=bool)
    low = np.zeros(perfusion.grid.shape, dtype=bool)
    if perfusion.lungs.any():
        box = lung_box(perfusion.lungs, perfusion.grid)
        lungs, values = perfusion.lungs[box], perfusion.values[box]
        high_from, low_below = levels(perfusion, rule)
        # A region of exactly the limit stays, also where voxel volumes are not exact in binary.
        island, hole = (
            limit_ml / perfusion.grid.voxel_volume_ml - 1e-6
            for limit_ml in (rule.smallest_island_ml, rule.smallest_hole_ml)
        )
        is_high = _without_islands(lungs & (values >= high_from), island)
        is_low = _without_islands(lungs & (values < low_below), island)
        # Filling also takes specks of lung that hang on nothing; they are islands again.
        high[box] = _without_islands(_without_holes(is_high, is_low, lungs, hole), island)
        low[box] = _without_islands(_without_holes(is_low, high[box], lungs, hole), island)
    return FunctionRegions(high, low, perfusion.grid, rule)


def levels(perfusion: PerfusionMap, rule: FunctionRule) -> tuple[float, float]:
    """The rule's two levels, high and low, as values of relative perfusion in this map."""
    inside = perfusion.values[perfusion.lungs]
    if rule.basis is FunctionBasis.PERCENTILE:
        high_from, low_below = np.percentile(inside, [rule.high_from, rule.low_below])
    else:
        high_from, low_below = np.array([rule.high_from, rule.low_below]) * inside.mean(dtype=np.float64)
    return float(high_from), float(low_below)


def _without_islands(region: Bool[np.ndarray, "s r c"], smallest_voxels: float) -> Bool[np.ndarray, "s r c"]:
    parts = _parts(region, connectivity=6)
    keep = np.bincount(parts.ravel()) >= smallest_voxels
    keep[0] = False
    kept: Bool[np.ndarray, "s r c"] = keep[parts]
    return kept


def _without_holes(
    region: Bool[np.ndarray, "s r c"],
    other: Bool[np.ndarray, "s r c"],
    lungs: Bool[np.ndarray, "s r c"],
    smallest_voxels: float,
) -> Bool[np.ndarray, "s r c"]:
    if not region.any():
        return region
    parts = _parts(lungs & ~region, connectivity=26)
    sizes = np.bincount(parts.ravel())
    fill = sizes < smallest_voxels
    fill[np.unique(parts[other])] = False
    fill[0] = False
    filled: Bool[np.ndarray, "s r c"] = region | fill[parts]
    return filled


def _parts(mask: Bool[np.ndarray, "s r c"], *, connectivity: int) -> UInt32[np.ndarray, "s r c"]:
    """Connected parts of a mask, numbered from 1."""
    parts = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=connectivity, out_dtype=np.uint32)
    return np.asarray(parts)
