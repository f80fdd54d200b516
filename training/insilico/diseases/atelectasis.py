"""Atelectasis: lung that has lost its air and shrunk. It stays lung, is dense, and carries little blood.

Two kinds: the dependent rim that many lying patients have, and the collapse of a whole lobe behind a closed bronchus,
into whose room its neighbours expand.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from inference.anatomy import Lobe, lobes_of
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.draws import Draws
from training.insilico.people.body import Body
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.lung_voxels import LungVoxels

COLLAPSED_HU = 40.0
DEPENDENT_HU = -250.0
CONSTRICTION = 3
"""Power of the air that is left, by which vessels have constricted; ours."""
FISSURE_MM = 5.0
"""Old fissures within this distance of the room are wiped out when a lobe has left it."""


@dataclass(frozen=True, slots=True)
class DependentAtelectasis:
    """A rim of badly aerated lung at the back of the lower lobes."""

    thickness_mm: float
    """At the base; it thins out towards the apex."""
    bed_left: float
    seed: str

    @property
    def name(self) -> str:
        """`atelectasis`."""
        return "atelectasis"

    def damage(self, tissue: LungTissue) -> LungTissue:
        """The rim within the thickness of the pleura, at the back only."""
        voxels, draws = LungVoxels.of(tissue.grid, tissue.lobes), Draws(self.seed)
        thickness = self.thickness_mm * (1.0 - 0.8 * voxels.height()) + 2.5 * voxels.smooth(draws, "rim", 25.0)
        rim = np.clip((thickness - voxels.depth_mm()) / 4.0, 0.0, 1.0)
        rim *= np.clip((voxels.dependence() - 0.72) / 0.12, 0.0, 1.0)
        rim *= np.isin(voxels.lobe, (Lobe.RLL, Lobe.LLL))
        struck = rim > 0.0
        before = tissue.hu.reshape(-1)[voxels.flat[struck]]
        left = self.bed_left + (1.0 - self.bed_left) * (1.0 - rim[struck]) ** CONSTRICTION
        return tissue.with_lesion(
            self.name,
            voxels.flat[struck],
            hu=(before + rim[struck] * np.maximum(DEPENDENT_HU - before, 0.0)).astype(np.float32),
            capillaries=left.astype(np.float32),
            seen=rim[struck] > 0.5,
        )

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """Arteries stay open."""
        return np.ones(len(tree.parent))

    def record(self) -> dict[str, Any]:
        """Kind and size."""
        return {"kind": "dependent", "thickness_mm": self.thickness_mm, "bed_left": self.bed_left}


@dataclass(frozen=True, slots=True)
class LobarCollapse:
    """A lobe without air, shrunk towards the hilum; the other lobes of the side take its room."""

    lobe: Lobe
    volume_left: float
    """Share of the lobe's volume that remains: about a quarter."""
    hilum_mm: tuple[float, float, float]
    """LPS; where the lobe hangs."""
    bed_left: float
    """Share of the capillaries that still carry blood."""
    seed: str

    @property
    def name(self) -> str:
        """`atelectasis`."""
        return "atelectasis"

    def shrunk(self, body: Body) -> Body:
        """The body with the small lobe and the others in its room, before arteries grow: they have followed the lung.

        What lies next to the hilum stays the lobe. The rest becomes the nearest other lobe, without the old fissure.
        A body without another lobe on that side stays as it is.
        """
        voxels = LungVoxels.of(body.grid, body.lobes, (self.lobe,))
        others = LungVoxels.of(body.grid, body.lobes, [k for k in lobes_of(self.lobe.side) if k is not self.lobe])
        if len(voxels.flat) == 0 or len(others.flat) == 0:
            return body
        # Collapsed lobes lie against the mediastinum: the way to the side counts twice.
        x, y, z = self.hilum_mm
        way = np.sqrt((2.0 * (voxels.x_mm - x)) ** 2 + (voxels.y_mm - y) ** 2 + (0.6 * (voxels.z_mm - z)) ** 2)
        way = way + 3.0 * voxels.smooth(Draws(self.seed), "border", 20.0)
        return _given_away(body, voxels, way > np.quantile(way, self.volume_left), others)

    def damage(self, tissue: LungTissue) -> LungTissue:
        """No air in the lobe, all of it."""
        voxels = LungVoxels.of(tissue.grid, tissue.lobes, (self.lobe,))
        return tissue.with_lesion(self.name, voxels.flat, hu=COLLAPSED_HU, capillaries=float(self.bed_left))

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """Large arteries stay open; the constriction is that of the capillary bed."""
        return np.ones(len(tree.parent))

    def record(self) -> dict[str, Any]:
        """Kind, place and size."""
        return {
            "kind": "lobar collapse",
            "lobe": self.lobe.name,
            "volume_left": self.volume_left,
            "bed_left": self.bed_left,
        }


def _given_away(body: Body, voxels: LungVoxels, left: Bool[np.ndarray, " voxels"], others: LungVoxels) -> Body:
    """The neighbours in the room that a lobe has left: their label, their air, no old fissure."""
    from scipy.spatial import cKDTree  # heavy; only this disease needs it

    known = np.column_stack([others.x_mm, others.y_mm, others.z_mm])
    place = np.column_stack([voxels.x_mm, voxels.y_mm, voxels.z_mm])[left]
    few = slice(None, None, max(len(known) // 20000, 1))
    lobes, hu, room = body.lobes.copy(), body.hu.copy(), voxels.flat[left]
    lobes.reshape(-1)[room] = others.lobe[few][cKDTree(known[few]).query(place)[1]]
    few = slice(None, None, max(len(place) // 30000, 1))
    beside = np.isfinite(cKDTree(place[few]).query(known, distance_upper_bound=FISSURE_MM)[0])
    flat, typical = hu.reshape(-1), float(np.median(body.hu.reshape(-1)[others.flat]))
    for where in (room, others.flat[beside]):
        flat[where] = np.where(flat[where] > typical + 70.0, typical, flat[where])
    return replace(body, lobes=lobes, hu=hu)
