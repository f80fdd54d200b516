"""What each lobe contributes: the table a physicist reads before looking at the map."""

from collections.abc import Iterable
from math import fsum

import numpy as np

from inference.anatomy import Lobe
from inference.volumes import FunctionRegions, LobarPerfusion, LobeMap, PerfusionMap, require_same_grid


def lobar_perfusion(perfusion: PerfusionMap, lobes: LobeMap, regions: FunctionRegions) -> dict[Lobe, LobarPerfusion]:
    """Volume, mean perfusion, share of perfusion and share of functional regions of each lobe.

    Perfusion fractions sum to 1 over the lobes. A lobe without voxels has zeros everywhere.

    Args:
        perfusion: the map; its lungs are those of `lobes`.
        lobes: on the grid of `perfusion`.
        regions: on the grid of `perfusion`.

    Raises:
        GridMismatch: the three are not on one grid.
    """
    require_same_grid(perfusion.grid, lobes.grid)
    require_same_grid(perfusion.grid, regions.grid)
    lungs = lobes.lungs
    labels = lobes.labels[lungs]
    count = len(Lobe) + 1
    voxels = np.bincount(labels, minlength=count)
    perfused = np.bincount(labels, weights=perfusion.values[lungs], minlength=count)
    high = np.bincount(labels, weights=regions.high[lungs], minlength=count)
    low = np.bincount(labels, weights=regions.low[lungs], minlength=count)
    total = float(perfused.sum())

    def row(lobe: Lobe) -> LobarPerfusion:
        size = max(int(voxels[lobe]), 1)
        return LobarPerfusion(
            volume_ml=int(voxels[lobe]) * lobes.grid.voxel_volume_ml,
            mean_perfusion=float(perfused[lobe]) / size,
            perfusion_fraction=float(perfused[lobe]) / total if total > 0 else 0.0,
            high_fraction=float(high[lobe]) / size,
            low_fraction=float(low[lobe]) / size,
        )

    return {lobe: row(lobe) for lobe in Lobe}


def together(rows: Iterable[LobarPerfusion]) -> LobarPerfusion:
    """Several lobes as one region, for instance those of one lung; zeros if they hold no voxel."""
    rows = tuple(rows)
    volume_ml = fsum(row.volume_ml for row in rows)

    def mean(values: Iterable[float]) -> float:
        weighted = fsum(row.volume_ml * value for row, value in zip(rows, values, strict=True))
        return weighted / volume_ml if volume_ml else 0.0

    return LobarPerfusion(
        volume_ml=volume_ml,
        mean_perfusion=mean(row.mean_perfusion for row in rows),
        perfusion_fraction=fsum(row.perfusion_fraction for row in rows),
        high_fraction=mean(row.high_fraction for row in rows),
        low_fraction=mean(row.low_fraction for row in rows),
    )
