"""From the CT to what a network sees, and from what it says back to the CT. Training uses the same functions.

What a network sees is always the same, however the CT was scanned:

* patient axes: slices to superior, rows to posterior, columns to the patient's left;
* the spacing of the model card; finer CTs are blurred first, so that noise does not alias;
* the box around the lungs and a margin;
* two channels: HU in the card's window as 0 … 1, and the lung mask as a fraction 0 … 1. The mask is a channel of its
  own instead of blanking what lies outside: tumours, vessels and chest wall at the edge stay visible, and the network
  is told where perfusion is asked for.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from scipy import ndimage

from inference.geometry import Box, Grid, Reorientation
from inference.images import Interpolation, resample
from inference.lung_box import lung_box
from inference.model_card import ModelCard
from inference.volumes import CtVolume, LobeMap, require_same_grid

MARGIN_MM = 12.0
"""Surroundings of the lungs that a network sees, on every side as far as the CT goes."""

FWHM_PER_STEP = 0.7
"""Blur before coarser sampling, as FWHM per step that the new spacing is coarser than the old; our choice."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkInput:
    """What a network sees of one patient."""

    channels: Float32[np.ndarray, "2 slices rows columns"]
    """HU in the window as 0 … 1, and lung mask."""
    grid: Grid
    """Where the voxels of `channels` are: patient axes, spacing of the card."""
    box: Box
    """The part of the CT, in its own axes, that was looked at."""


def network_input(ct: CtVolume, lobes: LobeMap, card: ModelCard) -> NetworkInput:
    """Prepare a CT for the network of a card.

    Args:
        ct: HU on any axial grid.
        lobes: on the grid of `ct`.
        card: spacing and HU window.

    Raises:
        GridMismatch: `lobes` is not on the grid of `ct`.
        ValueError: `lobes` is empty.
    """
    require_same_grid(ct.grid, lobes.grid)
    box = lung_box(lobes.lungs, ct.grid, margin_mm=MARGIN_MM)
    turn = Reorientation.to_patient_axes(ct.grid)
    fine = turn.grid(ct.grid.cropped(box))
    coarse = fine.with_spacing(card.input_spacing_mm)
    low, high = card.hu_window
    windowed = np.clip((turn.apply(ct.hu[box]) - low) / (high - low), 0.0, 1.0).astype(np.float32)
    mask = turn.apply(lobes.lungs[box]).astype(np.float32)
    channels = np.stack([_sampled(windowed, fine, coarse), _sampled(mask, fine, coarse)])
    return NetworkInput(channels, coarse, box)


def onto_ct(
    output: Float32[np.ndarray, "slices rows columns"], seen: NetworkInput, ct: CtVolume
) -> Float32[np.ndarray, "s r c"]:
    """Bring a network's output back to the grid of the CT, linearly interpolated; 0 outside the box that was seen.

    Args:
        output: one value per voxel of `seen.grid`.
        seen: what the network was shown.
        ct: the CT that `seen` was made from.
    """
    turn = Reorientation.to_patient_axes(ct.grid)
    fine = turn.grid(ct.grid.cropped(seen.box))
    # A fine voxel at the face of the box may lie half a step beyond the outermost coarse centre.
    padded, around = _with_edge(output, seen.grid)
    values = np.zeros(ct.grid.shape, dtype=np.float32)
    values[seen.box] = turn.undo(resample(padded, around, fine, interpolation=Interpolation.LINEAR, outside=0.0))
    return values


def _sampled(values: Float32[np.ndarray, "a b c"], fine: Grid, coarse: Grid) -> Float32[np.ndarray, "d e f"]:
    """Values on a coarser (or finer) grid over the same volume; beyond the last voxel the nearest one counts."""
    steps = np.array(coarse.spacing_mm) / np.array(fine.spacing_mm)
    sigma = np.where(steps > 1.0, FWHM_PER_STEP * steps / 2.355, 0.0)
    padded, around = _with_edge(
        ndimage.gaussian_filter(values, sigma, mode="nearest"), fine, cells=_overhang(fine, coarse)
    )
    sampled: Float32[np.ndarray, "d e f"] = resample(
        padded, around, coarse, interpolation=Interpolation.LINEAR, outside=0.0
    )
    return sampled


def _overhang(fine: Grid, coarse: Grid) -> tuple[int, int, int]:
    """Fine voxels by which the far side of the coarse grid, rounded up, reaches beyond the fine one."""
    a, b, c = (int(np.ceil(step / mm)) for step, mm in zip(coarse.spacing_mm, fine.spacing_mm, strict=True))
    return a, b, c


def _with_edge(
    values: Float[np.ndarray, "a b c"], grid: Grid, *, cells: tuple[int, int, int] = (1, 1, 1)
) -> tuple[Float[np.ndarray, "d e f"], Grid]:
    """The array with its outermost values repeated on every side, and where that lies."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_patient_mm(-np.array(cells, dtype=np.float64))
    a, b, c = (n + 2 * k for n, k in zip(grid.shape, cells, strict=True))
    padded = np.pad(values, [(k, k) for k in cells], mode="edge")
    return padded, Grid((a, b, c), affine, grid.frame_of_reference_uid)
