"""Sums over the voxels of each lobe, taken in one pass over the slices: what checks of lobes compare."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from inference.anatomy import Lobe, Side, lobes_of
from inference.geometry import Grid
from inference.lung_box import lung_box
from inference.volumes import CtVolume, LobeMap

DENSE_HU = -200.0
"""Above this lung holds no air to speak of: vessels, tumour, consolidation."""
_LABELS = 256


@dataclass(frozen=True, slots=True, eq=False)
class LobeFigures:
    """Sums by label; label 0 is empty, because only lung is counted."""

    grid: Grid
    voxels: Int[np.ndarray, " labels"]
    hu: Float[np.ndarray, " labels"]
    """Sum of HU."""
    dense: Int[np.ndarray, " labels"]
    """Voxels above `DENSE_HU`."""
    index: Float[np.ndarray, "labels 3"]
    """Sums of slice, row and column."""

    @classmethod
    def of(cls, ct: CtVolume, lobes: LobeMap) -> "LobeFigures":
        """Count the lobes of a CT on the same grid."""
        voxels, dense = np.zeros(_LABELS, np.int64), np.zeros(_LABELS, np.int64)
        hu, index = np.zeros(_LABELS), np.zeros((_LABELS, 3))
        box = lung_box(lobes.lungs, lobes.grid) if lobes.labels.any() else (slice(0, 0),) * 3
        for k in range(box[0].start, box[0].stop):
            section = lobes.labels[k][box[1:]]
            rows, columns = np.nonzero(section)
            labels = section[rows, columns]
            values = ct.hu[k][box[1:]][rows, columns]
            count = np.bincount(labels, minlength=_LABELS)
            voxels += count
            hu += np.bincount(labels, weights=values, minlength=_LABELS)
            dense += np.bincount(labels[values > DENSE_HU], minlength=_LABELS)
            index[:, 0] += k * count
            index[:, 1] += np.bincount(labels, weights=rows + box[1].start, minlength=_LABELS)
            index[:, 2] += np.bincount(labels, weights=columns + box[2].start, minlength=_LABELS)
        return cls(lobes.grid, voxels, hu, dense, index)

    @property
    def unknown(self) -> int:
        """Voxels whose label is no lobe."""
        return int(self.voxels.sum() - self.voxels[list(Lobe)].sum())

    def ml(self, *lobes: Lobe) -> float:
        """Volume of some lobes together."""
        return float(self.voxels[list(lobes)].sum()) * self.grid.voxel_volume_ml

    def lung_ml(self, side: Side) -> float:
        """Volume of one lung."""
        return self.ml(*lobes_of(side))

    def mean_hu(self, *lobes: Lobe) -> float:
        """Mean HU of some lobes together; 0 if they are empty."""
        return float(self.hu[list(lobes)].sum()) / max(int(self.voxels[list(lobes)].sum()), 1)

    def dense_percent(self, lobe: Lobe) -> float:
        """Part of a lobe above `DENSE_HU`."""
        return 100.0 * float(self.dense[lobe]) / max(int(self.voxels[lobe]), 1)

    def centre_mm(self, *lobes: Lobe) -> Float[np.ndarray, " 3"]:
        """Patient x, y, z of the centre of some lobes that are not all empty."""
        index = self.index[list(lobes)].sum(axis=0) / float(self.voxels[list(lobes)].sum())
        return self.grid.to_patient_mm(index)

    @property
    def present(self) -> tuple[Lobe, ...]:
        """Lobes that have a voxel."""
        return tuple(lobe for lobe in Lobe if self.voxels[lobe])

    @property
    def missing_lungs(self) -> tuple[Side, ...]:
        """Sides without any lobe."""
        return tuple(side for side in Side if not self.voxels[list(lobes_of(side))].any())
