"""Vasoconstriction: regions that get less blood because their small arteries are tight. The CT does not show it.

It stands for hypoxic vasoconstriction behind narrow airways (COPD, asthma) and for disease of the small vessels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.draws import Draws
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.lung_voxels import LungVoxels


@dataclass(frozen=True, slots=True)
class Vasoconstriction:
    """Patches of lung that carry less blood than they look like."""

    share: float
    """Of the lungs that is struck: 0.1 ... 0.4."""
    patch_mm: float
    """Correlation length of the patches: 30 mm, about a subsegment, to 60 mm, about a segment."""
    bed_left: float
    """Share of the conductance left in the middle of a patch."""
    seed: str

    @property
    def name(self) -> str:
        """`vasoconstriction`."""
        return "vasoconstriction"

    def damage(self, tissue: LungTissue) -> LungTissue:
        """Less capillary conductance in the patches; CT numbers stay."""
        voxels = LungVoxels.of(tissue.grid, tissue.lobes)
        field = voxels.smooth(Draws(self.seed), "patches", self.patch_mm)
        depth = np.clip((field - np.quantile(field, 1.0 - self.share)) / 0.3, 0.0, 1.0)
        struck = depth > 0.0
        left = (1.0 - depth[struck] * (1.0 - self.bed_left)).astype(np.float32)
        return tissue.with_lesion(self.name, voxels.flat[struck], capillaries=left)

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """The arteries of the tree stay open; what constricts is smaller than its ends."""
        return np.ones(len(tree.parent))

    def record(self) -> dict[str, Any]:
        """Size and severity."""
        return {"share": self.share, "patch_mm": self.patch_mm, "bed_left": self.bed_left}
