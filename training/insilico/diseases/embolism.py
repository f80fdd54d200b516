"""Pulmonary embolism: arteries plugged by clots. A CT without contrast medium does not show it.

How far it reaches is drawn as in the software patients of Bourhis 2021 (EJNMMI Phys, s40658-021-00396-1): of 44, 8 with
a sub-segmental, 10 with a single-segment, 19 with a multi-segment (2 to 14), 5 with a lobar and 2 with a multilobar
defect.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from jaxtyping import Float

from inference.anatomy import Lobe
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.branching import children, ends_supplied, lobar_artery, segmental_arteries
from training.insilico.draws import Draws
from training.insilico.tissue.lung_tissue import LungTissue


class Reach(StrEnum):
    """How much one patient's emboli take out."""

    SUBSEGMENT = "sub-segmental"
    SEGMENT = "single-segment"
    SEGMENTS = "multi-segment"
    LOBE = "lobar"
    LOBES = "multilobar"


REACHES = {Reach.SUBSEGMENT: 8, Reach.SEGMENT: 10, Reach.SEGMENTS: 19, Reach.LOBE: 5, Reach.LOBES: 2}
"""Of 44 software patients (Bourhis 2021)."""
FEWEST, MOST = 2, 14
"""Segments of a multi-segment embolism; few are as likely as many on a logarithmic scale (ours)."""
CLOSED = 0.6
"""Share of the plugged arteries that let nothing pass; ours."""


@dataclass(frozen=True, slots=True)
class Embolism:
    """Clots in some arteries of the tree they were drawn for."""

    reach: Reach
    arteries: tuple[int, ...]
    """Segments of the tree."""
    lumen: tuple[float, ...]
    """What is left of each one's radius: 0 closed."""

    @property
    def name(self) -> str:
        """`embolism`."""
        return "embolism"

    def damage(self, tissue: LungTissue) -> LungTissue:
        """Nothing that the CT shows; the capillaries are well and wait for blood."""
        return tissue

    def narrow(self, tree: ArterialTree) -> Float[np.ndarray, " segments"]:
        """The plugged arteries."""
        lumen = np.ones(len(tree.parent))
        lumen[list(self.arteries)] = self.lumen
        return lumen

    def record(self) -> dict[str, Any]:
        """Reach and arteries."""
        return {"reach": str(self.reach), "arteries": list(self.arteries), "lumen": list(self.lumen)}


def draw_embolism(draws: Draws, tree: ArterialTree) -> Embolism:
    """Clots in arteries of the drawn reach, large territories as likely as small ones hold lung."""
    reach = draws.choice("reach", REACHES)
    plugged = _arteries(draws, tree, reach)
    lumen = tuple(
        0.0 if draws.chance(f"closed {k}", CLOSED) else draws.between(f"lumen {k}", 0.1, 0.35) for k in plugged
    )
    return Embolism(reach, plugged, lumen)


def _arteries(draws: Draws, tree: ArterialTree, reach: Reach) -> tuple[int, ...]:
    lobes = tuple(lobe for lobe in Lobe if (tree.lobe == lobe).any())
    segments = tuple(k for lobe in lobes for k in segmental_arteries(tree, lobe))
    match reach:
        case Reach.LOBE:
            return _some(draws, tree, tuple(lobar_artery(tree, lobe) for lobe in lobes), 1)
        case Reach.LOBES:
            return _some(draws, tree, tuple(lobar_artery(tree, lobe) for lobe in lobes), draws.whole("lobes", 2, 3))
        case Reach.SEGMENT:
            return _some(draws, tree, segments, 1)
        case Reach.SEGMENTS:
            return _some(draws, tree, segments, round(FEWEST * (MOST / FEWEST) ** draws.between("segments", 0.0, 1.0)))
        case Reach.SUBSEGMENT:
            smaller = tuple(part for k in segments for part in (children(tree, k) or (k,)))
            return _some(draws, tree, smaller, 1)


def _some(draws: Draws, tree: ArterialTree, arteries: tuple[int, ...], count: int) -> tuple[int, ...]:
    """That many different arteries, each as likely as it is large."""
    supplied = ends_supplied(tree)
    left = {k: float(supplied[k]) for k in arteries}
    chosen = []
    for n in range(min(count, len(left))):
        artery = draws.choice(f"artery {n}", left)
        del left[artery]
        chosen.append(artery)
    return tuple(sorted(chosen))
