"""Consolidation: a part of a lobe whose air spaces are filled, as in pneumonia. Its volume stays, and it stays lung.

Lung without air is hardly ventilated, so its arteries constrict (hypoxic vasoconstriction) and it carries little blood.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from inference.anatomy import Lobe
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.draws import Draws
from training.insilico.tissue.fine_texture import mesh
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.lung_voxels import LungVoxels

CONSOLIDATED_HU, GROUND_GLASS_HU = 15.0, -550.0
"""Within -100 ... +60 and -750 ... -300 HU (recalled)."""


@dataclass(frozen=True, slots=True)
class Consolidation:
    """Filled air spaces around one place in one lobe."""

    lobe: Lobe
    share: float
    """Of the lobe: 0.05 a patch, 0.2 a segment, 1 all."""
    centre_mm: tuple[float, float, float]
    """LPS."""
    bed_left: float
    """Share of the capillaries that still carry blood."""
    seed: str

    @property
    def name(self) -> str:
        """`consolidation`."""
        return "consolidation"

    def damage(self, tissue: LungTissue) -> LungTissue:
        """The part of the lobe next to the centre is filled, with a rim of ground glass and patches of air."""
        voxels, draws = LungVoxels.of(tissue.grid, tissue.lobes, (self.lobe,)), Draws(self.seed)
        if len(voxels.flat) == 0:
            return tissue
        way = voxels.distance_mm(np.array(self.centre_mm)) + 9.0 * voxels.smooth(draws, "border", 18.0)
        edge = np.quantile(way, min(self.share, 1.0))
        dense = np.clip((edge - way) / 4.0 + 0.5, 0.0, 1.0) if self.share < 1.0 else np.ones_like(way)
        glass = np.clip((edge + 10.0 - way) / 8.0, 0.0, 1.0)
        airy = np.clip(mesh(voxels, draws, "air", 5.0) - 1.6, 0.0, 1.0)
        before = tissue.hu.reshape(-1)[voxels.flat]
        hu = before + 0.7 * glass * (np.maximum(before, GROUND_GLASS_HU) - before)
        hu = hu + dense * (CONSOLIDATED_HU - 700.0 * airy - hu)
        left = 1.0 - np.maximum(dense, 0.3 * glass) * (1.0 - self.bed_left)
        struck = glass > 0.0
        return tissue.with_lesion(
            self.name,
            voxels.flat[struck],
            hu=hu[struck].astype(np.float32),
            capillaries=left[struck].astype(np.float32),
            adds_tissue=True,
            seen=dense[struck] > 0.5,
        )

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """Large arteries stay open; the constriction is that of the capillary bed."""
        return np.ones(len(tree.parent))

    def record(self) -> dict[str, Any]:
        """Place and size."""
        return {
            "lobe": self.lobe.name,
            "share_of_lobe": self.share,
            "centre_mm": list(self.centre_mm),
            "bed_left": self.bed_left,
        }
