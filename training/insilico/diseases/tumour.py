"""Lung tumours, peripheral and central, and the arteries that they press shut.

How much perfusion is missing is graded as in Cancer Biol Med 2005: 0 none, 1 as large as the lesion, 2 larger, up to a
lobe, 3 more than a lobe. In 73 % of patients with lung cancer the tumour is the leading cause of defects on its side
(PMC3351273). Grades 2 and 3 come from one narrowed or closed artery near the tumour; what lies downstream gets less.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from inference.anatomy import Lobe, lobes_of
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.branching import distance_mm, ends_supplied, lobar_artery, upstream
from training.insilico.draws import Draws
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.lung_voxels import LungVoxels

SOLID_HU = 35.0
SPICULE_HU = -250.0
BED_LEFT = {0: 0.9, 1: 0.05, 2: 0.05, 3: 0.05}
"""Blood in the tumour by grade, against healthy lung in its place: with grade 0 so much that no defect is seen, else
next to nothing, since tumours live on bronchial arteries; ours."""
NEAR_MM = 12.0
"""A tumour presses on arteries that pass within this distance of its surface; ours."""


@dataclass(frozen=True, slots=True)
class Tumour:
    """One primary tumour."""

    centre_mm: tuple[float, float, float]
    """LPS."""
    radius_mm: float
    central: bool
    """At the hilum, else in the lung."""
    grade: int
    """Of the perfusion defect, 0 ... 3."""
    arteries: tuple[int, ...]
    """Segments of the tree that it presses on."""
    lumen: float
    """What is left of their radius."""
    spicules: int
    """Number of strands that run out from it."""
    seed: str

    @property
    def name(self) -> str:
        """`tumour`."""
        return "tumour"

    def damage(self, tissue: LungTissue) -> LungTissue:
        """A lumpy ball of soft tissue with strands, as far as it lies in lung."""
        voxels, draws = LungVoxels.of(tissue.grid, tissue.lobes), Draws(self.seed)
        way = voxels.distance_mm(np.array(self.centre_mm))
        near = way < 1.8 * self.radius_mm
        lumps = voxels.smooth(draws, "surface", max(0.8 * self.radius_mm, 12.0))[near]
        level = way[near] / np.float32(self.radius_mm) + 0.10 * lumps
        edge = 0.75 * min(tissue.grid.spacing_mm) / self.radius_mm
        solid = np.clip((1.0 - level) / (2.0 * edge) + 0.5, 0.0, 1.0)
        strand = self._strands(voxels, near, draws) * np.clip((1.7 - level) / 0.7, 0.0, 1.0)
        before = tissue.hu.reshape(-1)[voxels.flat[near]]
        hu = before + 0.8 * strand * np.maximum(SPICULE_HU - before, 0.0)
        hu = hu + solid * (SOLID_HU - hu)
        struck = (solid > 0.0) | (strand > 0.0)
        return tissue.with_lesion(
            self.name,
            voxels.flat[near][struck],
            hu=hu[struck].astype(np.float32),
            capillaries=(1.0 - solid[struck] * (1.0 - BED_LEFT[self.grade])).astype(np.float32),
            adds_tissue=True,
            seen=solid[struck] > 0.5,
        )

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """The arteries that it presses on."""
        lumen = np.ones(len(tree.parent))
        lumen[list(self.arteries)] = self.lumen
        return lumen

    def record(self) -> dict[str, Any]:
        """Place, size and defect."""
        return {
            "centre_mm": list(self.centre_mm),
            "diameter_mm": 2.0 * self.radius_mm,
            "central": self.central,
            "grade": self.grade,
            "arteries": list(self.arteries),
            "lumen": self.lumen,
        }

    def _strands(self, voxels: LungVoxels, near: np.ndarray, draws: Draws) -> Float32[np.ndarray, " voxels"]:
        """1 on the axis of a strand, 0 from 2 mm on."""
        place = np.column_stack([voxels.x_mm[near], voxels.y_mm[near], voxels.z_mm[near]])
        offset = place - np.array(self.centre_mm, dtype=np.float32)
        strand = np.zeros(len(offset), np.float32)
        towards = draws.generator("strands").standard_normal((self.spicules, 3)).astype(np.float32)
        for direction in towards / np.linalg.norm(towards, axis=1, keepdims=True):
            along = offset @ direction
            aside = np.linalg.norm(offset - along[:, None] * direction, axis=1)
            strand = np.maximum(strand, np.where(along > 0.0, np.clip(1.0 - aside / 2.0, 0.0, 1.0), 0.0))
        return strand


def pressed_arteries(
    draws: Draws,
    tree: ArterialTree,
    *,
    centre_mm: tuple[float, float, float],
    radius_mm: float,
    lobe: Lobe,
    grade: int,
) -> tuple[int, ...]:
    """The arteries a tumour has to press on for its grade: none, one in its lobe, or one or more of more than a lobe.

    Args:
        draws: chooses where several would do.
        tree: the healthy arteries.
        centre_mm: of the tumour, LPS.
        radius_mm: of the tumour.
        lobe: that it lies in or nearest to.
        grade: of the wanted defect.
    """
    if grade < 2:
        return ()
    if grade == 3:
        return _of_more_than_a_lobe(draws, tree, lobe)
    way, supplied = distance_mm(tree, np.array(centre_mm)) - radius_mm, ends_supplied(tree)
    within = (tree.end >= 0) & (np.linalg.norm(tree.end_mm - np.array(centre_mm), axis=1) < radius_mm)
    least = max(2.0 * int(within.sum()), 0.12 * supplied[lobar_artery(tree, lobe)])
    fit = np.flatnonzero((tree.lobe == lobe) & (supplied >= least))
    if not len(fit):
        return (lobar_artery(tree, lobe),)
    close = fit[way[fit] <= max(NEAR_MM, float(way[fit].min()))]
    return (draws.choice("artery", {int(k): 1.0 for k in close}),)


def _of_more_than_a_lobe(draws: Draws, tree: ArterialTree, lobe: Lobe) -> tuple[int, ...]:
    """An artery on the way to the lobe that supplies others too, but not all; else those of all lobes of its side."""
    shared = [k for k in upstream(tree, lobar_artery(tree, lobe)) if k > 0 and tree.lobe[k] == 0]
    if shared:
        return (draws.choice("artery", dict.fromkeys(shared, 1.0)),)
    return tuple(lobar_artery(tree, other) for other in lobes_of(lobe.side) if (tree.lobe == other).any())
