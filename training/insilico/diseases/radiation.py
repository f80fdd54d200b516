"""Radiation change: what an earlier course of radiotherapy did to the lung.

Regional perfusion falls with dose about linearly and for 18 months; about 80 % of it shows within 12 (Zhang 2010, Woel
2002). The slope is of the order of 1 % per gray (recalled). High dose also scars, which the CT shows in some patients.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.draws import Draws
from training.insilico.tissue.fine_texture import mesh
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.lung_voxels import LungVoxels

SCAR_FROM_GY = 35.0
SCAR_HU = -350.0
SEEN_FROM_GY = 20.0
"""The mask holds what got this dose or more, the usual V20."""
LEAST_LEFT = 0.15
BATH, BEAM = 0.10, 0.35
"""Dose at the height of the target, and in front of and behind it, as shares of the prescribed one; ours."""


@dataclass(frozen=True, slots=True)
class RadiationChange:
    """Lung that was irradiated around one target."""

    centre_mm: tuple[float, float, float]
    """LPS; of the target."""
    radius_mm: float
    """Of the volume that got the full dose."""
    dose_gy: float
    loss_per_gy: float
    """Share of perfusion lost per gray, once all has shown."""
    shown: float
    """Share of the loss that has shown by now."""
    scar: float
    """How much of the high-dose region looks scarred: 0 not at all, 1 dense."""
    seed: str

    @property
    def name(self) -> str:
        """`radiation-change`."""
        return "radiation-change"

    def damage(self, tissue: LungTissue) -> LungTissue:
        """Capillaries fall with dose; scars where it was high."""
        voxels, draws = LungVoxels.of(tissue.grid, tissue.lobes), Draws(self.seed)
        dose = self.dose_at(voxels)
        irradiated = dose > 1.0
        left = np.maximum(1.0 - self.loss_per_gy * self.shown * dose[irradiated], LEAST_LEFT)
        high = np.clip((dose + 4.0 * voxels.smooth(draws, "border", 20.0) - SCAR_FROM_GY) / 12.0, 0.0, 1.0)
        weight = self.scar * (high * (0.75 + 0.25 * np.clip(mesh(voxels, draws, "scar", 6.0), -1.0, 1.0)))[irradiated]
        before = tissue.hu.reshape(-1)[voxels.flat[irradiated]]
        return tissue.with_lesion(
            self.name,
            voxels.flat[irradiated],
            hu=(before + weight * np.maximum(SCAR_HU - before, 0.0)).astype(np.float32),
            capillaries=left.astype(np.float32),
            adds_tissue=True,
            seen=dose[irradiated] >= SEEN_FROM_GY,
        )

    def dose_at(self, voxels: LungVoxels) -> Float32[np.ndarray, " voxels"]:
        """Dose in gray: the target with a penumbra, beams from front and back, and a bath at its height."""
        x, y, z = self.centre_mm
        radius = self.radius_mm
        target = _inside(voxels.distance_mm(np.array([x, y, z])) - radius, 7.0)
        beam = _inside(np.maximum(np.abs(voxels.x_mm - x), np.abs(voxels.z_mm - z)) - radius, 5.0)
        bath = _inside(np.abs(voxels.z_mm - z) - radius - 5.0, 6.0)
        dose: Float32[np.ndarray, " voxels"] = self.dose_gy * np.maximum(np.maximum(target, BEAM * beam), BATH * bath)
        return dose.astype(np.float32)

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """Arteries stay open."""
        return np.ones(len(tree.parent))

    def record(self) -> dict[str, Any]:
        """Target, dose and effect."""
        return {
            "centre_mm": list(self.centre_mm),
            "radius_mm": self.radius_mm,
            "dose_gy": self.dose_gy,
            "loss_per_gy": self.loss_per_gy,
            "shown": self.shown,
            "scar": self.scar,
        }


def _inside(beyond_mm: Float32[np.ndarray, " voxels"], penumbra_mm: float) -> Float32[np.ndarray, " voxels"]:
    """1 well inside a border, 1/2 on it, 0 well outside."""
    return 1.0 / (1.0 + np.exp(np.clip(beyond_mm / np.float32(0.5 * penumbra_mm), -30.0, 30.0)))
