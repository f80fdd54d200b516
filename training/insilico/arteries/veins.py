"""The pulmonary veins, which a CT shows beside the arteries.

They are drawn, not reckoned with: what resists in them is part of the capillary beds (`flow.py`). Veins are a tree of
their own, between the places that arteries lead to. They leave each lung below its artery: the upper vein, of upper and
middle lobe, in front of it, the lower vein behind. All that is the textbook's; the distances are ours.
"""

import numpy as np
from jaxtyping import Float, Float64, UInt8
from scipy.spatial import cKDTree

from inference.anatomy import Lobe, Side, lobes_of
from inference.geometry import Grid
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.branching import upstream
from training.insilico.arteries.tree_draft import TreeDraft
from training.insilico.arteries.volume_filling import within
from training.insilico.draws import Draws

SHARE = 3
"""One vein for so many territories. Thinner ones are not drawn."""
UPPER_FROM_HILUM_MM = (0.0, -14.0, -8.0)
LOWER_FROM_HILUM_MM = (0.0, 4.0, -27.0)
ATRIUM_FROM_DIVISION_MM = (-5.0, 12.0, -36.0)
"""Middle of the left atrium, from where the pulmonary trunk divides."""
TRUNK_RADIUS_MM = 10.5
"""Of all veins together, by Murray's law; the four stems are then about 12 mm wide."""
LOWER_LOBES = (Lobe.RLL, Lobe.LLL)


def grow_veins(arteries: ArterialTree, lobes: UInt8[np.ndarray, "slices rows columns"], grid: Grid) -> ArterialTree:
    """Veins of the lobes that have arteries; segment 0 is a point in the left atrium.

    Args:
        arteries: of the same body.
        lobes: 0 outside the lungs.
        grid: of `lobes`.
    """
    division = arteries.end_mm[0]
    atrium = division + np.array(ATRIUM_FROM_DIVISION_MM)
    draft = TreeDraft()
    draft.add(-1, atrium + np.array([0.0, 0.0, 0.1]), atrium, 0)
    for side in Side:
        hilum = _hilum_mm(arteries, side)
        for lower in (False, True):
            here = [lobe for lobe in lobes_of(side) if (lobe in LOWER_LOBES) == lower]
            places = {lobe: _between_mm(arteries, lobe, lobes, grid) for lobe in here}
            places = {lobe: found for lobe, found in places.items() if len(found) > 1}
            if not places:
                continue
            mouth = hilum + np.array(LOWER_FROM_HILUM_MM if lower else UPPER_FROM_HILUM_MM)
            stem = draft.add(0, atrium, mouth, 0)
            for lobe, found in places.items():
                chance = Draws("veins").generator(lobe.name)
                draft.grow_lobe(stem, lobe, found, lobes == lobe, grid, parts=1, chance=chance)
    return draft.finished(TRUNK_RADIUS_MM)


def _hilum_mm(arteries: ArterialTree, side: Side) -> Float[np.ndarray, "3"]:
    """Where the main artery of one side ends: the second on the way from the heart to any end there."""
    own = np.isin(arteries.lobe, lobes_of(side))
    main = upstream(arteries, int(np.flatnonzero(own)[-1]))[-2] if own.any() else 0
    hilum: np.ndarray = arteries.end_mm[main]
    return hilum


def _between_mm(
    arteries: ArterialTree, lobe: Lobe, lobes: UInt8[np.ndarray, "slices rows columns"], grid: Grid
) -> Float64[np.ndarray, "places 3"]:
    """Places in a lobe half-way between the ends of two neighbouring arteries."""
    ends: np.ndarray = arteries.end_mm[(arteries.lobe == lobe) & (arteries.end >= 0)]
    if len(ends) < 5:
        return np.empty((0, 3))
    chosen = ends[::SHARE]
    between = (chosen + ends[cKDTree(ends).query(chosen, k=5)[1][:, 4]]) / 2
    index = np.rint(grid.to_index(between[within(between, lobes == lobe, grid)])).astype(np.intp)
    unique = np.unique(index, axis=0)
    return grid.to_patient_mm(unique.astype(np.float64))
