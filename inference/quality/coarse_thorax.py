"""The CT and its lobes on a coarse grid with patient axes: what checks look at that need no detail.

Blocks of whole voxels are averaged, to some 4 mm, so that body, lungs and mediastinum of any planning CT take a
million voxels and every check on them some tens of milliseconds.
"""

from dataclasses import dataclass
from functools import cached_property

import cc3d
import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8

from inference.anatomy import Side, lobes_of
from inference.geometry import Grid, Reorientation
from inference.volumes import CtVolume, LobeMap

SPACING_MM = 4.0
"""Longest side of a block, unless voxels are larger."""
TISSUE_HU = -300.0
"""Between lung and soft tissue."""

Mask = Bool[np.ndarray, "a b c"]


@dataclass(frozen=True, eq=False)
class CoarseThorax:
    """Blocks in patient axes: axis 0 to superior, axis 1 to posterior, axis 2 to the patient's left."""

    hu: Float32[np.ndarray, "a b c"]
    """Mean of each block."""
    labels: UInt8[np.ndarray, "a b c"]
    """Lobe of each block of which at least half is lung; 0 elsewhere."""
    grid: Grid

    @classmethod
    def of(cls, ct: CtVolume, lobes: LobeMap) -> "CoarseThorax":
        """The blocks of a CT and of lobes on its grid; what is left over at the far ends is dropped."""
        axes = Reorientation.to_patient_axes(ct.grid)
        fine = axes.grid(ct.grid)
        steps = [
            min(max(int(SPACING_MM // spacing), 1), n) for spacing, n in zip(fine.spacing_mm, fine.shape, strict=True)
        ]
        hu, labels = axes.apply(ct.hu), axes.apply(lobes.labels)
        slabs = [slice(k, k + steps[0]) for k in range(0, fine.shape[0] - steps[0] + 1, steps[0])]
        coarse_hu = np.stack([_block_means(hu[slab], steps[1:]) for slab in slabs])
        coarse_labels = np.stack([_block_labels(labels[slab], steps[1:]) for slab in slabs])
        return cls(coarse_hu, coarse_labels, _coarse_grid(fine, coarse_hu.shape, steps))

    @property
    def voxel_ml(self) -> float:
        """Volume of a block."""
        return self.grid.voxel_volume_ml

    @cached_property
    def lungs(self) -> Mask:
        """Blocks of any lobe."""
        found: Mask = self.labels > 0
        return found

    def lung(self, side: Side) -> Mask:
        """Blocks of one lung."""
        found: Mask = np.isin(self.labels, [lobe.value for lobe in lobes_of(side)])
        return found

    def ml(self, mask: Mask) -> float:
        """Volume of a mask."""
        return float(np.count_nonzero(mask)) * self.voxel_ml

    def positions_mm(self, axis: int) -> Float[np.ndarray, " n"]:
        """Patient z, y or x of the blocks along axis 0, 1 or 2."""
        return self.grid.origin_mm[2 - axis] + self.grid.spacing_mm[axis] * np.arange(self.grid.shape[axis])

    def centre_mm(self, mask: Mask) -> tuple[float, float, float]:
        """Mean z, y and x of a mask that is not empty."""
        z, y, x = (
            float(np.average(self.positions_mm(axis), weights=mask.sum(axis=tuple({0, 1, 2} - {axis}))))
            for axis in range(3)
        )
        return z, y, x

    @cached_property
    def body(self) -> Mask:
        """The patient without couch; lungs and bowel filled in, slice by slice."""
        from scipy import ndimage  # heavy; the node's own processes know the checks by their types

        tissue = ndimage.binary_opening(self.hu > TISSUE_HU, structure=ndimage.generate_binary_structure(3, 1))
        if not tissue.any():
            return np.asarray(tissue)
        body: Mask = cc3d.largest_k(tissue, k=1, connectivity=6, binary_image=True) > 0
        for k in range(body.shape[0]):
            body[k] |= _enclosed(body[k])
        return body

    @cached_property
    def midline_mm(self) -> float:
        """Patient x of the middle of the body at the level of the lungs; of the volume where there is no body."""
        levels = self.lungs.any(axis=(1, 2))
        per_column = self.body[levels].sum(axis=(0, 1)) if levels.any() else self.body.sum(axis=(0, 1))
        if not per_column.any():
            return float(self.positions_mm(2).mean())
        share = np.cumsum(per_column) / per_column.sum()
        far_sides_mm = self.positions_mm(2) + 0.5 * self.grid.spacing_mm[2]
        low, high = np.interp((0.02, 0.98), share, far_sides_mm)
        return float(low + high) / 2.0


def _block_means(slab: Shaped[np.ndarray, "s r c"], steps: list[int]) -> Float32[np.ndarray, "p q"]:
    rows, columns = (n // step for n, step in zip(slab.shape[1:], steps, strict=True))
    total = np.zeros((rows, columns), dtype=np.float32)
    for plane in slab:
        for row, column in np.ndindex(steps[0], steps[1]):
            total += plane[row :: steps[0], column :: steps[1]][:rows, :columns]
    total /= slab.shape[0] * steps[0] * steps[1]
    return total


def _block_labels(slab: UInt8[np.ndarray, "s r c"], steps: list[int]) -> UInt8[np.ndarray, "p q"]:
    """The label in the middle of each block that is lung for at least half; where that is none, one at a corner."""
    share = _block_means(slab > 0, steps)
    rows, columns = share.shape
    plane = slab[slab.shape[0] // 2]

    def at(row: int, column: int) -> UInt8[np.ndarray, "p q"]:
        label: UInt8[np.ndarray, "p q"] = plane[row :: steps[0], column :: steps[1]][:rows, :columns]
        return label

    middle = at(steps[0] // 2, steps[1] // 2)
    ends = [(0, step - 1) for step in steps]
    corners = np.maximum.reduce([at(row, column) for row in ends[0] for column in ends[1]])
    return np.where(share >= 0.5, np.where(middle > 0, middle, corners), 0).astype(np.uint8)


def _coarse_grid(fine: Grid, shape: tuple[int, ...], steps: list[int]) -> Grid:
    affine = fine.affine.copy()
    affine[:3, :3] = fine.affine[:3, :3] * np.array(steps)
    affine[:3, 3] = fine.to_patient_mm((np.array(steps) - 1.0) / 2.0)
    return Grid((shape[0], shape[1], shape[2]), affine, fine.frame_of_reference_uid)


def _enclosed(section: Bool[np.ndarray, "b c"]) -> Bool[np.ndarray, "b c"]:
    """Everything that is not connected to the border of a section outside of it."""
    parts = cc3d.connected_components(~section, connectivity=4, out_dtype=np.uint32)
    is_open = np.zeros(int(parts.max()) + 1, dtype=bool)
    for edge in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        is_open[edge] = True
    is_open[0] = False
    enclosed: Bool[np.ndarray, "b c"] = ~is_open[parts]
    return enclosed
