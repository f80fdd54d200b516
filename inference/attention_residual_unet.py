"""A 3D attention-residual U-Net in the spirit of Ren et al. 2022 (10.3389/fonc.2022.883516); its layers are ours.

The abstract of that paper names three parts: residual modules, attention to the region of interest, attention-gated
skips. Layers, sizes and all else could not be read; what follows is our own design of these three parts.

    channels ─▶ residual unit ────────────── gate ─×─ lungs ──▶ residual unit ─▶ 1 × 1 × 1 ─▶ one value per voxel
                     │ stride                  ▲                     ▲
                residual unit ──────── gate ─×─ lungs ──▶ residual unit
                     │ stride            ▲                     ▲
                   ...                   └─── what comes up ───┘

* Residual units: convolutions and a short way round them (MONAI's `ResidualUnit`).
* Attention-gated skips: what comes up from the coarser level decides where the finer one is let through (MONAI's
  `AttentionBlock`, after Oktay et al. 2018, arXiv 1804.03999).
* Attention to the lungs: each skip is multiplied by the share of lung of its voxels, so detail comes from the lungs
  only. Surroundings (tumour, chest wall, heart) still reach the result by way of the coarser levels.

The finest level is thin on purpose, one convolution down and one up: the map it makes is as smooth as a SPECT.
"""

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution, ResidualUnit, UpSample
from monai.networks.nets.attentionunet import AttentionBlock
from torch import Tensor, nn

ACTIVATION = ("LEAKYRELU", {"negative_slope": 0.1, "inplace": True})
_FIRST_GUESS = 0.5413
"""Bias of the last layer: softplus of it is 1, the mean of every map."""


class AttentionResidualUnet(nn.Module):
    """Body of a `PerfusionNetwork`; any size of input that its strides divide."""

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int = 1,
        spatial_dims: int = 3,
        channels: Sequence[int] = (16, 32, 64, 96),
        strides: Sequence[int] = (2, 2, 2),
        lungs_channel: int = 1,
        norm: str = "BATCH",
        dropout: float = 0.0,
    ) -> None:
        """Build the network with fresh weights.

        Args:
            in_channels: of the input.
            out_channels: 1.
            spatial_dims: 3.
            channels: features of each level, the finest first.
            strides: steps from each level to the next coarser one.
            lungs_channel: which channel of the input is the share of lung.
            norm: MONAI's name of the normalisation after each convolution.
            dropout: share of features left out while training, in residual units.

        Raises:
            ValueError: sizes that do not fit together.
        """
        super().__init__()
        if len(channels) != len(strides) + 1 or len(channels) < 2:
            raise ValueError(f"{len(channels)} levels need {len(channels) - 1} strides, got {len(strides)}")
        if not 0 <= lungs_channel < in_channels:
            raise ValueError(f"channel {lungs_channel} of {in_channels} cannot be the lungs")
        self.strides = tuple(strides)
        self.lungs_channel = lungs_channel
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level, features in enumerate(channels):
            coming = in_channels if level == 0 else channels[level - 1]
            stride = 1 if level == 0 else strides[level - 1]
            self.encoder.append(_residual(spatial_dims, coming, features, stride, _units(level), norm, dropout))
        for level, stride in enumerate(strides):
            self.decoder.append(
                GatedLevel(spatial_dims, channels[level], channels[level + 1], stride, _units(level), norm, dropout)
            )
        self.head = Convolution(spatial_dims, channels[0], out_channels, kernel_size=1, conv_only=True)
        nn.init.constant_(self.head.conv.bias, _FIRST_GUESS)

    def forward(self, channels: Tensor) -> Tensor:
        """Map (batch, channels, slices, rows, columns) to (batch, 1, slices, rows, columns)."""
        shares = [channels[:, self.lungs_channel : self.lungs_channel + 1]]
        for stride in self.strides[:-1]:
            shares.append(nn.functional.avg_pool3d(shares[-1], stride))
        skips = []
        features = channels
        for stage in self.encoder:
            features = stage(features)
            skips.append(features)
        features = skips.pop()
        for level, skip, share in zip(reversed(self.decoder), reversed(skips), reversed(shares), strict=True):
            features = level(features, skip, share)
        result: Tensor = self.head(features)
        return result


class GatedLevel(nn.Module):
    """One level on the way up: the coarser features, made finer, meet the gated skip."""

    def __init__(
        self, spatial_dims: int, features: int, coarser: int, stride: int, units: int, norm: str, dropout: float
    ) -> None:
        super().__init__()
        self.up = UpSample(spatial_dims, coarser, features, scale_factor=stride, kernel_size=stride)
        self.gate = AttentionBlock(spatial_dims, f_int=max(features // 2, 1), f_g=features, f_l=features)
        self.merge = _residual(spatial_dims, 2 * features, features, 1, units, norm, dropout)

    def forward(self, coarse: Tensor, skip: Tensor, share: Tensor) -> Tensor:
        """Features of this level.

        Args:
            coarse: from the next coarser level.
            skip: of the same level, from the way down.
            share: of lung in each voxel of this level.
        """
        up = self.up(coarse)
        result: Tensor = self.merge(torch.cat([self.gate(up, skip) * share.to(skip.dtype), up], dim=1))
        return result


def _units(level: int) -> int:
    """Convolutions of a residual unit: the finest level costs most and tells least that a SPECT could show."""
    return 1 if level == 0 else 2


def _residual(
    spatial_dims: int, coming: int, features: int, stride: int, units: int, norm: str, dropout: float
) -> ResidualUnit:
    return ResidualUnit(
        spatial_dims,
        coming,
        features,
        strides=stride,
        subunits=units,
        act=ACTIVATION,
        norm=norm,
        dropout=dropout or None,
    )
