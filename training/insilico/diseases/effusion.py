"""Pleural effusion: fluid that sinks to the back of one side of a lying patient, and lung pressed beside it.

Fluid is no lung: what it takes the place of has no lobe and no perfusion. The lung next to it has lost its air
(compressive atelectasis) but stays lung.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from inference.anatomy import Side, lobes_of
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.draws import Draws
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.lung_voxels import LungVoxels

FLUID_HU, PRESSED_HU = 10.0, 20.0
MENISCUS_MM = 6.0
"""How far the surface climbs at the ribs."""
CONSTRICTION = 3
"""Power of the air that is left: vessels constrict before all air has gone, so this lung does not glow; ours."""
SLOPE = 0.12
"""How much deeper the fluid stands per way to the base, as the recoil of the lung is strongest at the apex; ours."""


@dataclass(frozen=True, slots=True)
class Effusion:
    """Fluid in one pleural space."""

    side: Side
    share: float
    """Share of the side's room that the fluid takes: 0.03 small ... 0.35 large."""
    pressed_mm: float
    """Thickness of the airless lung above it."""
    bed_left: float
    """Share of the capillaries that the pressed lung keeps open."""
    seed: str

    @property
    def name(self) -> str:
        """`effusion`."""
        return "effusion"

    def damage(self, tissue: LungTissue) -> LungTissue:
        """Fluid up to a level, then a band of pressed lung."""
        voxels, draws = LungVoxels.of(tissue.grid, tissue.lobes, lobes_of(self.side)), Draws(self.seed)
        if len(voxels.flat) == 0:
            return tissue
        above = self._height_above_back_mm(voxels)
        level = np.quantile(above, self.share)
        fluid = above <= level
        pressed = np.clip((level + self.pressed_mm - above) / 4.0 + 0.4 * voxels.smooth(draws, "edge", 20.0), 0.0, 1.0)
        pressed[fluid] = 0.0
        full = tissue.with_lesion(self.name, voxels.flat[fluid], hu=FLUID_HU, lobes=0)
        struck = pressed > 0.0
        before = tissue.hu.reshape(-1)[voxels.flat[struck]]
        dense = (before + pressed[struck] * np.maximum(PRESSED_HU - before, 0.0)).astype(np.float32)
        left = (self.bed_left + (1.0 - self.bed_left) * (1.0 - pressed[struck]) ** CONSTRICTION).astype(np.float32)
        return full.with_lesion("compressive-atelectasis", voxels.flat[struck], hu=dense, capillaries=left)

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """Arteries stay open."""
        return np.ones(len(tree.parent))

    def record(self) -> dict[str, Any]:
        """Side and size."""
        return {
            "side": self.side.tg263,
            "share_of_side": self.share,
            "pressed_mm": self.pressed_mm,
            "bed_left": self.bed_left,
        }

    def _height_above_back_mm(self, voxels: LungVoxels) -> Float32[np.ndarray, " voxels"]:
        """Height over the deepest voxel, less where the fluid climbs and towards the base."""
        middle, half = float(np.median(voxels.x_mm)), float(np.ptp(voxels.x_mm)) / 2.0
        climb = MENISCUS_MM * np.clip((np.abs(voxels.x_mm - middle) / half - 0.6) / 0.4, 0.0, 1.0)
        tilt = SLOPE * (voxels.z_mm - float(voxels.z_mm.min()))
        height: Float32[np.ndarray, " voxels"] = (float(voxels.y_mm.max()) - voxels.y_mm) - climb + tilt
        return height.astype(np.float32)
