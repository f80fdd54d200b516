"""How wide vessels are by the blood that they carry: what a CT shows of perfusion besides density.

Vessels grow and shrink until the flow along their wall is as strong as everywhere, so width follows flow by the same
law by which a healthy tree branches (C. D. Murray, PNAS 1926;12:207; adaptation: Kamiya and Togawa, Am J Physiol
1980;239:H14, recalled). Behind a narrowed artery and in destroyed lung a CT therefore shows few and thin vessels:
oligaemia, and the pruning of small vessels in emphysema (Estepar, Am J Respir Crit Care Med 2013;188:231, recalled).
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.branching import ends_supplied
from training.insilico.arteries.tree_draft import MURRAY_EXPONENT

WIDEST = 1.25
"""No vessel is wider than this against the healthy one: twice the flow; ours."""


def calibres(tree: ArterialTree, flow: Float[np.ndarray, " territories"]) -> Float[np.ndarray, " segments"]:
    """Radius of each segment as a share of what it has when all ends get the same.

    Args:
        tree: arteries, or veins with the flow of their own ends.
        flow: of each territory, in any unit; its sum is that of the trunk.
    """
    ends = tree.end >= 0
    carried = np.zeros(len(tree.parent))
    carried[ends] = flow[tree.end[ends]]
    for k in range(len(carried) - 1, 0, -1):
        carried[tree.parent[k]] += carried[k]
    supplied = ends_supplied(tree)
    relative = (carried / max(carried[0], 1e-12)) / (supplied / max(int(supplied[0]), 1))
    radius: Float[np.ndarray, " segments"] = np.minimum(relative ** (1.0 / MURRAY_EXPONENT), WIDEST)
    return radius


def neighbouring_flow(
    tree: ArterialTree, flow: Float[np.ndarray, " territories"], other: ArterialTree
) -> Float[np.ndarray, " others"]:
    """Flow of each end of another tree of the same lungs: that of the nearest territory. Veins drain what is around.

    Args:
        tree: the arteries.
        flow: of each of their territories.
        other: the veins.
    """
    ends, theirs = np.flatnonzero(tree.end >= 0), np.flatnonzero(other.end >= 0)
    found = np.zeros(int(other.end.max(initial=-1)) + 1)
    if len(ends) and len(theirs):
        _, nearest = cKDTree(tree.end_mm[ends]).query(other.end_mm[theirs])
        found[other.end[theirs]] = flow[tree.end[ends[nearest]]]
    return found
