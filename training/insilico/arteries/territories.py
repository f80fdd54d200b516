"""The end territories of the pulmonary arteries: where their middles lie, and which voxel belongs to which.

A territory is all lung that lies closest to the end of one artery of its lobe. The middles are spread evenly: drawn
along a curve that visits the whole lobe (Morton's order), then moved to the middle of what is closest to them (Lloyd's
method, IEEE Trans Inf Theory 1982;28:129).
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32, UInt8
from scipy.spatial import cKDTree

from inference.geometry import Grid
from training.insilico.arteries.arterial_tree import ArterialTree

ROUNDS = 2
"""Of Lloyd's method."""
SAMPLES = 40
"""Voxels that stand for each territory while middles are moved."""


def territory_map(
    tree: ArterialTree, lobes: UInt8[np.ndarray, "slices rows columns"], grid: Grid
) -> Int32[np.ndarray, "slices rows columns"]:
    """The territory of each voxel, -1 outside the lungs.

    A territory lies in the lobe of its artery. On the grid and lobes that the tree was grown in, none is empty; where
    disease has taken lung away, or on a coarser grid, one may be, and then gets no blood (`flow.flows`).

    Raises:
        ValueError: a lobe has voxels but no artery.
    """
    territories = np.full(lobes.shape, -1, dtype=np.int32)
    for lobe in np.unique(lobes[lobes > 0]):
        ends = np.flatnonzero((tree.end >= 0) & (tree.lobe == lobe))
        if not len(ends):
            raise ValueError(f"no artery ends in lobe {lobe}")
        voxels = np.nonzero(lobes == lobe)
        nearest = cKDTree(tree.end_mm[ends]).query(_places_mm(voxels, grid))[1]
        territories[voxels] = tree.end[ends][nearest]
    return territories


def territory_volumes_ml(
    territories: Int32[np.ndarray, "slices rows columns"], grid: Grid, count: int
) -> Float[np.ndarray, " territories"]:
    """Volume of each of `count` territories in millilitres; 0 for one without a voxel."""
    return np.bincount(territories[territories >= 0], minlength=count) * grid.voxel_volume_ml


def territory_middles_mm(
    lobe: Bool[np.ndarray, "slices rows columns"], grid: Grid, count: int, chance: np.random.Generator
) -> Float64[np.ndarray, "middles 3"]:
    """Middles of up to `count` territories of about equal size, LPS, each the centre of a voxel of the lobe of its own.

    Args:
        lobe: has at least one voxel.
        grid: of `lobe`.
        count: fewer come back where the lobe has hardly more voxels than that.
        chance: where they start from.
    """
    index = np.argwhere(lobe)
    index = index[np.argsort(_morton(index), kind="stable")]
    index = index[_one_of_each_stretch(len(index), SAMPLES * count, chance)]
    places_mm = grid.to_patient_mm(index.astype(np.float64))
    middles_mm = places_mm[_one_of_each_stretch(len(index), count, chance)]
    for _ in range(ROUNDS):
        nearest = cKDTree(middles_mm).query(places_mm)[1]
        size = np.bincount(nearest, minlength=len(middles_mm))
        moved = np.stack([np.bincount(nearest, weights=c, minlength=len(size)) for c in places_mm.T], axis=1)
        middles_mm = moved / size[:, None]
    chosen = np.unique(cKDTree(places_mm).query(middles_mm)[1])
    middles: np.ndarray = places_mm[chosen]
    return middles


def _places_mm(voxels: tuple[np.ndarray, ...], grid: Grid) -> Float[np.ndarray, "n 3"]:
    return grid.to_patient_mm(np.stack(voxels, axis=1).astype(np.float64))


def _one_of_each_stretch(length: int, count: int, chance: np.random.Generator) -> Int[np.ndarray, " stretches"]:
    """A number below `length` from each of up to `count` stretches of equal length."""
    count = min(count, length)
    edges = np.linspace(0.0, length, count + 1)
    drawn = edges[:-1] + chance.random(count) * np.diff(edges)
    return np.unique(np.minimum(drawn.astype(np.intp), length - 1))


def _morton(index: Int[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """Position on Morton's curve of voxels with indices below 1024: neighbours on it are neighbours in space."""
    code = np.zeros(len(index), dtype=np.int64)
    for axis in range(3):
        bits = index[:, axis].astype(np.int64) & 0x3FF
        for shift, mask in ((16, 0x30000FF), (8, 0x300F00F), (4, 0x30C30C3), (2, 0x9249249)):
            bits = (bits | (bits << shift)) & mask
        code |= bits << axis
    return code
