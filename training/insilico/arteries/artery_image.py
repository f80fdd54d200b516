"""How blood vessels show in a CT: arteries and veins painted into the lungs, each voxel with the share that is blood.

Vessels thinner than `THINNEST_MM` are part of the density of lung tissue.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from inference.geometry import Grid, Shape
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.calibre import calibres, neighbouring_flow
from training.insilico.arteries.veins import grow_veins

BLOOD_HU = 45.0
"""Without contrast medium."""
THINNEST_MM = 0.4
"""Radius of the thinnest vessel that is drawn: in the CT they then end about 1 cm from the pleura, as in real ones of
thin slices, and hold some 8 % of the lungs' mass. Ours, by eye."""
AIR_HU = -300.0
"""Outside the lungs, vessels are not painted into what is lighter than this: airways, air round the patient."""
PIECE_VOXELS = 4.0
"""Long segments are painted in pieces of this length."""
AT_ONCE = 500_000
"""Voxels looked at in one step."""


def paint_vessels(
    hu: Float32[np.ndarray, "slices rows columns"],
    lobes: UInt8[np.ndarray, "slices rows columns"],
    tree: ArterialTree,
    grid: Grid,
    lumen: Float[np.ndarray, " segments"],
    *,
    flow: Float[np.ndarray, " territories"] | None = None,
    blood_hu: float = BLOOD_HU,
) -> Float32[np.ndarray, "slices rows columns"]:
    """A copy of the CT numbers with arteries and veins, from the hila to where they get too thin.

    Pulmonary trunk and main arteries are part of the body (`body.make_body`) and not painted here; veins are, up to the
    left atrium, as wide as the flow of the territories around them makes them; `lumen` is of arteries alone.

    Args:
        hu: the body without vessels in the lungs.
        lobes: 0 outside the lungs.
        tree: the arteries.
        grid: of `hu` and `lobes`, with cubic voxels.
        lumen: radius of each artery as a share of the healthy one, as far as the CT shows it: a clot has the density of
            blood, so for the picture an artery that it closes is open.
        flow: of each territory, as far as it shows in the width of veins; None for the same to all.
        blood_hu: some 250 with contrast medium.
    """
    veins = grow_veins(tree, lobes, grid)
    share = blood_share(lobes, tree, grid, np.where(tree.parent > 0, lumen, 0.0))
    width = np.ones(len(veins.parent)) if flow is None else calibres(veins, neighbouring_flow(tree, flow, veins))
    np.maximum(share, blood_share(lobes, veins, grid, width), out=share)
    flat = np.flatnonzero(share)
    painted, found = hu.copy(), hu.ravel()[flat]
    open_to_blood = (lobes.ravel()[flat] > 0) | (found > AIR_HU)
    mixed = found + share.ravel()[flat] * np.maximum(np.float32(blood_hu) - found, 0.0)
    painted.ravel()[flat] = np.where(open_to_blood, mixed, found)
    return painted


def blood_share(
    lobes: UInt8[np.ndarray, "slices rows columns"],
    tree: ArterialTree,
    grid: Grid,
    lumen: Float[np.ndarray, " segments"],
) -> Float32[np.ndarray, "slices rows columns"]:
    """Share of each voxel that the vessels of a tree fill, 0 to 1.

    Vessels of a lobe stay in it; only stems and lobar vessels cross its border.
    """
    share = np.zeros(lobes.shape, dtype=np.float32)
    flat_share, flat_lobes = share.ravel(), lobes.ravel()
    for pieces in _pieces(tree, grid, lumen):
        voxels, filled = pieces.filled(grid.shape)
        piece, _ = np.nonzero(filled)
        voxel, value = voxels[filled > 0], filled[filled > 0]
        mine = pieces.free[piece] | (flat_lobes[voxel] == pieces.lobe[piece])
        np.maximum.at(flat_share, voxel[mine], value[mine])
    return share


@dataclass(frozen=True, slots=True, eq=False)
class _Pieces:
    """Straight pieces of vessels that fit in equal boxes. Lengths in voxels, positions as voxel indices."""

    start: Float[np.ndarray, "pieces 3"]
    axis: Float[np.ndarray, "pieces 3"]
    radius: Float[np.ndarray, " pieces"]
    lobe: Int[np.ndarray, " pieces"]
    free: Bool[np.ndarray, " pieces"]
    """May leave its lobe."""
    reach: int
    """Voxels from the middle of a box to its faces."""

    def filled(self, shape: Shape) -> tuple[Int[np.ndarray, "pieces box"], Float32[np.ndarray, "pieces box"]]:
        """Flat index of the voxels of each piece's box, and the share of them that the piece fills.

        A share falls from 1 to 0 over one voxel across the wall.
        """
        cube = np.indices((2 * self.reach + 1,) * 3).reshape(3, -1).T - self.reach
        at = np.rint(self.start + self.axis / 2).astype(np.int32)[:, None] + cube
        offset = (at - self.start[:, None]).astype(np.float32)
        axis = self.axis.astype(np.float32)
        along = np.einsum("pbk,pk->pb", offset, axis) / np.maximum((axis**2).sum(axis=1), 1e-9)[:, None]
        offset -= np.clip(along, 0.0, 1.0)[..., None] * axis[:, None]
        distance = np.sqrt(np.einsum("pbk,pbk->pb", offset, offset))
        wall, most = _wall(self.radius)
        share = most[:, None] * np.clip(wall[:, None] - distance + np.float32(0.5), 0.0, 1.0)
        share *= np.all((at >= 0) & (at < shape), axis=2)
        return np.ravel_multi_index(tuple(np.moveaxis(at, 2, 0)), shape, mode="clip"), share


def _wall(radius: Float[np.ndarray, " n"]) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Distance from the axis, in voxels, at which a voxel is half full, and what one on the axis is filled to.

    Shares fall linearly to 0 over one voxel. Over the plane they add up to pi (wall² + 1/12), which is set to pi
    radius². A vessel too thin for that keeps the narrowest such shape, a cone of radius 1, and is fainter throughout.
    """
    wall = np.sqrt(np.maximum(radius**2 - 1.0 / 12.0, 0.25))
    return wall.astype(np.float32), np.minimum(3.0 * radius**2, 1.0).astype(np.float32)


def _pieces(tree: ArterialTree, grid: Grid, lumen: Float[np.ndarray, " segments"]) -> Iterator[_Pieces]:
    """All vessels that are wide enough, in pieces, those of equal boxes together."""
    spacing = min(grid.spacing_mm)
    drawn = np.flatnonzero(tree.radius_mm * lumen >= THINNEST_MM)
    start, end = grid.to_index(tree.start_mm[drawn]), grid.to_index(tree.end_mm[drawn])
    count = np.maximum(np.ceil(np.linalg.norm(end - start, axis=1) / PIECE_VOXELS), 1).astype(np.int64)
    owner = np.repeat(np.arange(len(drawn)), count)
    axis = ((end - start) / count[:, None])[owner]
    start = start[owner] + axis * (np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count))[:, None]
    radius = (tree.radius_mm * lumen)[drawn][owner] / spacing
    lobe = tree.lobe[drawn][owner]
    above = tree.lobe[np.maximum(tree.parent[drawn], 0)][owner]
    reach = np.ceil(np.abs(axis).max(axis=1) / 2 + radius + 1.5).astype(np.int64)
    for size in np.unique(reach):
        same = np.flatnonzero(reach == size)
        for some in np.array_split(same, max(1, len(same) * (2 * size + 1) ** 3 // AT_ONCE)):
            yield _Pieces(
                start[some], axis[some], radius[some], lobe[some], (lobe != above)[some] | (lobe[some] == 0), int(size)
            )
