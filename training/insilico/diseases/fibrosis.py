"""Fibrosis of the kind called usual interstitial pneumonia: a net of scars under the pleura of the bases.

Dense where it is worst, with honeycombs; -700 to -200 HU (recalled). Scars carry few capillaries, so perfusion falls
although the CT shows more tissue.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.draws import Draws
from training.insilico.tissue.fine_texture import mesh
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.lung_voxels import LungVoxels

WALL_HU, GROUND_HU, CYST_HU = -250.0, -640.0, -900.0
NET_MM, HONEYCOMB_MM = 4.5, 4.5
"""Widths of the meshes; honeycomb cysts are 3 to 10 mm wide (Fleischner glossary, recalled)."""


@dataclass(frozen=True, slots=True)
class Fibrosis:
    """Reticulation, ground glass and honeycombs."""

    extent: float
    """Share of the lungs that is scarred: 0.05 ... 0.4."""
    honeycomb: float
    """Share of the scarred lung that is honeycomb."""
    bed_left: float
    """Share of the blood of healthy lung that the worst scars carry."""
    seed: str

    @property
    def name(self) -> str:
        """`fibrosis`."""
        return "fibrosis"

    def damage(self, tissue: LungTissue) -> LungTissue:
        """Scars in the share `extent` of the lungs that lies nearest to pleura, base and back."""
        voxels, draws = LungVoxels.of(tissue.grid, tissue.lobes), Draws(self.seed)
        likely = (
            2.2 * np.exp(-voxels.depth_mm() / 18.0)
            + 1.4 * (1.0 - voxels.height())
            + 0.9 * voxels.dependence()
            + 0.35 * voxels.smooth(draws, "places", 35.0)
        )
        least, worst = np.quantile(likely, [1.0 - self.extent, 1.0 - self.extent * self.honeycomb])
        grade = np.clip((likely - least) / max(float(likely.max() - least), 1e-6), 0.0, 1.0)
        scarred = likely > least
        walls = np.abs(mesh(voxels, draws, "net", NET_MM)) < 0.35 + 0.3 * grade
        comb = np.abs(mesh(voxels, draws, "honeycomb", HONEYCOMB_MM))
        before = tissue.hu.reshape(-1)[voxels.flat]
        ground = np.maximum(before, GROUND_HU)
        hu = np.where(walls, WALL_HU - 220.0 * (1.0 - grade), 0.4 * before + 0.6 * ground)
        hu = np.where(likely > worst, np.where(comb < 0.55, WALL_HU, CYST_HU), hu)
        rim = np.clip((likely - least) / 0.15, 0.0, 1.0)
        hu = (before + rim * (hu - before)).astype(np.float32)
        left = (1.0 - rim * (0.35 + 0.65 * grade) * (1.0 - self.bed_left)).astype(np.float32)
        return tissue.with_lesion(
            self.name, voxels.flat[scarred], hu=hu[scarred], capillaries=left[scarred], adds_tissue=True
        )

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """Arteries stay open."""
        return np.ones(len(tree.parent))

    def record(self) -> dict[str, Any]:
        """Extent and kind."""
        return {"extent": self.extent, "honeycomb": self.honeycomb, "bed_left": self.bed_left}
