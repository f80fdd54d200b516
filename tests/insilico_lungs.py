"""Lungs for tests of diseases: one coarse body, its arteries, and what blood does in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from inference.anatomy import Lobe
from tests.insilico_trees import DRAWS, coarse_body, grown
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.flow import flows
from training.insilico.arteries.territories import territory_map
from training.insilico.diseases.disease import Disease
from training.insilico.draws import Draws
from training.insilico.people.body import Body
from training.insilico.tissue.lung_tissue import LungTissue
from training.insilico.tissue.perfusion import bed_conductance, true_perfusion


@dataclass(frozen=True, slots=True, eq=False)
class Lungs:
    """Tissue with disease, and its perfusion with the same unseen field for all patients of these tests."""

    tissue: LungTissue
    perfusion: np.ndarray
    territories: np.ndarray

    def mean(self, where: np.ndarray) -> float:
        return float(self.perfusion[where].mean(dtype=float))


def perfused(
    diseases: Sequence[Disease],
    *,
    body: Body | None = None,
    tree: ArterialTree | None = None,
    draws: Draws = DRAWS,
) -> Lungs:
    """The lungs of the coarse body, or of another, after these diseases."""
    body, tree = body or coarse_body(), tree or grown()
    tissue, lumen = LungTissue.healthy(body), np.ones(len(tree.parent))
    is_usual = body is coarse_body() and draws == DRAWS
    whole = _healthy_bed() if is_usual else float(bed_conductance(tissue, draws).sum(dtype=float))
    for disease in diseases:
        tissue, lumen = disease.damage(tissue), lumen * disease.narrow(tree)
    bed = bed_conductance(tissue, draws)
    is_known = tissue.lobes is coarse_body().lobes and tree is grown()
    territories = _known_territories() if is_known else territory_map(tree, tissue.lobes, tissue.grid)
    inside = territories >= 0
    beds = np.bincount(territories[inside], weights=bed[inside], minlength=int(tree.end.max()) + 1)
    shares = flows(tree, beds, lumen, healthy_bed=whole)
    return Lungs(tissue, true_perfusion(bed, territories, shares, tissue.lobes), territories)


@lru_cache(maxsize=1)
def _healthy_bed() -> float:
    return float(bed_conductance(LungTissue.healthy(coarse_body()), DRAWS).sum(dtype=float))


@lru_cache(maxsize=1)
def _known_territories() -> np.ndarray:
    return territory_map(grown(), coarse_body().lobes, coarse_body().grid)


@lru_cache(maxsize=1)
def healthy() -> Lungs:
    return perfused(())


def middle_of(lobe: Lobe) -> tuple[float, float, float]:
    """LPS position of the voxel of a lobe that is nearest to the lobe's centre."""
    body = coarse_body()
    places = body.grid.to_patient_mm(np.argwhere(body.lobes == lobe).astype(float))
    x, y, z = places[np.argmin(np.linalg.norm(places - places.mean(axis=0), axis=1))]
    return float(x), float(y), float(z)


def place_of(voxels: np.ndarray) -> np.ndarray:
    """LPS positions of a mask's voxels."""
    return coarse_body().grid.to_patient_mm(np.argwhere(voxels).astype(float))
