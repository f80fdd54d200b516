"""Emphysema: lung tissue that has gone, seen as air on the CT, and capillaries that have gone with it, or without it.

Three kinds, by where in the lobule and in the lung it begins (Fleischner Society classification, Lynch 2015, recalled):
centrilobular spots in the upper lobes, panlobular thinning of the lower lobes, paraseptal bullae under the pleura.

How much perfusion is lost is only loosely tied to what the CT shows: in severe emphysema the density of a lobe explains
an eighth of the variance of its perfusion (R2 = 0.13; Bonney, EJNMMI Res 2020;10:81). So every lobe, and every few
centimetres in it, keeps a share of its capillaries of its own. The spreads of these shares are ours, set so that a
regression over many in-silico patients is as weak.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32

from inference.anatomy import Lobe
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.draws import Draws
from training.insilico.tissue.fine_texture import mesh
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.lung_voxels import LungVoxels

HOLE_HU, BULLA_HU = -990.0, -992.0
LOBAR_SPREAD, LOCAL_SPREAD = 0.60, 0.35
"""Standard deviations of the logarithm of the capillary share left, between lobes and within them; ours, tuned."""
LOBULE_MM = 4.6
"""Correlation length that makes holes of 5 to 12 mm, the middles of lobules; smaller ones vanish in slices of 3 mm."""
AIR_TRAPPED_HU = 100.0
"""How much lighter the lung between the holes is, by the extent of emphysema: air that is not breathed out; ours."""
LOSS_WITH_HOLES = 0.3
"""Logarithm of the capillary share lost where all tissue has turned to holes; ours."""
UPPER_LOBES = (Lobe.RUL, Lobe.LUL)


@dataclass(frozen=True, slots=True)
class CentrilobularEmphysema:
    """Holes of 5 to 12 mm in the middle of the lobules; they flow together where it is severe."""

    extent: float
    """Share of the lungs that has turned to holes: 0.02 trace ... 0.45 destructive."""
    seed: str
    """Name of the draws for all places."""
    lobe_weights: ClassVar[dict[Lobe, float]] = {
        Lobe.RUL: 1.5,
        Lobe.RML: 1.0,
        Lobe.RLL: 0.7,
        Lobe.LUL: 1.5,
        Lobe.LLL: 0.7,
    }
    """How strongly each lobe is struck: the upper lobes most; ours."""

    @property
    def name(self) -> str:
        """`centrilobular-emphysema`."""
        return "centrilobular-emphysema"

    def damage(self, tissue: LungTissue) -> LungTissue:
        """Holes where the spots lie densest and largest, up to the wanted extent."""
        voxels, draws = LungVoxels.of(tissue.grid, tissue.lobes), Draws(self.seed)
        activity = np.exp(0.45 * voxels.smooth(draws, "places", 70.0) + 0.5 * (voxels.height() - 0.5))
        activity *= _by_lobe(voxels, self.lobe_weights)
        weak = mesh(voxels, draws, "lobules", LOBULE_MM) + np.log(activity)
        hole = np.clip((weak - np.quantile(weak, 1.0 - self.extent)) / 0.2 + 0.5, 0.0, 1.0)
        before = tissue.hu.reshape(-1)[voxels.flat]
        thin = before - np.float32(AIR_TRAPPED_HU * self.extent) * np.clip(activity, 0.0, 2.0)
        share = np.clip(self.extent * activity / activity.mean(), 0.0, 1.0)
        return tissue.with_lesion(
            self.name,
            voxels.flat,
            hu=_thinner(before, thin + hole * (HOLE_HU - thin)),
            capillaries=bed_left(voxels, draws, share, self.extent),
            seen=hole > 0.5,
        )

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """Arteries stay open."""
        return np.ones(len(tree.parent))

    def record(self) -> dict[str, Any]:
        """Extent."""
        return {"extent": self.extent}


@dataclass(frozen=True, slots=True)
class PanlobularEmphysema:
    """All of the lobule thins, evenly, most in the lower lobes."""

    severity: float
    """Share of the tissue that has gone where it is worst: 0.3 ... 0.8."""
    seed: str

    @property
    def name(self) -> str:
        """`panlobular-emphysema`."""
        return "panlobular-emphysema"

    def damage(self, tissue: LungTissue) -> LungTissue:
        """Low density without borders, rising towards the base."""
        voxels, draws = LungVoxels.of(tissue.grid, tissue.lobes), Draws(self.seed)
        weight = 1.15 - 0.7 * voxels.height() + 0.2 * voxels.smooth(draws, "places", 60.0)
        lower = (voxels.lobe == Lobe.RLL) | (voxels.lobe == Lobe.LLL)
        lost = np.clip(self.severity * weight * np.where(lower, 1.0, 0.65), 0.0, 0.9).astype(np.float32)
        before = tissue.hu.reshape(-1)[voxels.flat]
        return tissue.with_lesion(
            self.name,
            voxels.flat,
            hu=_thinner(before, before + lost * (HOLE_HU - before)),
            capillaries=bed_left(voxels, draws, lost, self.severity),
            seen=lost > 0.5 * self.severity,
        )

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """Arteries stay open."""
        return np.ones(len(tree.parent))

    def record(self) -> dict[str, Any]:
        """Severity."""
        return {"severity": self.severity}


@dataclass(frozen=True, slots=True)
class ParaseptalEmphysema:
    """A row of bullae under the pleura of the upper lobes."""

    count: int
    largest_mm: float
    """Diameter of the largest bulla; the others are down to a third of it."""
    seed: str

    @property
    def name(self) -> str:
        """`paraseptal-emphysema`."""
        return "paraseptal-emphysema"

    def damage(self, tissue: LungTissue) -> LungTissue:
        """Balls of air, cut off by the pleura; nothing flows through them."""
        voxels, draws = LungVoxels.of(tissue.grid, tissue.lobes), Draws(self.seed)
        level = self._level(voxels, draws)
        inside = level < 1.0
        before = tissue.hu.reshape(-1)[voxels.flat[inside]]
        wall = np.clip((level[inside] - 0.85) / 0.15, 0.0, 1.0)
        return tissue.with_lesion(
            self.name,
            voxels.flat[inside],
            hu=(BULLA_HU + wall * (before - BULLA_HU)).astype(np.float32),
            capillaries=0.05,
        )

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """Arteries stay open."""
        return np.ones(len(tree.parent))

    def record(self) -> dict[str, Any]:
        """Number and size of the bullae."""
        return {"count": self.count, "largest_mm": self.largest_mm}

    def _level(self, voxels: LungVoxels, draws: Draws) -> Float32[np.ndarray, " voxels"]:
        """0 in the middle of a bulla, 1 on its surface."""
        depth = voxels.depth_mm()
        level = np.full(depth.shape, np.inf, dtype=np.float32)
        high = voxels.height() + 0.2 * voxels.smooth(draws, "places", 50.0) > 0.75
        under = np.flatnonzero(high & (depth < 0.45 * self.largest_mm) & np.isin(voxels.lobe, UPPER_LOBES))
        places = np.column_stack([voxels.z_mm, voxels.y_mm, voxels.x_mm])
        for k in range(self.count if len(under) else 0):
            centre = places[under[int(draws.between(f"bulla {k}", 0.0, len(under)))]]
            radius = 0.5 * self.largest_mm * draws.between(f"size {k}", 0.33, 1.0)
            near = np.flatnonzero(np.abs(voxels.z_mm - centre[0]) < radius)
            way = np.linalg.norm(places[near] - centre, axis=1) / np.float32(radius)
            level[near] = np.minimum(level[near], way)
        return level


def bed_left(
    voxels: LungVoxels, draws: Draws, lost_tissue: Float32[np.ndarray, " voxels"], severity: float
) -> Float32[np.ndarray, " voxels"]:
    """Share of the capillaries per gram of remaining tissue that emphysema leaves.

    It falls where tissue is lost, and strays by lobe and place more than that, all the more in severe disease.

    Args:
        voxels: where.
        draws: of the disease.
        lost_tissue: 0 ... 1 at each place.
        severity: 0 ... 1 over the lungs; from 0.3 on the strays are at their full size.
    """
    full = min(severity / 0.3, 1.0)
    strays = {lobe: draws.normal(f"bed of {lobe.name}", 0.0, LOBAR_SPREAD) for lobe in Lobe}
    log_left = full * (_by_lobe(voxels, strays) + LOCAL_SPREAD * voxels.smooth(draws, "bed", 35.0))
    log_left -= full * (LOBAR_SPREAD + LOCAL_SPREAD) + LOSS_WITH_HOLES * lost_tissue
    return np.clip(np.exp(log_left), 0.03, 1.0).astype(np.float32)


def _by_lobe(voxels: LungVoxels, values: dict[Lobe, float]) -> Float32[np.ndarray, " voxels"]:
    table = np.zeros(max(Lobe) + 1, np.float32)
    for lobe, value in values.items():
        table[lobe] = value
    values_there: Float32[np.ndarray, " voxels"] = np.take(table, voxels.lobe)
    return values_there


def _thinner(
    before: Float32[np.ndarray, " voxels"], after: Float32[np.ndarray, " voxels"]
) -> Float32[np.ndarray, " voxels"]:
    """Emphysema never adds tissue, and leaves no less than air."""
    hu: Float32[np.ndarray, " voxels"] = np.minimum(before, np.maximum(after, -998.0)).astype(np.float32)
    return hu
