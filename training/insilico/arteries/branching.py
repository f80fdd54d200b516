"""Questions about a tree of arteries: what lies below a segment, which segments are near, what is called what.

Anatomical names: the main arteries of both sides leave the trunk; lobar, segmental and subsegmental arteries follow.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from inference.anatomy import Lobe
from training.insilico.arteries.arterial_tree import ArterialTree

SEGMENTS: dict[Lobe, int] = {Lobe.RUL: 3, Lobe.RML: 2, Lobe.RLL: 5, Lobe.LUL: 4, Lobe.LLL: 4}
"""Bronchopulmonary segments of each lobe (after E. A. Boyden; left apicoposterior and anteromedial count as one)."""


def ends_supplied(tree: ArterialTree) -> Int[np.ndarray, " segments"]:
    """How many territories each segment supplies."""
    count = (tree.end >= 0).astype(np.int64)
    for k in range(len(count) - 1, 0, -1):
        count[tree.parent[k]] += count[k]
    return count


def generation(tree: ArterialTree) -> Int[np.ndarray, " segments"]:
    """Number of divisions from the trunk (0) to each segment."""
    steps = np.zeros(len(tree.parent), dtype=np.int64)
    for k in range(1, len(steps)):
        steps[k] = steps[tree.parent[k]] + 1
    return steps


def strahler_order(tree: ArterialTree) -> Int[np.ndarray, " segments"]:
    """Order after Strahler: 1 for ends; one more than its children's where two of them share the highest order."""
    order = np.zeros(len(tree.parent), dtype=np.int64)
    highest = np.zeros_like(order)
    twice = np.zeros(len(order), dtype=bool)
    for k in range(len(order) - 1, -1, -1):
        order[k] = max(1, highest[k] + twice[k])
        parent = tree.parent[k]
        if parent >= 0:
            twice[parent] = order[k] == highest[parent] or (twice[parent] and order[k] < highest[parent])
            highest[parent] = max(highest[parent], order[k])
    return order


def downstream(tree: ArterialTree, segment: int) -> Bool[np.ndarray, " segments"]:
    """The segment itself and all that it supplies."""
    below = np.zeros(len(tree.parent), dtype=bool)
    below[segment] = True
    for k in range(segment + 1, len(below)):
        below[k] = below[tree.parent[k]]
    return below


def ends_below(tree: ArterialTree, segment: int) -> Int32[np.ndarray, " territories"]:
    """Numbers of the territories that a segment supplies, in rising order."""
    ends: np.ndarray = np.sort(tree.end[downstream(tree, segment) & (tree.end >= 0)])
    return ends


def upstream(tree: ArterialTree, segment: int) -> tuple[int, ...]:
    """The way from a segment, itself included, to the trunk."""
    way = [int(segment)]
    while tree.parent[way[-1]] >= 0:
        way.append(int(tree.parent[way[-1]]))
    return tuple(way)


def children(tree: ArterialTree, segment: int) -> tuple[int, ...]:
    """The segments that a segment divides into; none for one that ends in a territory."""
    return tuple(int(k) for k in np.flatnonzero(tree.parent == segment))


def length_mm(tree: ArterialTree) -> Float[np.ndarray, " segments"]:
    """Length of each segment."""
    lengths: np.ndarray = np.linalg.norm(tree.end_mm - tree.start_mm, axis=1)
    return lengths


def distance_mm(tree: ArterialTree, point_mm: Float[np.ndarray, "3"]) -> Float[np.ndarray, " segments"]:
    """Distance of the axis of each segment from an LPS position."""
    axis = tree.end_mm - tree.start_mm
    offset = np.asarray(point_mm, dtype=np.float64) - tree.start_mm
    along = np.clip((offset * axis).sum(axis=1) / np.maximum((axis**2).sum(axis=1), 1e-9), 0.0, 1.0)
    distances: np.ndarray = np.linalg.norm(offset - along[:, None] * axis, axis=1)
    return distances


def segments_near(
    tree: ArterialTree, point_mm: Float[np.ndarray, "3"], radius_mm: float
) -> Bool[np.ndarray, " segments"]:
    """Segments whose wall comes within `radius_mm` of an LPS position."""
    near: np.ndarray = distance_mm(tree, point_mm) - tree.radius_mm <= radius_mm
    return near


def lobar_artery(tree: ArterialTree, lobe: Lobe) -> int:
    """The segment through which all blood of a lobe comes.

    Raises:
        ValueError: the tree has no such lobe.
    """
    of_lobe = np.flatnonzero(tree.lobe == lobe)
    if not len(of_lobe):
        raise ValueError(f"no artery supplies {lobe.name}")
    return int(of_lobe[0])


def segmental_arteries(tree: ArterialTree, lobe: Lobe) -> tuple[int, ...]:
    """The segments that begin the bronchopulmonary segments of a lobe, which are of about equal size.

    Fewer than `SEGMENTS` where the tree has hardly more ends than that.
    """
    supplied = ends_supplied(tree)

    def parts_of(segment: int, parts: int) -> tuple[int, ...]:
        below = sorted(children(tree, segment), key=lambda k: int(supplied[k]))
        if parts == 1 or not below:
            return (segment,)
        if len(below) == 1:
            return parts_of(below[0], parts)
        return parts_of(below[0], parts // 2) + parts_of(below[1], parts - parts // 2)

    return parts_of(lobar_artery(tree, lobe), SEGMENTS[lobe])
