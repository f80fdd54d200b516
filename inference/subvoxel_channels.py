"""Statistics of a fine CT within the voxels of a coarse grid: the channels a network is shown.

Each coarse voxel is cut into `SUBVOXELS` parts along every axis. The means over these parts are exact, every fine voxel
counting by its share; statistics are then taken over the parts. So what is called spread or share below a level does
not depend on how fine the CT was, and depends less on its noise than statistics of single CT voxels would.

Everything is computed where the data is, on a CPU or a GPU, and rounded to multiples of `STEP`. Rounding takes away the
last digits in which devices differ, and 16-bit files hold the values exactly: what is stored for training is what the
node will see.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from inference.channels import DEPTH_SCALE_MM, HEIGHT_SCALE_MM, PARENCHYMA_TOP_HU, SPREAD_SCALE_HU, Channel
from inference.geometry import Grid

SUBVOXELS = 3
"""Parts of a coarse voxel along each axis; of 6 mm they have 2 mm, between the voxels of thin and thick CTs."""
DARKEST = 3
"""Parts of a voxel that stand for the lung between its vessels: a ninth of them, few enough to miss vessels nearly
everywhere, enough to average some noise."""
STEP = 1.0 / 2048.0
"""Channels are multiples of this: half a HU in a window of 1,100 HU, far below the noise of a voxel's mean."""

Volume = Float[Tensor, "slices rows columns"]
Parts = Float[Tensor, "s r c"]
"""`SUBVOXELS` times as many along each axis."""


@dataclass(frozen=True, eq=False)
class SubvoxelMeans:
    """Means over the parts of coarse voxels, and what follows for the voxels."""

    windowed: Parts
    """CT number in `hu_window` as 0 … 1."""
    lung: Parts
    """Share of lung."""
    windowed_lung: Parts
    """`windowed` where there is lung, else 0, before the mean was taken."""
    left: Parts
    """Share of left lung."""
    grid: Grid
    """The coarse grid, in patient axes; parts are `SUBVOXELS` times finer."""
    hu_window: tuple[float, float]

    @cached_property
    def share(self) -> Volume:
        """Share of lung in each voxel."""
        return _rounded(_block_means(self.lung))

    @cached_property
    def inside(self) -> Bool[Tensor, "slices rows columns"]:
        """Voxels with any lung."""
        return self.share > 0

    @cached_property
    def lung_windowed(self) -> Parts:
        """Mean of the windowed CT number over the lung of each part; 0 in parts without lung."""
        return torch.where(self.lung > 0, self.windowed_lung / self.lung.clamp(min=1e-6), 0.0)

    @cached_property
    def lung_mean(self) -> Volume:
        """Mean of the windowed CT number over the lung of each voxel; 0 in voxels without lung."""
        lung = _block_means(self.lung)
        return torch.where(lung > 0, _block_means(self.windowed_lung) / lung.clamp(min=1e-6), 0.0)

    def share_where(self, is_so: Bool[Tensor, "s r c"]) -> Volume:
        """Share of each voxel that is lung of such parts."""
        return _block_means(torch.where(is_so, self.lung, 0.0))

    def in_window(self, hu: float) -> float:
        """A CT number as 0 … 1."""
        low, high = self.hu_window
        return (hu - low) / (high - low)


def channel_of(name: Channel, means: SubvoxelMeans) -> Volume:
    """One channel on the coarse grid, as `Channel` defines it."""
    if name is Channel.LUNGS:
        return means.share
    values = _rounded(_CHANNELS[name](means))
    return values if name is Channel.HU else torch.where(means.inside, values, 0.0)


def _spread(means: SubvoxelMeans) -> Volume:
    """Over the lung of a voxel, from the means over its parts: the noise within a part is gone."""
    lung = _block_means(means.lung).clamp(min=1e-6)
    parts = means.lung_windowed
    centred = (parts - _spread_out(means.lung_mean)) ** 2  # not E[x²] - E[x]², which loses digits
    low, high = means.hu_window
    return (_block_means(means.lung * centred) / lung).sqrt() * ((high - low) / SPREAD_SCALE_HU)


def _parenchyma(means: SubvoxelMeans) -> Volume:
    """Mean of the darkest parts that are mostly lung; where there is none, of all lung."""
    parts = _parts_of_voxels(torch.where(means.lung >= 0.5, means.lung_windowed, torch.inf))
    darkest = parts.topk(DARKEST, dim=0, largest=False).values
    found = darkest.isfinite()
    mean = torch.where(found, darkest, 0.0).sum(dim=0) / found.sum(dim=0).clamp(min=1)
    low, high = means.hu_window
    hu = low + (high - low) * torch.where(found[0], mean, means.lung_mean)
    return (hu + 1000.0) / (PARENCHYMA_TOP_HU + 1000.0)


def _height(means: SubvoxelMeans) -> Volume:
    """Posterior is down: a planning CT does not say how the patient lay, and nearly all lie supine."""
    y_mm = np.broadcast_to(means.grid.coordinates_mm()[1], means.grid.shape)
    mostly = (means.share >= 0.5).cpu().numpy()
    lowest_mm = y_mm[mostly].max() if mostly.any() else y_mm.max()
    return torch.from_numpy(((lowest_mm - y_mm) / HEIGHT_SCALE_MM).astype(np.float32)).to(means.share.device)


def _depth(means: SubvoxelMeans) -> Volume:
    mostly = np.pad((means.share >= 0.5).cpu().numpy(), 1)
    distance_mm = ndimage.distance_transform_edt(mostly, sampling=means.grid.spacing_mm)[1:-1, 1:-1, 1:-1]
    return torch.from_numpy((distance_mm / DEPTH_SCALE_MM).astype(np.float32)).to(means.share.device)


def _below(hu: float) -> Callable[[SubvoxelMeans], Volume]:
    return lambda means: means.share_where(means.lung_windowed < means.in_window(hu))


_CHANNELS: Mapping[Channel, Callable[[SubvoxelMeans], Volume]] = MappingProxyType(
    {
        Channel.HU: lambda means: _block_means(means.windowed),
        Channel.LEFT: lambda means: _block_means(means.left),
        Channel.LUNG_HU: lambda means: means.lung_mean,
        Channel.PARENCHYMA: _parenchyma,
        Channel.SPREAD: _spread,
        Channel.BELOW_950: _below(-950.0),
        Channel.BELOW_910: _below(-910.0),
        Channel.ABOVE_500: lambda means: means.share_where(means.lung_windowed > means.in_window(-500.0)),
        Channel.HEIGHT: _height,
        Channel.DEPTH: _depth,
    }
)


def _block_means(parts: Parts) -> Volume:
    """Mean over the parts of each voxel."""
    return torch.nn.functional.avg_pool3d(parts[None], SUBVOXELS)[0]


def _parts_of_voxels(parts: Parts) -> Float[Tensor, "parts slices rows columns"]:
    """The parts of each voxel, one behind another."""
    slices, rows, columns = (side // SUBVOXELS for side in parts.shape)
    cut = parts.reshape(slices, SUBVOXELS, rows, SUBVOXELS, columns, SUBVOXELS)
    return cut.permute(1, 3, 5, 0, 2, 4).reshape(-1, slices, rows, columns)


def _spread_out(values: Volume) -> Parts:
    """The value of its voxel for every part."""
    parts: Parts = values
    for axis in range(3):
        parts = parts.repeat_interleave(SUBVOXELS, dim=axis)
    return parts


def _rounded(values: Volume) -> Volume:
    return torch.round(values.clamp(0.0, 1.0) / STEP) * STEP
