"""A tree that fills a region: branches that halve it again and again until each end has one place to supply.

The volume-filling algorithm that M. H. Tawhai and others made for the airways and blood vessels of the human lung (Ann
Biomed Eng 2000;28:793, J Appl Physiol 2004;97:2310; for pulmonary vessels Burrowes, J Appl Physiol 2005;99:731): the
places that a branch will supply are divided by a plane through its region; each half gets a branch that leads
`STEP_SHARE` of the way to the middle of the half; until a half is one place, which its branch then reaches. All
branches of a generation are made at once.

Ours, not theirs: the plane stands across the longest extent of the region, seen across the branch; and it does not
divide evenly but anywhere in `SHARES`, since lungs branch unevenly (nearly three branches of each Strahler order for
one of the next, where even division gives two).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from inference.geometry import Grid

STEP_SHARE = 0.35
"""Way to the middle of the region that a branch goes. Tawhai has 0.4; with less, branches leave at smaller angles,
nearer to the 28 +- 15 degrees of human pulmonary arteries (Dong, Am J Physiol Heart Circ Physiol 2020;319:H432)."""
SHARES = (0.2, 0.8)
"""How a region may be divided. Ours."""
FLATTENED = 0.7
"""Weight of the extent along the branch against that across it, when the plane is chosen. Ours."""


@dataclass(frozen=True, slots=True, eq=False)
class Branches:
    """Branches below one root; parents come before their children."""

    start_mm: Float[np.ndarray, "branches 3"]
    end_mm: Float[np.ndarray, "branches 3"]
    parent: Int[np.ndarray, " branches"]
    """-1 for the two that leave the root."""
    place: Int[np.ndarray, " branches"]
    """The place that a branch ends in, -1 where it divides."""


@dataclass(frozen=True, slots=True, eq=False)
class _Generation:
    """Regions that wait to be divided, and the places in them."""

    places: Int[np.ndarray, " places"]
    region: Int[np.ndarray, " places"]
    """Of each place."""
    root_mm: Float[np.ndarray, "regions 3"]
    heading: Float[np.ndarray, "regions 3"]
    parent: Int[np.ndarray, " regions"]
    parts: Int[np.ndarray, " regions"]
    """Equal parts that the next divisions have to make; 1 for free division."""


def fill(
    start_mm: Float[np.ndarray, "3"],
    root_mm: Float[np.ndarray, "3"],
    places_mm: Float[np.ndarray, "places 3"],
    *,
    parts: int,
    inside: Bool[np.ndarray, "slices rows columns"],
    grid: Grid,
    chance: np.random.Generator,
) -> Branches:
    """Branches from the end of a root to every place.

    Args:
        start_mm: where the root begins, LPS.
        root_mm: where it ends and the first two branches start, LPS.
        places_mm: what is to be supplied, two or more, LPS.
        parts: the first divisions make this many regions of equal size, such as the segments of a lobe.
        inside: the region; where a branch would end outside it, it ends at one of its places instead.
        grid: of `inside`.
        chance: for uneven division.
    """
    count = len(places_mm)
    now = _Generation(
        places=np.arange(count),
        region=np.zeros(count, dtype=np.intp),
        root_mm=root_mm[None].astype(np.float64),
        heading=_unit((root_mm - start_mm)[None]),
        parent=np.array([-1]),
        parts=np.array([min(parts, count)]),
    )
    made: list[Branches] = []
    number = 0
    while len(now.places):
        branches, now = _divide(now, places_mm, number, inside, grid, chance)
        made.append(branches)
        number += len(branches.parent)
    return Branches(
        start_mm=np.concatenate([b.start_mm for b in made]),
        end_mm=np.concatenate([b.end_mm for b in made]),
        parent=np.concatenate([b.parent for b in made]),
        place=np.concatenate([b.place for b in made]),
    )


def _divide(
    now: _Generation,
    places_mm: Float[np.ndarray, "all 3"],
    number: int,
    inside: Bool[np.ndarray, "slices rows columns"],
    grid: Grid,
    chance: np.random.Generator,
) -> tuple[Branches, _Generation]:
    """Two branches for each region, of which the first gets `number`; and the regions that are left to divide."""
    regions = len(now.parent)
    points, half, few = places_mm[now.places], *_halves(now, places_mm[now.places], chance)
    size = np.bincount(half, minlength=2 * regions)
    middle = _sums(half, points, 2 * regions) / size[:, None]
    root_mm = np.repeat(now.root_mm, 2, axis=0)
    last = size == 1
    end_mm = np.where(last[:, None], middle, root_mm + STEP_SHARE * (middle - root_mm))
    for k in np.flatnonzero(~last & ~within(end_mm, inside, grid)):
        mine = points[half == k]
        end_mm[k] = mine[np.argmin(((mine - end_mm[k]) ** 2).sum(axis=1))]
    place = np.full(2 * regions, -1)
    place[half[last[half]]] = now.places[last[half]]
    branches = Branches(root_mm, end_mm, np.repeat(now.parent, 2), place)
    again = ~last[half]
    kept = np.flatnonzero(~last)
    renumbered = np.cumsum(~last) - 1
    return branches, _Generation(
        places=now.places[again],
        region=renumbered[half[again]],
        root_mm=end_mm[kept],
        heading=_unit(end_mm[kept] - root_mm[kept]),
        parent=number + kept,
        parts=np.stack([few, np.maximum(now.parts - few, 1)], axis=1).ravel()[kept],
    )


def _halves(
    now: _Generation, points: Float[np.ndarray, "places 3"], chance: np.random.Generator
) -> tuple[Int[np.ndarray, " places"], Int[np.ndarray, " regions"]]:
    """The half that each place falls into (2 × region, or that + 1), and how many parts the first half makes."""
    size = np.bincount(now.region)
    offset = points - (_sums(now.region, points, len(size)) / size[:, None])[now.region]
    heading = now.heading[now.region]
    seen = offset - (1.0 - FLATTENED) * (offset * heading).sum(axis=1, keepdims=True) * heading
    spread = _sums(now.region, (seen[:, :, None] * seen[:, None, :]).reshape(-1, 9), len(size)).reshape(-1, 3, 3)
    longest = np.linalg.eigh(spread)[1][:, :, 2]
    widest = np.take_along_axis(longest, np.abs(longest).argmax(axis=1)[:, None], axis=1)
    along = (seen * (longest * np.sign(widest))[now.region]).sum(axis=1)
    order = np.lexsort((along, now.region))
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(size) - size, size)
    few = np.maximum(now.parts // 2, 1)
    share = np.where(now.parts > 1, few / now.parts, chance.uniform(*SHARES, len(size)))
    first = np.clip(np.rint(share * size).astype(np.intp), 1, size - 1)
    return 2 * now.region + (rank >= first[now.region]), few


def _sums(
    group: Int[np.ndarray, " n"], values: Float[np.ndarray, "n columns"], groups: int
) -> Float[np.ndarray, "groups columns"]:
    return np.stack([np.bincount(group, weights=column, minlength=groups) for column in values.T], axis=1)


def _unit(vectors: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    units: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return units


def within(
    points_mm: Float[np.ndarray, "n 3"], inside: Bool[np.ndarray, "slices rows columns"], grid: Grid
) -> Bool[np.ndarray, " n"]:
    """Whether each LPS position lies in a voxel of a mask on `grid`."""
    index = np.rint(grid.to_index(points_mm)).astype(np.intp)
    on_grid = np.all((index >= 0) & (index < grid.shape), axis=1)
    index = np.where(on_grid[:, None], index, 0)
    found: np.ndarray = on_grid & inside[tuple(index.T)]
    return found
