"""From the CT to what a network sees, and from what it says back to the CT. Training uses the same functions.

What a network sees is always the same, however the CT was scanned:

* patient axes: slices to superior, rows to posterior, columns to the patient's left;
* the spacing of the model card; a voxel holds exact means over the fine voxels in it, so noise does not alias;
* the box around the lungs and a margin;
* the channels that the card names (`channels`). The lung mask is a channel of its own instead of blanking what lies
  outside: tumours, vessels and chest wall at the edge stay visible, and the network is told where perfusion is asked
  for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from inference.anatomy import Lobe, Side, lobes_of
from inference.channels import Channel
from inference.geometry import Box, Grid, Reorientation
from inference.lung_box import lung_box
from inference.model_card import ModelCard
from inference.separable_map import SeparableMap
from inference.subvoxel_channels import SUBVOXELS, SubvoxelMeans, channel_of
from inference.volumes import CtVolume, LobeMap, require_same_grid

LUNG_SHARE = 0.5
"""Part of a network's voxel that is lung, from which it counts as lung: in masks, means and scores."""
MARGIN_MM = 12.0
"""Surroundings of the lungs that a network sees, on every side as far as the CT goes."""
_SLAB = 16
"""Slices of the CT that are worked on at once; bounds memory."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkInput:
    """What a network sees of one patient."""

    channels: Float32[np.ndarray, "channels slices rows columns"]
    """Those of the card, in its order; multiples of 1/2048 from 0 to 1."""
    lungs: Float32[np.ndarray, "slices rows columns"]
    """Share of each voxel that is lung."""
    grid: Grid
    """Where the voxels of `channels` are: patient axes, spacing of the card."""
    box: Box
    """The part of the CT, in its own axes, that was looked at."""

    @property
    def mask(self) -> Bool[np.ndarray, "slices rows columns"]:
        """Voxels that count as lung."""
        inside: Bool[np.ndarray, "slices rows columns"] = self.lungs >= LUNG_SHARE
        return inside


def network_input(ct: CtVolume, lobes: LobeMap, card: ModelCard, device: torch.device | str = "cpu") -> NetworkInput:
    """Prepare a CT for the network of a card.

    Args:
        ct: HU on any axial grid, tilted or not.
        lobes: on the grid of `ct`.
        card: spacing, HU window and channels.
        device: where the work is done; it changes nothing but time.

    Raises:
        GridMismatch: `lobes` is not on the grid of `ct`.
        ValueError: `lobes` is empty.
    """
    require_same_grid(ct.grid, lobes.grid)
    box = lung_box(lobes.lungs, ct.grid, margin_mm=MARGIN_MM)
    way = _Way.of(ct.grid, box, card.input_spacing_mm)
    a, b, c = card.input_spacing_mm
    parts = way.coarse.with_spacing((a / SUBVOXELS, b / SUBVOXELS, c / SUBVOXELS))
    windowed, lung, windowed_lung, left = way.means(_fields(ct, lobes, box, card.hu_window, device), parts, device)
    means = SubvoxelMeans(windowed, lung, windowed_lung, left, way.coarse, card.hu_window)
    channels = torch.stack([channel_of(Channel(name), means) for name in card.channels])
    return NetworkInput(channels.cpu().numpy(), means.share.cpu().numpy(), way.coarse, box)


def seen_lobes(
    lobes: LobeMap, seen: NetworkInput, device: torch.device | str = "cpu"
) -> UInt8[np.ndarray, "slices rows columns"]:
    """The lobe that most of the lung of each voxel belongs to; 0 where `seen.lungs` is 0.

    Args:
        lobes: on the grid of the CT that `seen` was made from.
        seen: what the network was shown.
        device: where the work is done.
    """
    way = _Way.of(lobes.grid, seen.box, seen.grid.spacing_mm)
    labels = (torch.from_numpy(slab.copy()).to(device) for slab in _slabs(lobes.labels[seen.box]))
    shares = way.means((torch.stack([each == lobe for lobe in Lobe]).float() for each in labels), way.coarse, device)
    most = shares.argmax(dim=0).to(torch.uint8) + 1
    found: UInt8[np.ndarray, "slices rows columns"] = np.where(seen.lungs > 0, most.cpu().numpy(), np.uint8(0))
    return found


def onto_ct(
    output: Float32[np.ndarray, "slices rows columns"],
    seen: NetworkInput,
    ct: CtVolume,
    device: torch.device | str = "cpu",
) -> Float32[np.ndarray, "s r c"]:
    """Bring a network's output back to the grid of the CT, linearly interpolated; 0 outside the box that was seen.

    Args:
        output: one value per voxel of `seen.grid`.
        seen: what the network was shown.
        ct: the CT that `seen` was made from.
        device: where the work is done.
    """
    values = np.zeros(ct.grid.shape, dtype=np.float32)
    values[seen.box] = boxed_onto_ct(output, seen, ct.grid, device)
    return values


def boxed_onto_ct(
    output: Float32[np.ndarray, "slices rows columns"],
    seen: NetworkInput,
    ct_grid: Grid,
    device: torch.device | str = "cpu",
) -> Float32[np.ndarray, "s r c"]:
    """`onto_ct` for the box `seen.box` of the CT only."""
    way = _Way.of(ct_grid, seen.box, seen.grid.spacing_mm)
    return way.back(torch.from_numpy(output).to(device), device)


def window_padding(
    shape: tuple[int, int, int], window: tuple[int, int, int]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Voxels of 0 before and after each axis that bring a volume to the size of a window at least.

    The volume lies in the middle, the odd voxel behind it, as MONAI's sliding window has it: a network must meet a
    patient in the same place in training and in the node.
    """
    missing = [max(wanted - got, 0) for got, wanted in zip(shape, window, strict=True)]
    before, after = [each // 2 for each in missing], [each - each // 2 for each in missing]
    a, b, c = zip(before, after, strict=True)
    return a, b, c


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """Between the box of a CT, in its own axes, and the coarse grid, in those of the patient."""

    turn: Reorientation
    fine: Grid
    """The box of the CT in patient axes."""
    coarse: Grid

    @classmethod
    def of(cls, ct_grid: Grid, box: Box, spacing_mm: tuple[float, float, float]) -> "_Way":
        turn = Reorientation.to_patient_axes(ct_grid)
        fine = turn.grid(ct_grid.cropped(box))
        return cls(turn, fine, fine.with_spacing(spacing_mm))

    def means(
        self, slabs: Iterator[Float[Tensor, "fields slices rows columns"]], onto: Grid, device: torch.device | str
    ) -> Float[Tensor, "fields s r c"]:
        """Means over the voxels of `onto`, in patient axes, of fields in the CT's axes that come slab by slab."""
        there = SeparableMap.between(self.fine, onto, kind="means", device=device)
        there = there.turned(self.turn.permutation, self.turn.flips)
        means = there.down(torch.cat([there.across(slab) for slab in slabs], dim=1))
        return means.permute(0, *(axis + 1 for axis in self.turn.permutation)).contiguous()

    def back(
        self, output: Float[Tensor, "slices rows columns"], device: torch.device | str
    ) -> Float32[np.ndarray, "s r c"]:
        """Values on the coarse grid, in the box and the axes of the CT."""
        undo = tuple(int(axis) for axis in np.argsort(self.turn.permutation))
        matrices = SeparableMap.between(self.coarse, self.fine, kind="linear", device=device).matrices
        a, b, c = (matrices[axis].flip(0) if self.turn.flips[axis] else matrices[axis] for axis in undo)
        here = SeparableMap((a, b, c))
        by_slice = here.down(output.permute(undo))
        values = np.empty((a.shape[0], b.shape[0], c.shape[0]), dtype=np.float32)
        for start in range(0, len(values), _SLAB):
            values[start : start + _SLAB] = here.across(by_slice[start : start + _SLAB]).cpu().numpy()
        return values


def _fields(
    ct: CtVolume, lobes: LobeMap, box: Box, hu_window: tuple[float, float], device: torch.device | str
) -> Iterator[Float[Tensor, "fields slices rows columns"]]:
    """Slab by slab: CT number in the window as 0 … 1, lung, their product, and left lung."""
    low, high = hu_window
    first_left = min(lobes_of(Side.LEFT))  # labels of the left lung come after those of the right
    for hu, labels in zip(_slabs(ct.hu[box]), _slabs(lobes.labels[box]), strict=True):
        windowed = torch.from_numpy(hu.copy()).to(device).sub_(low).div_(high - low).clamp_(0.0, 1.0)
        lobe = torch.from_numpy(labels.copy()).to(device)
        lung = (lobe > 0).float()
        yield torch.stack([windowed, lung, windowed * lung, (lobe >= first_left).float()])


def _slabs(array: np.ndarray) -> Iterator[np.ndarray]:
    return (array[start : start + _SLAB] for start in range(0, len(array), _SLAB))
