"""Blood vessels of the digital thorax: one deterministic branching tree per lobe.

Points are spread evenly in a lobe and joined, from the hilum outwards, to the nearest point that already belongs to
the tree, so branches follow short ways and no branch leaves its lobe through a fissure when painted. Radii follow
Murray's law with exponent 2.7: the flow of the branches is the flow of the stem (C. D. Murray, PNAS 1926;12:207).
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from inference.anatomy import Lobe
from inference.phantom.anatomy import HILUM_MM, lobe_labels
from inference.phantom.build import ThoraxBuild
from inference.phantom.shapes import Tube

TWIG_RADIUS_MM = 0.75
MURRAY_EXPONENT = 2.7
LUNG_BOX_MM = ((-135.0, -92.0, -150.0), (135.0, 96.0, 125.0))
PLASTIC_NUMBER = 1.22074408460575947536
"""Its powers spread points evenly in three dimensions without chance (M. Roberts' R3 sequence)."""


@lru_cache(maxsize=60)
def vessel_tree(build: ThoraxBuild, lobe: Lobe, points: int = 90) -> tuple[Tube, ...]:
    """The vessels of one lobe in the patient, LPS, stem first; about `points` tubes, none if there is no such lobe."""
    nodes = np.vstack([build.drawn(HILUM_MM[lobe.side]), points_in(build, lobe, points)])
    nodes = nodes[np.argsort(np.linalg.norm(nodes - nodes[0], axis=1), kind="stable")]
    parents, way_mm = [0], [0.0]
    for k in range(1, len(nodes)):
        reach = np.linalg.norm(nodes[:k] - nodes[k], axis=1)
        parent = int(np.argmin(reach + 0.35 * np.array(way_mm)))
        parents.append(parent)
        way_mm.append(way_mm[parent] + float(reach[parent]))
    twigs = np.ones(len(nodes))
    for k in range(len(nodes) - 1, 0, -1):
        twigs[parents[k]] += twigs[k]
    radii_mm = TWIG_RADIUS_MM * twigs ** (1 / MURRAY_EXPONENT)
    return tuple(build.place(_tube(nodes, radii_mm[k], parents[k], k)) for k in range(1, len(nodes)))


def points_in(build: ThoraxBuild, lobe: Lobe, points: int) -> Float[np.ndarray, "n 3"]:
    """Up to `points` positions spread evenly over a lobe, in the standard patient's space."""
    low, high = (np.array(corner) for corner in LUNG_BOX_MM)
    steps = PLASTIC_NUMBER ** -np.arange(1.0, 4.0)
    candidates = low + (high - low) * ((0.5 + np.arange(1, 60 * points)[:, None] * steps) % 1.0)
    x, y, z = candidates.T
    inside = np.flatnonzero(lobe_labels(build, x, y, z) == lobe)[:points]
    return np.take(candidates, inside, axis=0)


def _tube(nodes: Float[np.ndarray, "n 3"], radius_mm: float, parent: int, child: int) -> Tube:
    start, end = (tuple(float(c) for c in nodes[k]) for k in (parent, child))
    return Tube(start, end, float(radius_mm), 0.85 * float(radius_mm))  # type: ignore[arg-type]
