"""From one grid to another with the same axes, one axis at a time: exact means over voxels, or linear interpolation.

Where two grids differ in spacing and place but not in direction, resampling is three products with small matrices, each
nearly empty outside a band. That is exact, needs no blur against aliasing when means are taken, and takes the same
few lines of torch on a CPU and on a GPU. Axes may be tilted in the patient; only their being parallel counts.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inference.errors import GridMismatch
from inference.geometry import Grid

_TURN = 1e-3
"""Largest difference of two unit axes that count as parallel (0.06 degrees): half a voxel over 500 mm."""
_BLOCK = 32
"""Rows of a matrix that are multiplied at once, with the columns that they need."""


@dataclass(frozen=True, slots=True, eq=False)
class SeparableMap:
    """One matrix per axis, each row the weights of a new voxel among the old ones; rows sum to 1.

    Beyond the old grid its outermost voxels go on for ever.
    """

    matrices: tuple[Float[Tensor, "a b"], Float[Tensor, "c d"], Float[Tensor, "e f"]]
    """Of slices, rows and columns, on the device where they are used."""

    @classmethod
    def between(
        cls, old: Grid, new: Grid, *, kind: Literal["means", "linear"], device: torch.device | str = "cpu"
    ) -> "SeparableMap":
        """The way from `old` to `new`.

        Args:
            old: where values are.
            new: where they are wanted.
            kind: `means` weighs each old voxel by the part of the new one that it fills; `linear` interpolates
                between the centres of old voxels.
            device: where values will be.

        Raises:
            GridMismatch: another frame of reference, or axes that are not parallel.
        """
        is_parallel = bool(np.abs(old.direction - new.direction).max() <= _TURN)
        if old.frame_of_reference_uid != new.frame_of_reference_uid or not is_parallel:
            raise GridMismatch(new.description(), f"{old.description()} in another frame of reference or direction")
        first = old.to_index(np.array(new.origin_mm))
        made = _means if kind == "means" else _linear
        slices, rows, columns = (
            torch.from_numpy(
                made(old.shape[axis], new.shape[axis], first[axis], new.spacing_mm[axis] / old.spacing_mm[axis])
            ).to(device)
            for axis in range(3)
        )
        return cls((slices, rows, columns))

    def turned(self, permutation: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> "SeparableMap":
        """The same way for old values whose axes are stored in another order and direction.

        Args:
            permutation: stored axis that is axis 0, 1, 2 of the old grid, as in `Reorientation`.
            flips: whether axis 0, 1, 2 runs backwards as stored.

        Returns:
            A map whose matrices follow the stored axes; new values keep that order of axes too, forwards.
        """
        own = [torch.empty(0)] * 3
        for axis, stored in enumerate(permutation):
            own[stored] = self.matrices[axis].flip(1) if flips[axis] else self.matrices[axis]
        return SeparableMap((own[0], own[1], own[2]))

    def across(self, values: Float[Tensor, "*any slices rows columns"]) -> Float[Tensor, "*any slices r c"]:
        """Map rows and columns and leave slices, so that a volume can be taken a few slices at a time."""
        return _along(_along(values, self.matrices[2], 2), self.matrices[1], 1)

    def down(self, values: Float[Tensor, "*any slices r c"]) -> Float[Tensor, "*any s r c"]:
        """Map slices; with `across` before or after it the whole way."""
        return _along(values, self.matrices[0], 0)


def _along(values: Float[Tensor, "*any a b c"], matrix: Float[Tensor, "new old"], axis: int) -> Tensor:
    """The product along slices (0), rows (1) or columns (2), block by block of the band."""
    used = matrix.cpu() != 0
    parts = []
    for start in range(0, matrix.shape[0], _BLOCK):
        columns = torch.nonzero(used[start : start + _BLOCK].any(dim=0)).flatten()
        first, last = int(columns[0]), int(columns[-1]) + 1
        block = matrix[start : start + _BLOCK, first:last]
        old = values.narrow(axis - 3, first, last - first)
        if axis == 2:
            parts.append(torch.matmul(old, block.T))
        elif axis == 1:
            parts.append(torch.matmul(block, old))
        else:
            product = torch.matmul(block, old.flatten(-2))
            parts.append(product.reshape(*product.shape[:-1], *old.shape[-2:]))
    return torch.cat(parts, dim=axis - 3)


def _means(old: int, new: int, first: float, step: float) -> Float[np.ndarray, "new old"]:
    """Share of each new voxel that each old one fills; `first` and `step` are those of new centres in old indices."""
    old_faces = np.arange(old + 1) - 0.5
    old_faces[0], old_faces[-1] = -np.inf, np.inf
    new_faces = first + (np.arange(new + 1) - 0.5) * step
    high = np.minimum(new_faces[1:, None], old_faces[None, 1:])
    low = np.maximum(new_faces[:-1, None], old_faces[None, :-1])
    shares: Float[np.ndarray, "new old"] = (np.maximum(high - low, 0.0) / step).astype(np.float32)
    return shares


def _linear(old: int, new: int, first: float, step: float) -> Float[np.ndarray, "new old"]:
    """Weights of linear interpolation between the two nearest old centres."""
    places = np.clip(first + np.arange(new) * step, 0, old - 1)
    weights: Float[np.ndarray, "new old"] = np.maximum(1.0 - np.abs(places[:, None] - np.arange(old)), 0.0)
    return weights.astype(np.float32)
