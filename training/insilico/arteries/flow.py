"""How the blood that leaves the heart divides among the territories.

Arteries resist as tubes do (Poiseuille: length over the fourth power of radius), and each ends in the capillary bed of
its territory, which leads on to the left atrium. All blood has to go through, so what finds an artery closed goes where
others are open. The tree is solved exactly: upwards from the ends for what each part can carry, then downwards for what
it gets.

How much of the resistance is in the arteries decides how far an artery can be narrowed before its territory misses
blood. In dog lungs all arteries hold 46 % of it (Brody, J Clin Invest 1968;47:783), those wider than 1.2 mm 29 %
("Pulmonary arterial and venous pressures measured with small catheters in dogs", J Appl Physiol). The trees here end
at about 0.6 mm, between the two: 35 %. The same follows from the trees: 5.5 l/min of blood of 3.5 mPa s lose some 2
mmHg in them, about a third of what a healthy person needs from trunk to left atrium (6 mmHg, recalled). The rest is the
bed: smaller arteries, capillaries and veins. No measured shares for people were found.
"""

import numpy as np
from jaxtyping import Float

from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.branching import ends_supplied, length_mm

ARTERY_SHARE = 0.35
"""Share of pulmonary vascular resistance in the segments of a healthy tree."""
SHORTEST_MM = 0.01
"""Of segments without length, which come about where a tree divides at one of the places that it leads to."""


def flows(
    tree: ArterialTree,
    bed: Float[np.ndarray, " territories"],
    lumen: Float[np.ndarray, " segments"],
    *,
    healthy_bed: float | None = None,
) -> Float[np.ndarray, " territories"]:
    """Share of cardiac output that each territory gets; the sum is 1.

    Args:
        tree: the arteries.
        bed: conductance of each territory's capillary bed, 0 or above, in any unit; 0 for a territory without lung.
        lumen: radius of each segment as a share of the healthy one: 1 open, 0 closed.
        healthy_bed: sum of `bed` before disease, in its unit, which sets the resistance of the arteries against it.
            Without it, that of `bed`.

    Raises:
        ValueError: nothing can flow: everything is closed.
    """
    healthy = float(bed.sum()) if healthy_bed is None else healthy_bed
    artery = artery_conductance(tree, healthy) * lumen**4
    ends = tree.end >= 0
    below = np.zeros(len(artery))
    below[ends] = bed[tree.end[ends]]
    whole = _conductance_with_all_below(tree, artery, below)
    if not whole[0] > 0.0:
        raise ValueError("no blood can flow: every way through the arteries and capillary beds is closed")
    shares = _divided(tree, whole, below)
    result = np.zeros(len(bed))
    result[tree.end[ends]] = shares[ends]
    return result


def artery_conductance(tree: ArterialTree, healthy_bed: float) -> Float[np.ndarray, " segments"]:
    """What each healthy segment carries per pressure, in the unit of the bed.

    Scaled so that, with equal flow to all territories, `ARTERY_SHARE` of the pressure is lost in the arteries.
    """
    resistance = np.maximum(length_mm(tree), SHORTEST_MM) / tree.radius_mm**4
    supplied = ends_supplied(tree)
    pressure = float((resistance * (supplied / supplied[0]) ** 2).sum())
    conductance: np.ndarray = healthy_bed * pressure * (1.0 - ARTERY_SHARE) / ARTERY_SHARE / resistance
    return conductance


def _conductance_with_all_below(
    tree: ArterialTree, artery: Float[np.ndarray, " segments"], below: Float[np.ndarray, " segments"]
) -> Float[np.ndarray, " segments"]:
    """Of each segment with all that follows it; `below` gets the sum of what follows."""
    whole = np.zeros(len(artery))
    for k in range(len(artery) - 1, -1, -1):
        both = artery[k] + below[k]
        whole[k] = artery[k] * (below[k] / both) if both > 0.0 else 0.0
        if k:
            below[tree.parent[k]] += whole[k]
    return whole


def _divided(
    tree: ArterialTree, whole: Float[np.ndarray, " segments"], below: Float[np.ndarray, " segments"]
) -> Float[np.ndarray, " segments"]:
    """Flow in each segment, 1 in the trunk: children share what comes as their conductances say."""
    shares = np.zeros(len(whole))
    shares[0] = 1.0
    for k in range(1, len(whole)):
        parent = tree.parent[k]
        if whole[k] > 0.0:
            shares[k] = shares[parent] * whole[k] / below[parent]
    return shares
