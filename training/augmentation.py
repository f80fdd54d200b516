"""What a training patient could look like lying, breathing or being scanned a little differently.

Drawing and applying are apart: `draw_augmentation` makes numbers from a seed and a place in the run, `augmented`
applies them to a whole batch on its device. So a run that was killed draws the same as one that was not, and a test can
apply numbers of its own.

There is no flip from left to right: lungs are not symmetric, and the heart is on one side. All widths are ours and
untuned.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from inference.channels import Channel

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Alteration:
    """How far the values of a channel are altered: standard deviations of normal draws."""

    gain: float = 0.0
    """Around 1, one for each sample."""
    offset: float = 0.0
    """Around 0, one for each sample, in units of the channel."""
    noise: float = 0.0
    """Of each voxel, in units of the channel; a sample draws how much of it, from none to all."""


ALTERATIONS: Mapping[str, Alteration] = MappingProxyType(
    {
        Channel.HU: Alteration(gain=0.02, offset=0.01, noise=0.01),
        Channel.LUNG_HU: Alteration(gain=0.02, offset=0.01, noise=0.01),
        Channel.PARENCHYMA: Alteration(gain=0.02, offset=0.01, noise=0.01),
        Channel.SPREAD: Alteration(gain=0.05, noise=0.01),
        Channel.BELOW_950: Alteration(gain=0.10, noise=0.01),
        Channel.BELOW_910: Alteration(gain=0.10, noise=0.01),
        Channel.ABOVE_500: Alteration(gain=0.05, noise=0.01),
    }
)
"""Scanners differ in calibration (some 10 HU), kernel and noise. What says where a voxel is, is moved and not altered.
Channels are drawn apart from each other, so that a network does not rest on one of them."""


@dataclass(frozen=True, slots=True)
class AugmentationPlan:
    """How far samples are altered; every number is ours."""

    rotation_degrees: float = 6.0
    """Largest turn about each axis: how differently a patient lies."""
    scale: float = 0.08
    """Largest relative change of size along each axis: other people, other breaths."""
    shift_mm: float = 10.0
    """Largest shift along each axis, so that nothing is learned of where the window ends."""
    alterations: Mapping[str, Alteration] = field(default_factory=lambda: ALTERATIONS)
    """Of the channels, by name; a channel that is not named is moved and not altered."""


NO_AUGMENTATION = AugmentationPlan(rotation_degrees=0.0, scale=0.0, shift_mm=0.0, alterations={})


@dataclass(frozen=True, slots=True, eq=False)
class AugmentationDraw:
    """The numbers that one batch is altered by; one row for each sample."""

    rotation: Float64[np.ndarray, "samples 3"]
    """Radians about the slice, row and column axis."""
    scale: Float64[np.ndarray, "samples 3"]
    """Size of the altered body along slices, rows, columns; 1 is as it was."""
    shift_mm: Float64[np.ndarray, "samples 3"]
    """How far the altered body is moved along slices, rows, columns."""
    place: Float64[np.ndarray, "samples 3"]
    """Where the window is put in a body that is larger, from -1 (one end) to 1 (the other)."""
    gain: Float64[np.ndarray, "samples channels"]
    offset: Float64[np.ndarray, "samples channels"]
    noise: Float64[np.ndarray, "samples channels"]
    """Standard deviation of each voxel's noise."""
    noise_seed: tuple[int, ...]
    """Of each sample."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step learns from."""

    channels: Float[Tensor, "samples channels slices rows columns"]
    target: Float[Tensor, "samples 1 slices rows columns"]
    """SPECT in multiples of its mean over the lungs of the case; 0 outside `lungs`."""
    lungs: Bool[Tensor, "samples 1 slices rows columns"]
    """Where the loss is taken."""


def draw_augmentation(
    plan: AugmentationPlan, channel_names: Sequence[str], *, seed: int, places: Iterable[int]
) -> AugmentationDraw:
    """The numbers for one batch; equal arguments give equal numbers on every machine.

    Args:
        plan: how far samples are altered.
        channel_names: of the channels, in order.
        seed: of the run, 0 or more.
        places: number of each sample of the batch within the run, from 0. Each is drawn for itself, so that numbers do
            not depend on how a run is cut into batches.
    """
    kinds = [plan.alterations.get(name, Alteration()) for name in channel_names]
    widths = np.array([[kind.gain, kind.offset, kind.noise] for kind in kinds]).T
    turn = np.deg2rad(plan.rotation_degrees)
    rows = []
    for place in places:
        random = np.random.default_rng([seed, place])
        even = random.uniform(-1.0, 1.0, (4, 3))
        normal = random.standard_normal((2, len(kinds)))
        rows.append((even, normal, random.uniform(), int(random.integers(0, 2**62))))
    even, normal = np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])
    return AugmentationDraw(
        rotation=turn * even[:, 0],
        scale=1.0 + plan.scale * even[:, 1],
        shift_mm=plan.shift_mm * even[:, 2],
        place=even[:, 3],
        gain=1.0 + widths[0] * normal[:, 0],
        offset=widths[1] * normal[:, 1],
        noise=np.array([row[2] for row in rows])[:, None] * widths[2],
        noise_seed=tuple(row[3] for row in rows),
    )


def augmented(
    volumes: Float[Tensor, "samples volumes a b c"],
    centres: Int[np.ndarray, "samples 3"],
    draw: AugmentationDraw,
    *,
    window: Shape,
    spacing_mm: tuple[float, float, float],
) -> Batch:
    """Look at each sample through a window, turned, scaled, moved and altered by the numbers drawn, on its device.

    The target is averaged over lung only, so that nothing of the 0 outside gets into it at the lungs' edge.

    Args:
        volumes: the channels, then the lungs (0 or 1), then the target (0 outside the lungs).
        centres: voxel of each sample that comes to the middle of the window.
        draw: as many rows as samples.
        window: slices, rows and columns of the result; what is beyond a volume is 0.
        spacing_mm: of the voxels.
    """
    seen = _moved(volumes.float(), _places(volumes, centres, draw, window, spacing_mm))
    share = seen[:, -2:-1]
    lungs = share >= 0.5
    target = torch.where(lungs, seen[:, -1:] / share.clamp(min=0.5), seen.new_zeros(()))
    return Batch(_altered(seen[:, :-2], draw), target, lungs)


def _moved(
    volumes: Float[Tensor, "samples volumes a b c"], places: Float[Tensor, "samples s r k 3"]
) -> Float[Tensor, "samples volumes s r k"]:
    return torch.nn.functional.grid_sample(volumes, places, mode="bilinear", padding_mode="zeros", align_corners=True)


def _places(
    volumes: Float[Tensor, "samples volumes a b c"],
    centres: Int[np.ndarray, "samples 3"],
    draw: AugmentationDraw,
    window: Shape,
    spacing_mm: tuple[float, float, float],
) -> Float[Tensor, "samples s r k 3"]:
    """Where each voxel of the window looks, in the coordinates of `grid_sample`: columns first, -1 to 1.

    Written out axis by axis and not as a matrix product, which a GPU would do in too few digits.
    """
    spacing = np.array(spacing_mm)
    back = (_turns(draw.rotation) / draw.scale[:, None, :]).transpose(0, 2, 1)  # inverse of turn after scale
    matrix = back * spacing[None, None, :] / spacing[None, :, None]
    sides = np.array(volumes.shape[2:])
    middle = np.array(window) // 2
    start = centres - np.einsum("nij,nj->ni", matrix, middle + draw.shift_mm / spacing)
    half = np.maximum(sides - 1, 1) / 2.0
    numbers = np.concatenate([matrix / half[None, :, None], (start / half - 1.0)[:, :, None]], axis=2)
    factors = torch.as_tensor(numbers, dtype=torch.float32, device=volumes.device)[..., None, None, None]
    axes = [torch.arange(side, dtype=torch.float32, device=volumes.device) for side in window]
    s, r, k = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    parts = [
        factors[:, axis, 0] * s + factors[:, axis, 1] * r + factors[:, axis, 2] * k + factors[:, axis, 3]
        for axis in (2, 1, 0)
    ]
    return torch.stack(parts, dim=-1)


def _turns(rotation: Float64[np.ndarray, "samples 3"]) -> Float64[np.ndarray, "samples 3 3"]:
    """Rotation about the slice axis, after that about the row axis, after that about the column axis."""
    (a, b, c), (x, y, z) = np.cos(rotation).T, np.sin(rotation).T
    one, none = np.ones(len(rotation)), np.zeros(len(rotation))

    def rows(*numbers: Float64[np.ndarray, " samples"]) -> Float64[np.ndarray, "samples 3 3"]:
        return np.stack(numbers, axis=1).reshape(-1, 3, 3)

    about_slices = rows(one, none, none, none, a, -x, none, x, a)
    about_rows = rows(b, none, y, none, one, none, -y, none, b)
    about_columns = rows(c, -z, none, z, c, none, none, none, one)
    turned: Float64[np.ndarray, "samples 3 3"] = about_slices @ about_rows @ about_columns
    return turned


def _altered(
    channels: Float[Tensor, "samples channels s r k"], draw: AugmentationDraw
) -> Float[Tensor, "samples channels s r k"]:
    """Gain, offset and noise inside what was seen; where a channel is exactly 0 there is nothing to alter."""
    numbers = np.stack([draw.gain, draw.offset, draw.noise])
    if not (draw.noise.any() or draw.offset.any() or (draw.gain != 1.0).any()):
        return channels
    gain, offset, noise = torch.as_tensor(numbers, dtype=torch.float32, device=channels.device)[..., None, None, None]
    grain = torch.stack([_grain(channels[k], seed) for k, seed in enumerate(draw.noise_seed)])
    altered = (channels * gain + offset + grain * noise).clamp(min=0.0)
    return torch.where(channels == 0.0, channels, altered)


def _grain(like: Float[Tensor, "channels s r k"], seed: int) -> Float[Tensor, "channels s r k"]:
    """Normal noise of a seed, on the device; a GPU makes other numbers than a CPU."""
    random = torch.Generator(like.device).manual_seed(seed)
    return torch.randn(like.shape, generator=random, device=like.device)
